"""The page of what is pushed: what it is, whose faces, which terms, what it has learnt from. It names no clip, person or path."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from ...cache.trained import TrainedOn
from ...infer.export.card import APPARENT
from .terms import Terms

PERSONAL = (
    "**Features of faces are personal data.** A few hundred numbers of a frame can be enough to recognise a person, or to draw "
    "something like their face; that names and pictures are left out does not make the rest anonymous. Treat it as you would treat "
    "the videos, keep it no longer than needed, and forward a person's request for deletion."
)
TAGS = ("est", "facial-expression-recognition")


def front_matter(licence: str, title: str) -> list[str]:
    """Return the head that a hub reads; texts in JSON's form, which YAML takes."""
    return [
        "---",
        "license: other",
        f"license_name: {json.dumps(re.sub(r'[^a-z0-9.]+', '-', licence.casefold()).strip('-'))}",  # a hub wants one word
        f"pretty_name: {json.dumps(title, ensure_ascii=False)}",
        "tags:",
        *(f"- {tag}" for tag in TAGS),
        "---",
        "",
    ]


def terms_section(terms: Terms, licence: str, weights: Iterable[str]) -> list[str]:
    """Say under which terms it stands: the user's word, what est knows, the encoders' weights."""
    return [
        "## Terms",
        "",
        f"- The uploader named the licence of the data, and confirmed that it may be passed on: **{licence}**",
        f"- Data, as far as est knows: {terms.describe()}",
        *(f"- Frame encoder: {line}" for line in dict.fromkeys(weights)),
        "",
        APPARENT,
        "",
    ]


def leak_section(records: Iterable[TrainedOn], *, allowed: Iterable[str] = ()) -> list[str]:
    """Return what it has learnt from, in numbers: the record itself holds hashes."""
    told = [record.describe() for record in records]
    return [
        "## Learnt from",
        "",
        *(f"- {line}" for line in dict.fromkeys(told)),
        *([] if told else ["- no labelled clips are on record"]),
        *(f"- **Leak, allowed:** {line}" for line in allowed),
        "",
        "Clips and people are recorded as salted hashes, by which est recognises them in other data.",
        "",
    ]


def page(lines: Iterable[str]) -> str:
    """Join lines to a page."""
    return "\n".join(lines).rstrip("\n") + "\n"
