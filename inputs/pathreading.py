"""What the paths of clips said of them: annotated clips, what was not read, and a table of both to look at before anything is extracted.

A clip without what an option asks for is refused: a person without a name would be trained on and tested at once. `est extract --dry-run`
shows the table first, so that a pattern can be mended by what it found.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, some
from .folders import natural_key
from .pathrule import COLUMNS, PATTERN_HINT, UNTOLD, PathRule, PathRules, problem_of

if TYPE_CHECKING:
    from .input import Input

ENOUGH = 4  # clips from which on one label, or a label for each, looks like a slip
DEEPER_HINT = "--subjects '^([^/]+)/' --labels '^[^/]+/([^/]+)/' takes the first two folders"


@dataclass(frozen=True, kw_only=True)
class Unread:
    """Clips whose paths do not say what an option asks for, or not beyond doubt."""

    name: str  # label, subject, split or fold
    rule: PathRule
    kind: str  # as `problem_of` says it
    clips: dict[str, list[str]]  # id → the texts that were found

    def refusal(self, total: int) -> UsageError:
        """Say it as an error."""
        count, what, option = f"{len(self.clips)} of {total}", self.name, self.rule.option
        if self.rule.pattern is None:
            layout = "SUBJECT/LABEL/clip" if self.rule.folder == 2 else "SUBJECT/clip"
            place = "the folder above the subjects"
            if not any("/" in clip for clip in self.clips):
                place += " as the one INPUT (of a quoted pattern each match is an INPUT of its own)"
            return UsageError(
                f"--subjects folders expects clips at {layout} below the INPUT; {count} are not: {some(self.clips)}.",
                remedy=f"name {place}, or give a pattern: --subjects {PATTERN_HINT}",
            )
        match self.kind:
            case "several":
                shown = some(f"{clip!r} ({' and '.join(texts[:3])})" for clip, texts in self.clips.items())
                message = f"{option} finds more than one {what} in {count} clips: {shown}."
                remedy = "a pattern that matches once in each path: ^ holds it to the start of the path, $ to the end"
            case "empty":
                message = f"{option} finds an empty {what} in {count} clips: {some(self.clips)}."
                remedy = f"a group that takes a character or more: {_group(self.rule, what)}"
            case "no number":
                shown = some(f"{clip!r} ({texts[0]!r})" for clip, texts in self.clips.items())
                message = f"{option} finds folds that are no whole numbers in {count} clips: {shown}."
                remedy = r"only digits in the group: fold(?P<fold>\d+)"
            case _:
                message = f"{option} finds no {what} in {count} clips: {some(self.clips)}."
                if self._differs_in_case():
                    return UsageError(
                        message,
                        remedy=f"--{self.rule.what}s {shlex.quote(f'(?i){self.rule.text}')}: they differ only in upper and lower case",
                    )
                group = "its first group" if isinstance(self.rule.groups[what], int) else f"the group {what}"
                remedy = f"a pattern that finds {group} in the path of each clip; --dry-run shows what this one finds"
        return UsageError(message, remedy=remedy)

    def _differs_in_case(self) -> bool:
        """Return whether the pattern would read all these clips if it took upper and lower case for the same."""
        pattern = self.rule.pattern
        assert pattern is not None
        blind = replace(self.rule, pattern=re.compile(pattern.pattern, pattern.flags | re.IGNORECASE))
        return all(problem_of(self.name, blind.find(clip, Path(clip))[self.name]) is None for clip in self.clips)


@dataclass(frozen=True, kw_only=True)
class PathReading:
    """Clips with what their paths say; what a list says goes before it."""

    inputs: list[Input]
    unread: tuple[Unread, ...] = ()
    sources: dict[str, str] = field(default_factory=dict)  # annotation → where it was read from, for people

    def expect_all(self) -> None:
        """Refuse clips that lack what was asked for."""
        for each in self.unread:
            raise each.refusal(len(self.inputs))


@dataclass(frozen=True, kw_only=True)
class ReadColumn:
    """One annotation of all clips: its values, each with the number of its clips and the first of them."""

    name: str
    source: str
    values: dict[str, tuple[int, str]]
    lacking: tuple[str, ...]  # ids of clips without it

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        values = [{"value": value, "clips": count, "first": first} for value, (count, first) in self.values.items()]
        return {"name": self.name, "from": self.source, "values": values, "without": list(self.lacking)}


def read_paths(inputs: Sequence[Input], rules: PathRules) -> PathReading:
    """Add what the paths say to the clips, and keep what they do not."""
    if rules.are_folders:
        _expect_one_depth(inputs)
    sources = rules.sources
    unread: dict[tuple[str, str], dict[str, list[str]]] = {}
    annotated, listed = [], set()
    for clip in inputs:
        found: dict[str, Any] = {}
        told = {name for name, empty in UNTOLD.items() if getattr(clip, name) != empty}
        listed |= told
        for name, rule in sources.items():
            if name in told:
                continue
            texts = rule.find(clip.id, clip.path)[name]
            if problem := problem_of(name, texts):
                if not (name == "label" and rule.folder):  # a clip at the root of a file system
                    unread.setdefault((name, problem), {})[clip.id] = texts
            else:
                found[name] = int(texts[0]) if name == "fold" else texts[0]
        annotated.append(replace(clip, **found) if found else clip)
    where = {}
    for name in COLUMNS:
        parts = ["the list"] * (name in listed) + ([sources[name].option] if name in sources else [])
        if parts:
            where[name] = ", else ".join(parts)
    return PathReading(
        inputs=annotated,
        unread=tuple(
            Unread(name=name, kind=kind, rule=sources[name], clips=_in_order(clips))
            for (name, kind), clips in unread.items()
        ),
        sources=where,
    )


def read_columns(inputs: Iterable[Input], sources: dict[str, str]) -> Iterator[ReadColumn]:
    """Yield what was read of each annotation, most clips first."""
    inputs = list(inputs)
    for name, source in sources.items():
        values: dict[str, list[str]] = {}
        lacking = []
        for clip in inputs:
            value = getattr(clip, name)
            if value == UNTOLD[name]:
                lacking.append(clip.id)
            else:
                values.setdefault(str(value), []).append(clip.id)
        ordered = sorted(values.items(), key=lambda entry: (-len(entry[1]), entry[0]))
        yield ReadColumn(
            name=name,
            source=source,
            values={value: (len(ids), ids[0]) for value, ids in ordered},
            lacking=tuple(lacking),
        )


def alike_labels(labels: Iterable[str | None]) -> list[str]:
    """Warn of labels that differ in case alone."""
    folded: dict[str, list[str]] = {}
    for label in sorted({label for label in labels if label is not None}):
        folded.setdefault(label.casefold(), []).append(label)
    return [
        f"The labels {' and '.join(map(repr, names))} differ only in upper and lower case, and are different "
        f"classes: is one a misspelling?"
        for names in folded.values()
        if len(names) > 1
    ]


def doubtful_labels(inputs: Sequence[Input], rules: PathRules) -> list[str]:
    """Warn where paths give all clips one label, or each clip a label of its own: then the wrong part of the path was read."""
    rule = rules.sources.get("label")
    labels = [clip.label for clip in inputs if clip.label is not None]
    if rule is None or len(labels) < 2:
        return []
    own_folder = {path.parent.name for path in (clip.path for clip in inputs)}
    if (
        rule.folder
        and not any("/" in clip.id for clip in inputs)
        and set(labels) == own_folder
        and len(own_folder) == 1
    ):
        return [
            f"All {len(labels)} clips have the label {labels[0]!r}: they are in one folder, and --labels folders takes its name. "
            "A list with a column label, or folders named after labels, tells them apart."
        ]
    if len(labels) < ENOUGH or len(set(labels)) not in (1, len(labels)):
        return []
    if len(set(labels)) == 1:
        return [f"All {len(labels)} clips have the label {labels[0]!r} by {rule.option}."]
    advice = (
        "Folders named after labels hold several clips each."
        if rule.pattern is None
        else "A group of letters alone, such as (?P<label>[a-z]+), leaves out a number behind the label."
    )
    return [f"Each of {len(labels)} clips has a label of its own by {rule.option}: {some(labels)}. {advice}"]


def _expect_one_depth(inputs: Sequence[Input]) -> None:
    """Refuse clips at different depths: the folders next to a clip would be subjects here and labels there."""
    depths = {clip.id: clip.id.count("/") for clip in inputs if clip.label is None or not clip.subject}
    deeper = [clip_id for clip_id, depth in depths.items() if depth > max(2, min(depths.values()))]
    if deeper:
        raise UsageError(
            f"--labels folders --subjects folders expects each clip at SUBJECT/LABEL/clip, two folders below the INPUT; "
            f"{len(deeper)} of {len(inputs)} are deeper: {some(deeper)}.",
            remedy=DEEPER_HINT,
        )


def _in_order(clips: dict[str, list[str]]) -> dict[str, list[str]]:
    """Sort clips by id, as people expect."""
    return dict(sorted(clips.items(), key=lambda entry: natural_key(entry[0])))


def _group(rule: PathRule, name: str) -> str:
    """Write a group of a pattern that is never empty."""
    taken = "[a-z]+" if name == "label" else r"\w+"
    return f"({taken})" if isinstance(rule.groups[name], int) else f"(?P<{name}>{taken})"
