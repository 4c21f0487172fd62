"""The card of tuned weights: what they started from, what they have learnt from, with which settings, and how well.

It lies in the file of weights as JSON, and beside it as a page for people. It has no date: equal tasks have equal cards.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import EstError, quoted

if TYPE_CHECKING:
    from .encoder_training import TuningTask

TITLE = "# Tuned frame encoder: "


def build_card(task: TuningTask, identity: dict[str, Any], scores: dict[str, Any], precision: str) -> dict[str, Any]:
    """Put the card together; `scores` are those of the epoch that was kept, empty where it is the last; `precision` is the resolved one."""
    samples, start, facts = task.samples, task.start, task.samples.facts
    halves = {}
    for half, units in (("train", task.train), ("val", task.val)):
        counts = np.bincount(samples.truth[units], minlength=len(samples.labels)).tolist()
        halves[half] = {
            samples.noun: len(units),
            "frames": int(samples.count[units].sum()),
            "subjects": task.people[half],
            "classes": dict(zip(samples.labels, counts, strict=True)),
        }
    return {
        "made_by": "est tune",
        "encoder": start.backbone.name,
        "start": {
            "weights": start.name,
            "digest": start.digest,
            "normalize": start.backbone.normalization.name,
            "trained_on": start.trained_on.describe() if start.trained_on is not None else "",
        },
        "data": {
            "from": facts["from"],
            "dataset": facts["dataset"],
            **({"datasets": facts["datasets"]} if facts["datasets"] not in ([], [facts["dataset"]]) else {}),
            "labels": facts["labels"],
            **({"apex": facts["apex"]} if "apex" in facts else {}),
            **halves,
        },
        "settings": task.config.settings(),
        "precision": precision,
        "kept": {"epoch": scores.get("epoch", task.config.epochs), "by": task.config.select if scores else "last"},
        "validation": {name: found for name, found in scores.items() if name != "epoch"},
        "leaks": [leak.to_json()["words"] for leak in task.leaks],
        "licence": {"start": start.licence, "data": facts["licence"]},
        "trained_on": task.record.describe(),
        "identity": identity,
    }


def to_markdown(card: dict[str, Any], name: str) -> str:
    """Write the card for people."""
    data, start, validation = card["data"], card["start"], card["validation"]
    unknown = "none that est knows of"
    datasets = " and ".join(data.get("datasets", [data["dataset"]]))
    lines = [
        f"{TITLE}{name}",
        "",
        f"Made by `est tune`, for `est extract --weights {name}`; pixel normalisation: {start['normalize']}.",
        "",
        f"- encoder: {card['encoder']}",
        f"- start: {start['weights']} ({start['digest'][:8]}){'; ' + start['trained_on'] if start['trained_on'] else ''}",
        f"- data: {data['from']}{f', data set {datasets}' if datasets else ''}",
        f"- labels: {data['labels']}",
        *([f"- apex: {data['apex']}"] if "apex" in data else []),
        f"- {card['trained_on']}",
        f"- licence of the start: {card['licence']['start'] or unknown}",
        f"- licence of the data: {card['licence']['data'] or unknown}",
        "",
        "## Learnt from",
        "",
    ]
    noun = next(name for name in data["train"] if name in ("clips", "images"))
    names = list(data["train"]["classes"])
    lines += [f"| | {noun} | frames | subjects | {' | '.join(names)} |", f"|---|{'---|' * (3 + len(names))}"]
    for half, what in (("train", "learnt from"), ("val", "chosen by")):
        found = data[half]
        counts = " | ".join(str(number) for number in found["classes"].values())
        lines.append(f"| {what} | {found[noun]} | {found['frames']} | {found['subjects'] or 'unknown'} | {counts} |")
    lines += ["", "## Validation", ""]
    kept = card["kept"]
    if not validation:
        last = f"last of {kept['epoch']} epochs" if kept["epoch"] > 1 else "only epoch"
        lines.append(f"None: the {last} is kept.")
    else:
        lines += [
            f"Epoch {kept['epoch']}, the best of {card['settings']['epochs']}; its scores are those it was chosen by.",
            "",
        ]
        lines += ["| | WAR | UAR |", "|---|---|---|"]
        for what, found in validation.items():
            share = f"{found['war']:.1%} ({found['right']}/{found['total']})"
            lines.append(
                f"| {'means of ' + what if what == 'clips' else 'single ' + what} | {share} | {found['uar']:.1%} |"
            )
    lines += ["", *(f"**Leak, allowed:** {words}." for words in card["leaks"])]
    lines += ["", "## Settings", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in card["settings"].items()]
    return "\n".join(line for line in lines) + "\n"


def read_card(path: Path) -> dict[str, Any]:
    """Read the card in a file of weights; empty where it has none."""
    try:
        with safe_open(path, "np") as file:
            return json.loads((file.metadata() or {}).get("card", "{}"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise EstError(f"{path} is not a file of weights.", remedy=f"another --out, or rm {quoted(path)}") from error


def is_card(path: Path) -> bool:
    """Return whether a page is one of ours."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readline().startswith(TITLE)
