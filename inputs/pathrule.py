"""How labels, subjects, splits and folds are read from the path of a clip: from the names of folders, or by a regular expression.

`folders` is the clip's own folder for labels. For subjects it is the folder above that one (SUBJECT/LABEL/clip.mp4), or the clip's own
where labels do not come from folders. A pattern is searched in the clip's id, its path below the INPUT without suffix. Its named groups say
what they find: `(?P<subject>S\\d+)_(?P<label>[a-z]+)` finds both in S01_happy_2. A group without a name is that of the option: with
`--subjects '(s\\d+)_'` the subject of happy/s012_03 is s012.
"""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError, nearest

NONE, FOLDERS = "none", "folders"
UNTOLD: Mapping[str, Any] = {"label": None, "subject": "", "split": "", "fold": -1}  # what stands where none is told
COLUMNS = tuple(UNTOLD)  # what a group may be named, and in which order it is shown
PATTERN_HINT = r"'(s\d+)_'"
BOTH_HINT = r"'(?P<subject>S\d+)_(?P<label>[a-z]+)'"


@dataclass(frozen=True, kw_only=True)
class PathRule:
    """What one option says of where annotations stand in a path."""

    what: str  # label or subject: the option's own
    text: str  # as it was given
    folder: int = 0  # how many folders above the clip; 0 is none
    pattern: re.Pattern[str] | None = None
    groups: Mapping[str, str | int] = field(default_factory=dict)  # annotation → its group in the pattern

    @property
    def given(self) -> tuple[str, ...]:
        """Name the annotations that it reads."""
        return (self.what,) if self.folder else tuple(self.groups)

    @property
    def option(self) -> str:
        """Return it as it stands on the command line."""
        return f"--{self.what}s {shlex.quote(self.text)}"

    def find(self, clip_id: str, path: Path) -> dict[str, list[str]]:
        """Return what a clip's path holds of each annotation: one text where all is well; none, several, or an empty one elsewhere."""
        if self.pattern is None:
            # Every clip has a folder, but a folder above the INPUT names no subject.
            if not self.folder or (self.folder > clip_id.count("/") and self.what == "subject"):
                return {name: [] for name in self.given}
            return {self.what: [path.parents[self.folder - 1].name] if path.parents[self.folder - 1].name else []}
        found: dict[str, dict[str, None]] = {name: {} for name in self.groups}
        for match in self.pattern.finditer(clip_id):
            for name, group in self.groups.items():
                if match[group] is not None:
                    found[name][match[group]] = None
        return {name: [text for text in texts if text.strip()] or list(texts) for name, texts in found.items()}


@dataclass(frozen=True, kw_only=True)
class PathRules:
    """What --labels and --subjects say together."""

    label: PathRule
    subject: PathRule

    @property
    def sources(self) -> dict[str, PathRule]:
        """Return which of the two reads an annotation; those that neither reads are left out."""
        return {name: rule for rule in (self.subject, self.label) for name in rule.given}

    @property
    def are_folders(self) -> bool:
        """Return whether labels and subjects both come from folders, so that all clips lie at one depth."""
        return bool(self.label.folder and self.subject.folder)

    def read(self, clip_id: str, path: Path) -> dict[str, str]:
        """Return what a path says beyond doubt."""
        sources = self.sources
        found = {name: rule.find(clip_id, path)[name] for name, rule in sources.items()}
        return {name: texts[0] for name, texts in found.items() if problem_of(name, texts) is None}


def parse_rules(labels: str, subjects: str) -> PathRules:
    """Read the values of --labels and --subjects."""
    own = _parse("label", labels, 1)
    other = _parse("subject", subjects, 2 if own.folder else 1)
    if twice := [name for name in own.given if name in other.given and own.text != other.text]:
        raise UsageError(
            f"{own.option} and {other.option} both give the {twice[0]} of a clip.",
            remedy=f"leave the group {twice[0]} out of one of them",
        )
    return PathRules(label=own, subject=other)


def problem_of(name: str, texts: list[str]) -> str | None:
    """Return what is wrong with what was found of an annotation: nothing, several, empty, or no number; None where it is good."""
    if len(texts) != 1:
        return "several" if texts else "nothing"
    if not texts[0].strip():
        return "empty"
    if name == "fold" and not (re.fullmatch("[0-9]{1,300}", texts[0]) and int(texts[0]) < 2**31):
        return "no number"
    return None


def _parse(what: str, text: str, folder: int) -> PathRule:
    if text in (NONE, FOLDERS):
        return PathRule(what=what, text=text, folder=folder if text == FOLDERS else 0)
    option = f"--{what}s"
    try:
        with warnings.catch_warnings(
            action="ignore", category=FutureWarning
        ):  # of what a later Python may read otherwise
            pattern = re.compile(text)
    except re.error as error:
        where = "" if error.pos is None else f", at character {error.pos + 1}: {text[error.pos :][:20]!r}"
        raise UsageError(
            f"{option}: '{text}' is no regular expression ({error.msg}{where}).", remedy=f"{option} {PATTERN_HINT}"
        ) from error
    except (RecursionError, OverflowError) as error:  # parentheses in parentheses, a repetition of billions
        raise UsageError(
            f"{option}: a pattern of {len(text):,} characters that starts with '{text[:40]}' is nested too deeply or repeats too often.",
            remedy=f"{option} {PATTERN_HINT}",
        ) from error
    if not pattern.groups:
        raise UsageError(
            f"{option}: expected none or folders, or a pattern with a group in parentheses; found '{text}'.",
            remedy=f"{option} folders, {option} {PATTERN_HINT}, or with names {option} {BOTH_HINT}",
        )
    if not pattern.groupindex:
        return PathRule(what=what, text=text, pattern=pattern, groups={what: 1})
    if unknown := [name for name in pattern.groupindex if name not in COLUMNS]:
        near = nearest(unknown[0], COLUMNS, cutoff=0.4) or what
        raise UsageError(
            f"{option}: a group is named {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}; found "
            f"{', '.join(map(repr, unknown))} in '{text}'.",
            remedy=f"(?P<{near}>…) in place of (?P<{unknown[0]}>…), or (?:…) where nothing is to be read",
        )
    if what not in pattern.groupindex:
        named = [name for name in COLUMNS if name in pattern.groupindex]
        raise UsageError(
            f"{option}: '{text}' names the group{'s' * (len(named) > 1)} {' and '.join(named)}, and none is the {what}.",
            remedy=f"a group (?P<{what}>…)"
            + (
                f", or --{named[0]}s {shlex.quote(text)}"
                if named[0] in ("label", "subject")
                else f": {option} {BOTH_HINT}"
            ),
        )
    return PathRule(what=what, text=text, pattern=pattern, groups={name: name for name in pattern.groupindex})
