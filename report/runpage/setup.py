"""How a run was made, and how to make it again: configuration, recipe of its features, environment, commands, citation."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ... import __version__
from ...train.config.configfile import to_toml
from ...train.results.pages.summary import how_lines
from ...train.runs.run import CONFIG
from ..page import Section, code, details, facts, heading, items, text
from .opened import Opened

PAPER = (
    "Yuanyuan Liu, Wenbin Wang, Chuanxu Feng, Haoyu Zhang, Zhe Chen, Yibing Zhan: "
    "Expression Snippet Transformer for Robust Video-based Facial Expression Recognition. 2023."
)
SOFTWARE = f"The est developers: est: Expression Snippet Transformer on cached features. Version {__version__}."
BIBTEX = f"""@article{{liu2023est,
  title  = {{Expression Snippet Transformer for Robust Video-based Facial Expression Recognition}},
  author = {{Liu, Yuanyuan and Wang, Wenbin and Feng, Chuanxu and Zhang, Haoyu and Chen, Zhe and Zhan, Yibing}},
  year   = {{2023}}
}}
@software{{est,
  title   = {{est: Expression Snippet Transformer on cached features}},
  author  = {{{{The est developers}}}},
  version = {{{__version__}}}
}}"""


def how_section(opened: Opened) -> Section:
    """Return configuration, protocol, features and environment of a run."""
    run = opened.run
    assert run is not None
    known = run.facts
    cache = known["cache"]
    protocol = known["protocol"]
    parts = [
        items(how_lines(opened.results))
        if opened.results is not None
        else items(
            [f"protocol: {protocol['kind']}; independence: {protocol['independence']}", *protocol.get("notes", ())]
        )
    ]
    recipes = cache.get("recipes", {})
    read = set(run.reads.values()) if "reads" in known or run.config.looks_at_frames else {run.config.feature}
    features = recipes.get("features", {})
    parts += [
        heading("Recipe of the features"),
        facts(
            {
                "cache": cache["path"],
                "commit": cache.get("commit", "unknown"),
                **_flat(cache.get("fingerprints", {}), "fingerprint of "),
            }
        ),
        *([details("Frames: decoding, faces, crops", facts(recipes["frames"]))] if "frames" in recipes else []),
        *(
            details(f"Features {name}{'' if name in read else ' (not read)'}", facts(_flat(one)))
            for name, one in features.items()
        ),
        heading("Environment"),
        facts(
            {
                **{name: known[name] for name in ("device", "precision", "threads", "processes") if name in known},
                **_flat(known.get("environment", {})),
                "this page": f"est {__version__}",
            }
        ),
        heading("Configuration"),
        details(f"Every setting, as {CONFIG} has it", code(to_toml(run.config))),
    ]
    return Section(title="How it was made", parts=parts)


def repeat_section(opened: Opened) -> Section:
    """Return the commands that make a run again, and how to cite."""
    run = opened.run
    assert run is not None
    path, cache = shlex.quote(str(opened.path)), shlex.quote(str(run.facts["cache"]["path"]))
    commands = [
        f"est train --cache {cache} --config {shlex.quote(str(opened.path / CONFIG))} --out again",
        "est evaluate again",
        f"est compare {path} again",
        "est report again",
    ]
    return Section(
        title="Repeat and cite",
        parts=[
            text(
                "On the same machine, with the same releases and the same cache, the same settings give the same scores."
            ),
            code("\n".join(commands)),
            *cite_parts(),
        ],
    )


def cite_parts() -> list[str]:
    """Return how to cite software and paper, as CITATION.cff does."""
    words = "If you use this software, please cite it, and the paper whose model it implements."
    return [heading("Citation"), text(words), items([SOFTWARE, PAPER]), details("BibTeX", code(BIBTEX))]


def cite_section() -> Section:
    """Return how to cite, as a section by itself."""
    return Section(title="Cite", parts=cite_parts())


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Write nested facts in one level."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{before}{name} {inner}": shown for inner, shown in _flat(value).items()}
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            found[f"{before}{name}"] = shown or "–"
    return found
