"""How an extraction ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..cache.clip import Failure
from ..errors import counted
from .faces.face_linking import MOST_FACES

SHOWN = 20  # relabelled values that are named


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an extraction did, or a filling of new arrays from the crops of another cache."""

    clips: int  # added or replaced
    frames: int
    unchanged: int  # inputs that were there before
    relabelled: list[str]
    removed: int
    no_face: list[str]  # clips without any face
    incomplete: list[str]
    failures: list[Failure]
    interrupted: bool
    kept: bool = True  # False: nothing succeeded, and no cache was left behind
    left: int  # inputs that were not reached
    seconds: float  # of the whole call
    running: float  # of the pipeline alone, without loading weights
    stages: dict[str, float]  # busy seconds of each
    decoders: Mapping[str, int] = field(default_factory=dict)  # opencv, pyav, pictures → the clips that it has read
    damaged: Sequence[str] = ()  # clips of which the decoder reported errors
    misplaced: Sequence[str] = ()  # clips that end before a moment that a list tells of them
    disordered: Sequence[str] = ()  # inputs whose onset, apex and offset do not follow each other
    changed: Sequence[str] = ()  # clips in which another person takes over
    parted: Sequence[str] = ()  # inputs that gave a clip for each person in turn
    left_out: Mapping[str, int] = field(default_factory=dict)  # by input: frames of others than the person who was kept
    dropped: Mapping[str, int] = field(default_factory=dict)  # by input: faces too small or too short to be clips
    only_small: Sequence[str] = ()  # clips that have no face, because all are too small
    min_face_size: int = 0  # that those are smaller than
    min_track: int = 0  # frames that those are shorter than
    crowded: Sequence[str] = ()  # inputs with frames that show more faces than are followed
    filling: tuple[str, ...] = ()  # features that were added to clips that were there
    filled: int = 0  # such clips that have them now
    unfilled: int = 0  # such clips that were not reached
    source: str = ""  # the cache whose crops were read, where that is another one
    signal: int = 0  # that interrupted it

    def lines(self) -> list[str]:
        """Format it as text."""
        rate = self.frames / self.seconds if self.seconds else 0.0
        lines = [
            f"{counted(self.clips, 'clip')}, {counted(self.frames, 'frame')} in {self.seconds:.1f} s ({rate:.0f} frames/s)"
        ]
        if self.filling and self.source:
            lines.append(f"{', '.join(self.filling)} made of the crops of {self.source}")
        elif self.filling:
            lines.append(f"{', '.join(self.filling)} added to {counted(self.filled, 'clip')} in the cache")
        if self.unchanged and self.source:
            lines.append(f"nothing was left to do for {counted(self.unchanged, 'clip')}")
        elif self.unchanged:
            lines.append(f"{counted(self.unchanged, 'input', 'were')} there already")
        if self.relabelled:
            lines.append(f"{counted(len(self.relabelled), 'value')} changed, of clips and failures that were there")
            lines += [f"relabelled {change}" for change in self.relabelled[:SHOWN]]
        if (beside := len(self.relabelled) - SHOWN) > 0:
            lines.append(f"and {beside} more (est cache ls shows the labels, subjects, splits and folds)")
        if self.decoders:
            counts = ", ".join(f"{name} {count}" for name, count in sorted(self.decoders.items()))
            lines.append(f"clips by decoder: {counts}")
        beside_others = [name for name in self.dropped if name not in self.only_small]
        for found, verb, what in (
            (self.no_face, "show", "no face"),
            (self.only_small, "show", f"only faces that are smaller than --min-face-size {self.min_face_size}"),
            (
                beside_others,
                "have",
                f"faces that are smaller than --min-face-size {self.min_face_size} or shorter than --min-track "
                f"{self.min_track}, and gave no clips, {sum(self.dropped[name] for name in beside_others)} in all",
            ),
            (self.incomplete, "have", "fewer frames than declared in the file"),
            (self.damaged, "have", "damaged places that could not be decoded"),
            (
                self.changed,
                "show",
                "another person from some cut on, as far as colours and shapes tell (--across-cuts longest keeps the "
                "person who is there longest, split makes a clip of each)",
            ),
            (
                self.parted,
                "show",
                "several people in turn, and gave a clip for each, with the label and subject of the whole",
            ),
            (
                self.left_out,
                "have",
                f"frames of other people that count as frames without a face, {sum(self.left_out.values())} in all",
            ),
            (
                self.crowded,
                "show",
                f"more than {MOST_FACES} faces in a frame, of which the largest {MOST_FACES} are followed",
            ),
            (self.disordered, "have", "an onset, apex and offset in a list that do not follow each other"),
            (self.misplaced, "end", "before an onset, apex or offset in a list, which stays unknown"),
        ):
            if found:
                named = ", ".join(list(found)[:5]) + (" …" if len(found) > 5 else "")
                lines.append(f"{counted(len(found), 'clip', verb)} {what}: {named}")
        busy = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.stages.items() if seconds >= 0.05)
        if busy:
            lines.append(f"time went to: {busy}")
        lines += [f"failed {failure.id}: {failure.stage}: {failure.error}" for failure in self.failures]
        if self.interrupted and self.source:
            lines.append(f"interrupted; {self._lacking()}: the same command resumes")
        elif self.interrupted:
            old = f"{self._lacking()}, and " if self.unfilled else ""
            lines.append(f"interrupted; {old}{counted(self.left, 'input', 'are')} left: the same command resumes")
        return lines

    def _lacking(self) -> str:
        return f"{counted(self.unfilled, 'clip', 'lack')} {', '.join(self.filling)}"
