"""The course of a clip: what face, head, light and passers-by do, frame by frame.

Expressions come in bouts of onset, apex and offset. Nothing here but the set of action units depends on the label: length,
apex, speed, nuisances and motion are drawn alike for all seven. A clip may hold its evidence early and late only, with nothing
in the middle; neutral clips have bouts of nothing. Difficulty scales strength down and every nuisance up.
"""

from dataclasses import dataclass

import numpy as np

from .action import ACTION_FIELDS, SIGNED_FIELDS, draw_expression
from .dynamics import draw_envelopes
from .micro import STILL, STRENGTH, draw_course
from .occluder import OCCLUDERS, Occluder
from .pose import Pose
from .spec import ClipPlan

SHOWN = 0.1  # of an expression's peak, from which on it counts as shown
_INDEX = {name: index for index, name in enumerate(ACTION_FIELDS)}


@dataclass(frozen=True)
class Course:
    """Everything that changes within a clip, in the order of its unreversed course."""

    actions: np.ndarray  # (T, A)
    poses: list[Pose]
    gains: np.ndarray  # (T,)
    occluders: list[Occluder | None]
    intensity: np.ndarray  # (T,) relative to the peak; 0 throughout for neutral
    expressions: list[str]  # which one the frame's intensity is of
    resting_pose: Pose


def scaled(easy: float, hard: float, difficulty: float) -> float:
    """Return the value at this difficulty, between its values at 0 and at 1."""
    return easy + (hard - easy) * difficulty


def plan_course(plan: ClipPlan) -> Course:
    """Work out a clip's course from its plan alone."""
    # One stream per aspect: adding a draw to one changes no other.
    streams = np.random.SeedSequence(plan.seed).spawn(8)
    style, bouts, idle, speech, blinks, motion, light, passing = (np.random.default_rng(s) for s in streams)
    num_frames, difficulty = plan.num_frames, plan.difficulty
    time = np.arange(num_frames) / plan.fps
    habit = np.random.default_rng(np.random.SeedSequence(plan.identity_seed[0], spawn_key=(plan.identity_seed[1], 2)))
    expressiveness = float(np.exp(habit.uniform(-1, 1) * scaled(0.05, 0.22, difficulty)))
    asymmetry = float(habit.uniform(-1, 1) * scaled(0.06, 0.30, difficulty))
    leanings = habit.integers(0, 2**16, 7)

    is_micro = plan.moments is not None
    envelopes = list(_dynamics(plan)) if plan.dynamics or is_micro else _envelopes(plan, bouts)
    actions = np.zeros((num_frames, len(ACTION_FIELDS)))
    for expression, envelope in zip(plan.expressions, envelopes, strict=True):
        leaning = int(leanings[sum(map(ord, expression)) % 7])
        peak = (
            scaled(*(STRENGTH if is_micro else (1.0, 0.46)), difficulty)
            * expressiveness
            * style.uniform(1 - 0.2 * difficulty, 1.0 + 0.04 * difficulty)
        )
        shape = draw_expression(expression, leaning, style, scaled(0.06, 0.28, difficulty))
        # Units do not move in step: each has a lag of its own, early or late.
        lags = style.uniform(-1, 1, len(ACTION_FIELDS)) * scaled(0.5, 2.0, difficulty)
        frames = np.arange(num_frames)
        moved = np.stack([np.interp(frames - lag, frames, envelope) for lag in lags], axis=1)
        actions += peak * shape * moved
    shown = np.max(envelopes, axis=0)
    _add_idle(actions, time, idle, difficulty, STILL if is_micro else 1.0)
    if not is_micro:
        _add_speech(actions, time, shown, speech, difficulty)
    _add_blinks(actions, plan, blinks, difficulty)
    actions[:, _INDEX["asymmetry"]] = asymmetry
    poses, resting = _poses(time, motion, difficulty, STILL if is_micro else 1.0)
    expressions = _expressions(plan, envelopes)
    intensity = np.where([expression == "neutral" for expression in expressions], 0.0, shown)
    low = np.array([-1.0 if name in SIGNED_FIELDS else 0.0 for name in ACTION_FIELDS])
    return Course(
        actions=np.clip(actions, low, 1.25),
        poses=poses,
        gains=np.ones(num_frames) if is_micro else _gains(time, light, difficulty),
        occluders=[None] * num_frames if is_micro else _occluders(plan, passing),
        intensity=intensity,
        expressions=expressions,
        resting_pose=resting,
    )


def plan_span(plan: ClipPlan) -> tuple[int, int] | None:
    """Return the first and the last frame, as they are delivered, in which an expression is shown; a neutral clip has none.

    Of a micro-expression: its onset and offset, the last frame at rest before it and the first one after it.
    """
    if plan.moments is not None:
        return plan.moments
    shown = np.flatnonzero(plan_course(plan).intensity >= SHOWN)
    if not len(shown):
        return None
    first, last = int(shown[0]), int(shown[-1])
    return (plan.num_frames - 1 - last, plan.num_frames - 1 - first) if plan.reverse else (first, last)


def _dynamics(plan: ClipPlan) -> np.ndarray:
    if plan.moments is not None:
        onset, offset = plan.moments
        return draw_course(plan.num_frames, onset, plan.apex, offset, plan.seed)[None]
    return draw_envelopes(plan.label, plan.num_frames, plan.fps, plan.seed)


def _expressions(plan: ClipPlan, envelopes: list[np.ndarray]) -> list[str]:
    """Name the expression that each frame's intensity is of."""
    if plan.dynamics:
        return [plan.expressions[strongest] for strongest in np.argmax(envelopes, axis=0).tolist()]
    # In a temporal pair the second expression takes over where it first outweighs the first.
    change = int(np.argmax(envelopes[-1] > envelopes[0])) or plan.num_frames
    return [plan.expressions[0 if t < change else -1] for t in range(plan.num_frames)]


def _envelopes(plan: ClipPlan, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw the intensity of each expression over time, 1 at the clip's apex.  # each (T,)"""
    length, difficulty = plan.num_frames, plan.difficulty
    apex = plan.num_frames - 1 - plan.apex if plan.reverse else plan.apex
    frames = np.arange(length)
    if len(plan.expressions) == 2:
        # Onset and offset are drawn alike, so that a short stretch of the clip looks the same run backwards.
        other = int(np.clip(length - 1 - apex + rng.integers(-length // 20, length // 20 + 1), 0, length - 1))
        room = 0.5 * abs(other - apex)
        spans = [[rng.uniform(0.55, 0.98) * room for _ in range(2)] for _ in range(2)]
        strong = _bout(frames, apex, *spans[0], hold=0.35) * (1 - 0.02 * np.abs(frames - apex) / length)
        weak = rng.uniform(0.86, 0.97) * _bout(frames, other, *spans[1], hold=0.35)
        return [strong, weak] if apex < other else [weak, strong]
    gap = rng.random() < scaled(0.1, 0.5, difficulty) and abs(apex / (length - 1) - 0.5) > 0.14
    speed = rng.uniform(0.7, 1.5)
    onset, offset = (plan.fps * rng.uniform(0.25, 0.75) * speed * scaled(1.5, 1.0, difficulty) for _ in range(2))
    hold = rng.uniform(*((0.35, 0.6) if difficulty < 0.5 else (0.15, 0.5)))
    onset, offset = onset / (1 - hold), offset / (1 - hold)
    # A posed clip keeps its expression for most of its length.
    least = scaled(0.5, 0.12, difficulty) * length
    onset, offset = max(onset, least * rng.uniform(0.7, 1.2)), max(offset, least * rng.uniform(0.7, 1.2))
    second = 0.0 * frames
    if gap:
        edge = 0.36 * length if apex < length / 2 else 0.64 * length
        room = abs(edge - apex)
        if apex < length / 2:
            offset = min(offset, room)
        else:
            onset = min(onset, room)
        twin = length - 1 - apex
        other = [min(onset, abs(length - edge - twin) + 1), min(offset, abs(length - edge - twin) + 1)]
        second = rng.uniform(0.6, 0.95) * (rng.random() < 0.6) * _bout(frames, twin, *other, hold=hold)
    tremor = 0.10 * difficulty * np.abs(_wander(frames / plan.fps, rng, 1.5))
    main = _bout(frames, apex, onset, offset, hold) * (1 - np.minimum(tremor, 0.3) * (frames != apex))
    # The slightest slope leaves one strongest frame, the apex.
    return [np.maximum(main * (1 - 0.02 * np.abs(frames - apex) / length), second)]


def _bout(frames: np.ndarray, apex: int, onset: float, offset: float, hold: float) -> np.ndarray:
    """Return one rise and fall; `hold` is the part of each side that stays near the top."""
    away = np.where(frames < apex, (apex - frames) / max(onset, 1.0), (frames - apex) / max(offset, 1.0))
    falling = np.clip((away - hold) / (1 - hold), 0, 1)
    return 1 - falling * falling * (3 - 2 * falling)


def _wander(time: np.ndarray, rng: np.random.Generator, rate: float) -> np.ndarray:
    """Return smooth noise of about unit deviation around a rate in Hz.  # (T,)"""
    rates = rate * np.exp(rng.uniform(-0.9, 0.6, 5))
    phases = rng.uniform(0, 2 * np.pi, 5)
    return np.sin(2 * np.pi * rates[:, None] * time + phases[:, None]).sum(0) * np.sqrt(2 / 5)


def _add_idle(
    actions: np.ndarray, time: np.ndarray, rng: np.random.Generator, difficulty: float, amount: float = 1.0
) -> None:
    """Add the small stir of a face that shows nothing."""
    for name in ACTION_FIELDS:
        if name in ("asymmetry", "blink"):
            continue
        deviation = scaled(0.02, 0.065, difficulty) if name not in SIGNED_FIELDS else scaled(0.1, 0.3, difficulty)
        stir = amount * deviation * _wander(time, rng, 0.4)
        actions[:, _INDEX[name]] += stir if name in SIGNED_FIELDS else np.maximum(stir, 0)


def _add_speech(
    actions: np.ndarray, time: np.ndarray, shown: np.ndarray, rng: np.random.Generator, difficulty: float
) -> None:
    """Add mouth movement like that of speech, mostly where little is expressed."""
    talks = rng.random() < scaled(0.12, 0.85, difficulty)
    amount = scaled(0.3, 0.6, difficulty) * rng.uniform(0.7, 1.2)
    phrase = np.clip(1.6 * _wander(time, rng, 0.35) + 0.8, 0, 1)
    syllables, rounding, spreading = (_wander(time, rng, rate) for rate in (3.2, 1.7, 1.9))
    if not talks:
        return
    loud = amount * phrase * (1 - scaled(0.85, 0.55, difficulty) * shown)
    actions[:, _INDEX["jaw_drop"]] += 0.75 * loud * np.clip(0.45 + 0.5 * syllables, 0, 1)
    actions[:, _INDEX["lips_part"]] += 0.7 * loud * np.clip(0.5 + 0.5 * syllables, 0, 1)
    actions[:, _INDEX["lip_pucker"]] += 0.8 * loud * np.clip(rounding, 0, 1)
    actions[:, _INDEX["lip_stretch"]] += 0.35 * loud * np.clip(spreading, 0, 1)


def _add_blinks(actions: np.ndarray, plan: ClipPlan, rng: np.random.Generator, difficulty: float) -> None:
    frames = np.arange(plan.num_frames)
    at = rng.uniform(0, 3.0) * plan.fps
    while at < plan.num_frames:
        half = rng.uniform(0.07, 0.12) * plan.fps + 0.5
        closing = np.clip(1.25 * (1 - np.abs(frames - at) / half), 0, 1)
        column = actions[:, _INDEX["blink"]]
        np.maximum(column, closing, out=column)
        at += rng.uniform(1.2, 5.0) * scaled(1.4, 0.8, difficulty) * plan.fps


def _poses(
    time: np.ndarray, rng: np.random.Generator, difficulty: float, amount: float = 1.0
) -> tuple[list[Pose], Pose]:
    """Place and turn the head; `amount` scales how far it moves from there."""
    d = difficulty
    angles = np.radians(scaled(4, 15, d) * rng.uniform(-1, 1, 3) * (1.0, 0.6, 0.7))
    moves = (
        amount
        * np.radians(scaled(1.2, 5.0, d))
        * np.stack([_wander(time, rng, 0.3) for _ in range(3)])
        * [[1.0], [0.6], [0.6]]
    )
    yaw, pitch, roll = np.clip(angles[:, None] + moves, -0.45, 0.45)
    scale = rng.uniform(0.168, 0.215) * scaled(1.0, 0.93, d)
    place = np.array([0.5 + rng.uniform(-1, 1) * scaled(0.05, 0.16, d), 0.44 + rng.uniform(-1, 1) * 0.03])
    drift = amount * scaled(0.006, 0.018, d) * np.stack([_wander(time, rng, 0.25) for _ in range(2)]) * [[0.6], [0.8]]
    zoom = 1 + amount * scaled(0.004, 0.018, d) * _wander(time, rng, 0.2)
    poses = [
        Pose(
            yaw=float(yaw[t]),
            pitch=float(pitch[t]),
            roll=float(roll[t]),
            x=float(place[0] + drift[0, t]),
            y=float(place[1] + drift[1, t]),
            scale=float(scale * zoom[t]),
        )
        for t in range(len(time))
    ]
    return poses, Pose(x=float(place[0]), y=float(place[1]), scale=float(scale))


def _gains(time: np.ndarray, rng: np.random.Generator, difficulty: float) -> np.ndarray:
    """Return the change of light: a slow drift, and now and then a lamp."""
    gains = 1 + scaled(0.01, 0.06, difficulty) * _wander(time, rng, 0.25)
    at, step, lamp = rng.uniform(0, time[-1]), rng.choice([-1, 1]) * rng.uniform(0.1, 0.28), rng.random()
    if lamp < scaled(0.03, 0.35, difficulty):
        gains *= 1 + step / (1 + np.exp(-np.clip((time - at) / 0.05, -50, 50)))
    return np.clip(gains, 0.55, 1.4)


def _occluders(plan: ClipPlan, rng: np.random.Generator) -> list[Occluder | None]:
    """Let something pass before the face, in some clips."""
    length = plan.num_frames
    present = rng.random() < scaled(0.08, 0.55, plan.difficulty)
    kind = str(rng.choice(OCCLUDERS))
    middle, stay = rng.uniform(0, length), rng.uniform(0.08, 0.25) * length
    travel = max(rng.uniform(0.15, 0.4) * plan.fps, 2.0)
    target = np.array([rng.uniform(-0.35, 0.35), rng.choice([0.05, 0.8]) + rng.uniform(-0.15, 0.15)])
    side = rng.uniform(-0.9, 0.9)
    away = np.array([3.6 * np.sin(side), 3.6 * np.cos(side)]) if kind != "bar" else np.array([0.0, 3.6])
    angle = float({"hand": -0.8 * side, "paper": 0.15 * side, "bar": 0.25 * side}[kind])
    if not present:
        return [None] * length
    found: list[Occluder | None] = []
    for frame in range(length):
        out = np.clip((abs(frame - middle) - stay / 2) / travel, 0, 1)
        if out >= 1:
            found.append(None)
            continue
        x, y = (target + out * out * (3 - 2 * out) * away).tolist()
        found.append(Occluder(kind=kind, x=x, y=y, angle=angle, size=0.8 if kind == "paper" else 1.0))
    return found
