"""What to render: the specification of a set, and the plan of every clip in it.

A `ClipPlan` is all that a clip needs, so clips render in any order, in any process, with the same result. Planning draws
few numbers and no pixels. Length, place of the apex and course are drawn without looking at the label.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import UsageError
from .action import EXPRESSIONS
from .dynamics import DYNAMICS, SECONDS, draw_envelopes
from .micro import CLASSES, DATABASES, MAX_FPS, MIN_FPS, draw_moments

# The shipped weights are trained on renders of these seeds. Were they allowed in a demo set, its test subjects could be
# people that the backbone has seen.
RESERVED_SEEDS = range(900_000, 1_000_000)
# benchmarks/demo.py measures on these, which were not used while renderer and recipe were chosen.
BENCHMARK_SEEDS = range(800_000, 800_010)
# benchmarks/identity.py shows people of these, whom neither the map of looks nor its threshold has seen.
IDENTITY_SEEDS = range(800_010, 800_014)

TEMPORAL_PAIRS = (("anger", "happiness"), ("sadness", "surprise"), ("fear", "disgust"))

MIN_SIDE, MAX_SIDE = 128, 4096
MAX_SUBJECTS = 10_000
MAX_CLIPS_PER_SUBJECT = 1_000
MIN_FRAMES, MAX_FRAMES = 30, 150
LEAST_FRAMES = 15  # that a set may ask for
MIN_PAIR_FRAMES = 60


@dataclass(frozen=True, kw_only=True)
class RenderSpec:
    """A set of clips; with `temporal_pairs` or `dynamics`, classes come in pairs, and so do the clips of a subject."""

    subjects: int = 24
    clips_per_subject: int | None = None  # 7; 8 where classes come in pairs
    seed: int = 0
    difficulty: float = 0.4  # 0 posed … 1 subtle, with every nuisance
    size: tuple[int, int] = (640, 360)  # width, height
    fps: int = 25
    frames: tuple[int, int] = (MIN_FRAMES, MAX_FRAMES)  # shortest and longest clip; dynamics have lengths of their own
    temporal_pairs: bool = False
    dynamics: bool = False
    micro: bool = False  # micro-expressions, at 100 to 200 frames a second; lengths of their own
    reserved: bool = False  # allow seeds that are kept for the shipped weights and the benchmark

    def __post_init__(self) -> None:
        _expect_count("subjects", self.subjects, 1, MAX_SUBJECTS)
        _expect_count("clips per subject", self.num_clips, 1, MAX_CLIPS_PER_SUBJECT)
        _expect_count("seed", self.seed, 0, 2**31 - 1)
        if self.micro:
            _expect_count("fps of micro-expressions", self.fps, MIN_FPS, MAX_FPS)
        else:
            _expect_count("fps", self.fps, 5, 120)
        if not 0.0 <= self.difficulty <= 1.0:  # also refuses NaN
            raise UsageError(f"difficulty: expected a number from 0 (posed) to 1 (subtle), found {self.difficulty}")
        _expect_size(self.size)
        _expect_frames(self.frames)
        if self.temporal_pairs + self.dynamics + self.micro > 1:
            raise UsageError(
                "A set has temporal pairs, dynamics or micro-expressions; found more than one of them.",
                remedy="leave the others out",
            )
        if self.in_pairs and self.num_clips % 2:
            raise UsageError(
                f"clips per subject: expected an even number, because classes come in pairs, found {self.num_clips}",
                remedy=f"--clips-per-subject {self.num_clips + 1}",
            )
        if self.seed in BENCHMARK_SEEDS and not self.reserved:
            raise UsageError(
                f"seed: {self.seed} is reserved; benchmarks/demo.py measures on seeds {BENCHMARK_SEEDS[0]} to "
                f"{BENCHMARK_SEEDS[-1]}, which are kept out of every choice",
                remedy="choose a seed outside that range",
            )
        if self.seed in IDENTITY_SEEDS and not self.reserved:
            raise UsageError(
                f"seed: {self.seed} is reserved; benchmarks/identity.py measures on seeds {IDENTITY_SEEDS[0]} to "
                f"{IDENTITY_SEEDS[-1]}, whose people are kept out of every choice",
                remedy="choose a seed outside that range",
            )
        if self.seed in RESERVED_SEEDS and not self.reserved:
            raise UsageError(
                f"seed: {self.seed} is reserved; the shipped weights are trained on seeds {RESERVED_SEEDS[0]} to "
                f"{RESERVED_SEEDS[-1]}, so a set rendered from one would be tested on faces the backbone has seen",
                remedy="choose a seed outside that range",
            )

    @property
    def in_pairs(self) -> bool:
        """Say whether classes come in pairs, of which each subject shows both."""
        return self.temporal_pairs or self.dynamics

    @property
    def num_clips(self) -> int:
        """Return how many clips each subject has."""
        return (8 if self.in_pairs else 7) if self.clips_per_subject is None else self.clips_per_subject


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """One clip, on its own: two equal plans render equal frames."""

    path: str  # relative to the set's folder
    label: str
    subject: str
    split: str
    apex: int  # frame of the strongest expression
    seed: int  # the clip's own
    num_frames: int
    fps: int
    size: tuple[int, int]
    difficulty: float
    identity_seed: tuple[int, int]  # seed of the set, number of the subject
    expressions: tuple[str, ...]  # in the order of the unreversed course
    reverse: bool = False  # frames are delivered last to first
    dynamics: bool = False  # the label is one of `DYNAMICS`
    moments: tuple[int, int] | None = None  # onset and offset of a micro-expression; its label is one of `CLASSES`
    database: str = ""  # of micro-expressions: which rendered database the person belongs to

    @property
    def id(self) -> str:
        """The path without its suffix."""
        return self.path.removesuffix(".mp4")


def plan_set(spec: RenderSpec) -> list[ClipPlan]:
    """Plan every clip of a set, ordered by subject, then by number."""
    splits = _split_subjects(spec.subjects, spec.seed)
    plans: list[ClipPlan] = []
    for subject in range(spec.subjects):
        rng = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(subject, 1)))
        if spec.temporal_pairs:
            plans += _plan_pairs(spec, subject, splits[subject], rng)
            continue
        if spec.dynamics:
            plans += _plan_dynamics(spec, subject, splits[subject])
            continue
        if spec.micro:
            plans += _plan_micro(spec, subject, splits[subject])
            continue
        # A fresh shuffle for each round of seven keeps the labels balanced within every subject.
        labels = [label for _ in range(-(-spec.num_clips // 7)) for label in rng.permutation(EXPRESSIONS)]
        for number, label in enumerate(labels[: spec.num_clips]):
            plans.append(_plan_clip(spec, subject, splits[subject], number, str(label), (str(label),), rng))
    return plans


def _plan_clip(
    spec: RenderSpec,
    subject: int,
    split: str,
    number: int,
    label: str,
    expressions: tuple[str, ...],
    rng: np.random.Generator,
) -> ClipPlan:
    num_frames = int(rng.integers(spec.frames[0], spec.frames[1] + 1))
    return ClipPlan(
        path=f"{label}/s{subject:03d}_{number:02d}.mp4",
        label=label,
        subject=f"s{subject:03d}",
        split=split,
        apex=round(rng.uniform(0.12, 0.88) * (num_frames - 1)),
        seed=int(rng.integers(2**31)),
        num_frames=num_frames,
        fps=spec.fps,
        size=(int(spec.size[0]), int(spec.size[1])),
        difficulty=float(spec.difficulty),
        identity_seed=(spec.seed, subject),
        expressions=expressions,
    )


def _plan_pairs(spec: RenderSpec, subject: int, split: str, rng: np.random.Generator) -> list[ClipPlan]:
    """Plan clips two by two: the second delivers the first one's frames in opposite order."""
    plans: list[ClipPlan] = []
    for pair in range(spec.num_clips // 2):
        first, second = TEMPORAL_PAIRS[(pair + subject) % len(TEMPORAL_PAIRS)]
        # Which label is the unreversed one is drawn, so that the arrow of time (of a blink, of a word) tells nothing.
        if rng.random() < 0.5:
            first, second = second, first
        forward = _plan_clip(spec, subject, split, 2 * pair, f"{first}-then-{second}", (first, second), rng)
        # Two bouts need their time, and the stronger one may be the earlier or the later.
        num_frames = max(forward.num_frames, MIN_PAIR_FRAMES)
        apex = round(rng.uniform(0.16, 0.34) * (num_frames - 1))
        apex = apex if rng.random() < 0.5 else num_frames - 1 - apex
        forward = replace(forward, num_frames=num_frames, apex=apex)
        backward_label = f"{second}-then-{first}"
        backward = replace(
            forward,
            path=f"{backward_label}/s{subject:03d}_{2 * pair + 1:02d}.mp4",
            label=backward_label,
            apex=forward.num_frames - 1 - forward.apex,
            reverse=True,
        )
        plans += [forward, backward]
    return plans


def _plan_dynamics(spec: RenderSpec, subject: int, split: str) -> list[ClipPlan]:
    """Plan clips of dynamics; labels take turns, and what is drawn for one does not depend on it."""
    rng = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(subject, 3)))
    labels = list(DYNAMICS)
    plans: list[ClipPlan] = []
    for number in range(spec.num_clips):
        label = labels[(number + 2 * subject) % len(labels)]
        plan = _plan_clip(spec, subject, split, number, label, DYNAMICS[label], rng)
        num_frames = max(round(rng.uniform(*SECONDS) * spec.fps), MIN_FRAMES)
        course = draw_envelopes(label, num_frames, spec.fps, plan.seed).max(axis=0)
        plans.append(replace(plan, num_frames=num_frames, apex=int(course.argmax()), dynamics=True))
    return plans


def _plan_micro(spec: RenderSpec, subject: int, split: str) -> list[ClipPlan]:
    """Plan micro-expressions; classes take turns, and what is drawn for one does not depend on it."""
    rng = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(subject, 4)))
    labels = list(CLASSES)
    plans: list[ClipPlan] = []
    for number in range(spec.num_clips):
        label = labels[(number + subject) % len(labels)]
        choice = int(rng.integers(2**16))
        expression = CLASSES[label][choice % len(CLASSES[label])]
        plan = _plan_clip(spec, subject, split, number, label, (expression,), rng)
        num_frames, onset, apex, offset = draw_moments(spec.fps, rng)
        plans.append(
            replace(
                plan,
                num_frames=num_frames,
                apex=apex,
                moments=(onset, offset),
                database=DATABASES[subject % len(DATABASES)],
            )
        )
    return plans


def _split_subjects(subjects: int, seed: int) -> list[str]:
    """Assign subjects to train, val and test, about 60, 15 and 25 in a hundred; none is in two."""
    num_test = max(round(0.25 * subjects), 1) if subjects > 1 else 0
    num_val = max(round(0.15 * subjects), 1) if subjects > 2 else 0
    splits = ["test"] * num_test + ["val"] * num_val + ["train"] * (subjects - num_test - num_val)
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2**20,))).permutation(subjects)
    assigned = [""] * subjects
    for subject, split in zip(order, splits, strict=True):
        assigned[subject] = split
    return assigned


def _expect_count(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise UsageError(f"{name}: expected a whole number from {low} to {high}, found {value!r}")


def _expect_frames(frames: tuple[int, int]) -> None:
    if not (len(frames) == 2 and LEAST_FRAMES <= frames[0] <= frames[1] <= MAX_FRAMES):
        raise UsageError(
            f"frames: expected the shortest and the longest clip, from {LEAST_FRAMES} to {MAX_FRAMES}, found {frames!r}"
        )


def _expect_size(size: tuple[int, int]) -> None:
    whole = isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(side, int) for side in size)
    if not whole or not all(MIN_SIDE <= side <= MAX_SIDE and side % 2 == 0 for side in size):
        found = "x".join(str(side) for side in size) if isinstance(size, tuple | list) else repr(size)
        raise UsageError(
            f"size: expected WIDTHxHEIGHT, both even and from {MIN_SIDE} to {MAX_SIDE}, found {found}",
            remedy="use a size such as 640x360",
        )
