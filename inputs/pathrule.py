"""How a label or a subject is read from the path of a clip: from the name of a folder, or by a regular expression.

`folders` is the clip's own folder for labels. For subjects it is the folder above that one (SUBJECT/LABEL/clip.mp4), or the clip's own
where labels do not come from folders. A pattern is searched in the clip's id, its path below the INPUT without suffix; its first group is
the name: `(s\\d+)_` finds s012 in happy/s012_03.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError, some

if TYPE_CHECKING:
    from .input import Input

NONE, FOLDERS = "none", "folders"
PATTERN_HINT = r"'(s\d+)_'"
DEEPER_HINT = "--subjects '^([^/]+)/' --labels '^[^/]+/([^/]+)/' takes the first two folders"


@dataclass(frozen=True, kw_only=True)
class PathRule:
    """Where one annotation stands in a path."""

    what: str  # label or subject
    text: str  # as it was given
    folder: int = 0  # how many folders above the clip; 0 is none
    pattern: re.Pattern[str] | None = None

    def read(self, clip_id: str, path: Path) -> str | None:
        """Return the name that a clip's path holds, if it does."""
        if self.pattern is not None:
            found = self.pattern.search(clip_id)
            return (found[1] or None) if found else None
        # Every clip has a folder, but a folder above the INPUT names no subject.
        if not self.folder or (self.folder > clip_id.count("/") and self.what == "subject"):
            return None
        return path.parents[self.folder - 1].name or None

    @property
    def is_given(self) -> bool:
        """Say whether paths are to be read."""
        return self.text != NONE


def parse_rules(labels: str, subjects: str) -> tuple[PathRule, PathRule]:
    """Read the values of --labels and --subjects."""
    own = _parse("label", labels, 1)
    return own, _parse("subject", subjects, 2 if own.folder else 1)


def annotate(inputs: list[Input], label: PathRule, subject: PathRule) -> list[Input]:
    """Add what the paths say to the clips; what a list says goes before it."""
    if label.folder and subject.folder:
        _expect_one_depth(inputs)
    annotated = [
        replace(
            clip,
            label=clip.label or label.read(clip.id, clip.path),
            subject=clip.subject or subject.read(clip.id, clip.path) or "",
        )
        for clip in inputs
    ]
    if subject.is_given:
        _expect_all(subject, [clip.id for clip in annotated if not clip.subject], len(annotated))
    if label.pattern is not None:
        _expect_all(label, [clip.id for clip in annotated if clip.label is None], len(annotated))
    return annotated


def _parse(what: str, text: str, folder: int) -> PathRule:
    if text in (NONE, FOLDERS):
        return PathRule(what=what, text=text, folder=folder if text == FOLDERS else 0)
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(
            f"--{what}s: {text!r} is no regular expression ({error}).", remedy=f"--{what}s {PATTERN_HINT}"
        ) from error
    if not pattern.groups:
        raise UsageError(
            f"--{what}s: expected none or folders, or a pattern with a group in parentheses; found {text!r}.",
            remedy=f"--{what}s folders, or --{what}s {PATTERN_HINT}",
        )
    return PathRule(what=what, text=text, pattern=pattern)


def _expect_one_depth(inputs: list[Input]) -> None:
    """Refuse clips at different depths: the folders next to a clip would be subjects here and labels there."""
    depths = {clip.id: clip.id.count("/") for clip in inputs if clip.label is None or not clip.subject}
    deeper = [clip_id for clip_id, depth in depths.items() if depth > max(2, min(depths.values()))]
    if deeper:
        raise UsageError(
            f"--labels folders --subjects folders expects each clip at SUBJECT/LABEL/clip, two folders below the INPUT; "
            f"{len(deeper)} of {len(inputs)} lie deeper: {some(deeper)}.",
            remedy=DEEPER_HINT,
        )


def alike_labels(labels: Iterable[str | None]) -> list[str]:
    """Warn of labels that differ in case alone."""
    folded: dict[str, list[str]] = {}
    for label in sorted({label for label in labels if label is not None}):
        folded.setdefault(label.casefold(), []).append(label)
    return [
        f"The labels {' and '.join(map(repr, names))} differ in case alone, and are different classes: are they only spelt so?"
        for names in folded.values()
        if len(names) > 1
    ]


def label_of_source(inputs: Sequence[Input], rule: PathRule) -> list[str]:
    """Warn where all clips lie in the INPUT itself, whose name is then the one label."""
    if not rule.folder or len(inputs) < 2 or any("/" in clip.id for clip in inputs):
        return []
    names = {clip.label for clip in inputs}
    if len(names) > 1 or names != {rule.read(inputs[0].id, inputs[0].path)}:
        return []
    return [
        f"All {len(inputs)} clips have the label {names.pop()!r}: they lie in one folder, and --labels folders takes its name. "
        "A list with a column label, or folders named after labels, tells them apart."
    ]


def _expect_all(rule: PathRule, missing: list[str], total: int) -> None:
    """Refuse clips without the annotation: a person without a name would be trained on and tested."""
    if not missing:
        return
    if rule.pattern is None:
        layout = "SUBJECT/LABEL/clip" if rule.folder == 2 else "SUBJECT/clip"
        raise UsageError(
            f"--subjects folders expects clips at {layout} below the INPUT; {len(missing)} of {total} are not: {some(missing)}.",
            remedy=f"name the folder above the subjects, or give a pattern: --subjects {PATTERN_HINT}",
        )
    raise UsageError(
        f"--{rule.what}s {rule.text!r} finds no {rule.what} in {len(missing)} of {total} clips: {some(missing)}.",
        remedy="a pattern that finds its first group in the path of each clip",
    )
