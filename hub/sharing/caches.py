"""`est cache push` and `pull`: a cache goes out as `convert --share` writes it, and comes in verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...cache import Cache, convert_cache, open_cache
from ...cache.reading.datasets import datasets_of
from ...cache.watch import Watch
from ...errors import EstError, UsageError, counted
from ...infer.export.encoder import licence_of
from .. import client
from ..client import Hub, HubError
from ..download import fetch_file, pinned
from ..names import HubName
from .card import PERSONAL, front_matter, leak_section, page, terms_section
from .pushing import CARD, Pushed, expect_visibility, push_folder, target_of, workplace
from .terms import Permission, Terms

FILE, ABOUT = "cache.h5", "est.json"
FORMAT, VERSION = "est-shared-cache", 1
LEFT_OUT = (
    "Left out: pictures, landmarks, paths, ids, extra columns, sizes, times and digests of files. People have random names, "
    "so that halves can be divided by person; clips are in a random order."
)


def terms_of_cache(cache: Cache | Path | str) -> Terms:
    """Return what is known of the data sets behind a cache."""
    return Terms.of(datasets_of(cache if isinstance(cache, Cache) else open_cache(cache)))


def push_cache(
    cache: Cache | Path | str,
    to: str,
    permission: Permission,
    *,
    features: Sequence[str] | None = None,
    hub: Hub | None = None,
    watch: Watch | None = None,
) -> Pushed:
    """Push what may be shared of a cache to a data set's repository on a hub.

    `permission` names the licence of the data and says that it allows this; without `public` the repository is private.
    """
    name, watch = target_of(to), watch or Watch()
    cache = cache if isinstance(cache, Cache) else open_cache(cache)
    terms = terms_of_cache(cache)
    terms.expect_features_may_go()
    licence = permission.expect(terms)
    hub = hub or client.open_hub()
    expect_visibility(hub, name, "dataset", public=permission.public)
    with workplace(cache.path) as folder:
        shared = convert_cache(cache.path, folder / FILE, share=True, features=features, watch=watch)
        about = {"format": FORMAT, "version": VERSION, "file": FILE, "sha256": _digest(shared)}
        (folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
        (folder / CARD).write_text(_card(open_cache(shared), name, terms, licence), encoding="utf-8")
        what = f"{counted(len(cache), 'clip')}, shared by est"
        return push_folder(hub, name, "dataset", folder, public=permission.public, what=what, watch=watch)


def pull_cache(name: str, out: Path | str, *, hub: Hub | None = None, watch: Watch | None = None) -> HubName:
    """Write a cache from a hub, verified, in either store; return the name with the commit, which the cache records, too."""
    asked, out = HubName.parse(name), Path(out)
    if asked.file:
        raise UsageError(f"A cache is a complete repository, found {name!r}.", remedy=f"hub:{asked.repo}")
    if out.exists():
        raise UsageError(f"{out} exists already.", remedy="choose another name, or remove it first")
    hub = hub or client.open_hub()
    listing = hub.listing(asked.repo, "dataset", asked.revision)
    if missing := [file for file in (FILE, ABOUT) if file not in listing.files]:
        raise HubError(
            f"hub:{asked.repo} holds no cache of est: it lacks {' and '.join(missing)}.", remedy="another repository"
        )
    with workplace(out) as folder:
        files = {
            file: fetch_file(pinned(asked, file, listing), "dataset", listing, folder, hub=hub).path
            for file in (ABOUT, FILE)
        }
        found = HubName(repo=asked.repo, revision=listing.commit)
        _expect_as_pushed(files, found)
        convert_cache(files[FILE], out, note={"hub": str(found)}, watch=watch)
    return found


def _expect_as_pushed(files: Mapping[str, Path], name: HubName) -> None:
    """Refuse a cache that is not the one that was pushed, or of a later format."""
    try:
        about = json.loads(files[ABOUT].read_text(encoding="utf-8"))
        known = (about["format"], about["version"], about["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HubError(f"{ABOUT} of {name} cannot be read.", remedy="another @REVISION") from error
    if known[:2] != (FORMAT, VERSION):
        raise HubError(
            f"{name} is {known[0]} {known[1]}; this est reads {FORMAT} {VERSION}.",
            remedy="pip install --upgrade est-fer",
        )
    if (found := _digest(files[FILE])) != known[2]:
        raise HubError(
            f"{FILE} of {name} is not what was pushed: its SHA-256 is {found[:16]}…, {ABOUT} says {str(known[2])[:16]}….",
            remedy="another @REVISION, or tell the publisher",
        )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EstError(f"{path} cannot be read: {error.strerror}.") from error


def _card(cache: Cache, name: HubName, terms: Terms, licence: str) -> str:
    """Write the page of a shared cache."""
    recipes = cache.recipes.features
    people = {subject for subject in cache.clips.subject if subject}
    records = [record for feature in recipes if (record := cache.trained_on(feature)) is not None]
    weights = [
        f"{recipe.backbone}, weights {recipe.weights}: {licence_of(recipe.weights)}" for recipe in recipes.values()
    ]
    title = f"Face features of {counted(len(cache), 'clip')}"
    return page(
        [
            *front_matter(licence, title),
            f"# {title}",
            "",
            PERSONAL,
            "",
            f"A cache of est: {counted(len(cache), 'clip')} of {counted(len(people), 'subject')}, "
            f"{counted(len(cache.failures), 'failure')} that scores count as errors; labels {', '.join(cache.labels) or 'none'}.",
            "",
            LEFT_OUT,
            "",
            "```text",
            f"est cache pull {name} --out cache.zarr",
            "est train --cache cache.zarr",
            "```",
            "",
            *terms_section(terms, licence, weights),
            *leak_section(records),
            "## Recipes",
            "",
            "```json",
            json.dumps(_recipes(cache), indent=1, ensure_ascii=False),
            "```",
        ]
    )


def _recipes(cache: Cache) -> dict[str, Any]:
    return {"fingerprints": cache.recipes.fingerprints(), **cache.recipes.identity()}
