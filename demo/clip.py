"""Rendering: one frame from explicit parameters, or a clip from its plan, each with its truth.

A frame is a pure function of the plan and its number, so a clip can be rendered from anywhere, in either direction, and is never
held whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .action import Action
from .course import Course, plan_course
from .head import Head
from .identity import Identity, subject_identity
from .occluder import HIDDEN, Occluder, covered_part, draw_occluder
from .pose import Pose, PoseWarp, shorter_side
from .scene import Scene, draw_backdrop, draw_scene, expose
from .spec import ClipPlan

# The head's canvas is as fine as the frame or a little finer: scales are rounded up to steps.
SUPERSAMPLING = 1.0
SCALE_STEP = 4


@dataclass(frozen=True, kw_only=True)
class FrameTruth:
    """What a frame shows, in pixels of the frame."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    landmarks: np.ndarray  # (5, 2): left eye, right eye, nose tip, left and right mouth corner, as in the image
    action: Action
    pose: Pose
    intensity: float  # of the expression, relative to the clip's peak; 0 throughout for neutral
    visible: bool  # nothing hides a landmark or a good part of the face
    label: str  # of the clip
    expression: str  # that this frame shows or would show: differs from the label in temporal pairs
    evidence: float  # how much of the expression can be seen: intensity, 1 for neutral, and 0 where hidden


class Studio:
    """A person in a place: the layers of a clip that stay the same from frame to frame."""

    def __init__(self, identity: Identity, scene: Scene, resting: Pose, size: tuple[int, int]) -> None:
        self.identity, self.scene, self.size = identity, scene, size
        self._backdrop = draw_backdrop(scene, identity, resting, size)
        unit = resting.scale * shorter_side(size) * SUPERSAMPLING
        self._head = Head(identity, scene.light, SCALE_STEP * np.ceil(unit / SCALE_STEP))

    def shoot(
        self, action: Action, pose: Pose, *, gain: float = 1.0, occluder: Occluder | None = None, noise_seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float, float], bool]:
        """Return one frame with its landmarks, face box and whether the face can be seen."""
        frame = self._backdrop.copy()
        colour, cover, landmarks, outline = self._head.draw(action)
        warp = PoseWarp(pose, self.identity, self.size)
        warp.paste(frame, self._head.canvas, colour, cover, self._head.extent)
        landmarks, outline = warp.forward(landmarks), warp.forward(outline)
        left, top, right, bottom = (*outline.min(0).tolist(), *outline.max(0).tolist())
        box = (left, top, right, bottom)
        visible = True
        if occluder is not None:
            origin, unit = warp.forward(np.zeros((1, 2)))[0], pose.scale * shorter_side(self.size)
            draw_occluder(frame, occluder, self.identity, origin, unit, self.scene.light.gain)
            near = [(x - 0.1 * unit, y - 0.1 * unit, x + 0.1 * unit, y + 0.1 * unit) for x, y in landmarks]
            hidden = any(covered_part(occluder, origin, unit, part) > 0 for part in near)
            visible = not hidden and covered_part(occluder, origin, unit, box) <= HIDDEN
        return expose(frame, self.scene, gain, noise_seed), landmarks.astype(np.float32), box, visible


class Clip:
    """One planned clip, seekable: `frame(t)` renders any frame alone."""

    def __init__(self, plan: ClipPlan) -> None:
        self.plan = plan
        self.course: Course = plan_course(plan)
        surroundings, grain = np.random.SeedSequence(plan.seed, spawn_key=(99,)).spawn(2)
        scene = draw_scene(np.random.default_rng(surroundings), plan.difficulty)
        self._noise = np.random.default_rng(grain).integers(0, 2**16, plan.num_frames)
        self._studio = Studio(subject_identity(plan.identity_seed), scene, self.course.resting_pose, plan.size)

    def frame(self, number: int) -> tuple[np.ndarray, FrameTruth]:
        """Render one frame.  # → (H, W, 3) BGR uint8 and its truth"""
        if not 0 <= number < self.plan.num_frames:
            raise IndexError(f"frame {number} of a clip of {self.plan.num_frames}")
        course = self.course
        t = self.plan.num_frames - 1 - number if self.plan.reverse else number
        action, pose = Action.from_values(course.actions[t]), course.poses[t]
        image, landmarks, box, visible = self._studio.shoot(
            action, pose, gain=float(course.gains[t]), occluder=course.occluders[t], noise_seed=int(self._noise[t])
        )
        intensity, expression = float(course.intensity[t]), course.expressions[t]
        return image, FrameTruth(
            box=box,
            landmarks=landmarks,
            action=action,
            pose=pose,
            intensity=intensity,
            visible=visible,
            label=self.plan.label,
            expression=expression,
            evidence=visible * (1.0 if expression == "neutral" else intensity),
        )


def render_clip(plan: ClipPlan) -> Iterator[tuple[np.ndarray, FrameTruth]]:
    """Render a clip's frames in order, one at a time."""
    clip = Clip(plan)
    for number in range(plan.num_frames):
        yield clip.frame(number)


@lru_cache(maxsize=8)
def _studio(identity: Identity, scene: Scene, resting: Pose, size: tuple[int, int]) -> Studio:
    return Studio(identity, scene, resting, size)


def render_frame(
    identity: Identity,
    action: Action | None = None,
    pose: Pose | None = None,
    scene: Scene | None = None,
    *,
    size: tuple[int, int] = (640, 360),
    resting: Pose | None = None,
    occluder: Occluder | None = None,
    gain: float = 1.0,
    noise_seed: int = 0,
    expression: str = "neutral",
) -> tuple[np.ndarray, FrameTruth]:
    """Render one frame from explicit parameters.  # → (H, W, 3) BGR uint8 and its truth

    The layers of the last few people in their scenes are kept: frames that share person, scene, size and the `resting` pose
    (where the shoulders are, by default under the head) cost a small part of the first. `expression` only labels the truth.
    """
    action, pose, scene = action or Action(), pose or Pose(), scene or Scene()
    studio = _studio(identity, scene, resting or Pose(x=pose.x, y=pose.y, scale=pose.scale), size)
    image, landmarks, box, visible = studio.shoot(action, pose, gain=gain, occluder=occluder, noise_seed=noise_seed)
    return image, FrameTruth(
        box=box,
        landmarks=landmarks,
        action=action,
        pose=pose,
        intensity=0.0 if expression == "neutral" else 1.0,
        visible=visible,
        label=expression,
        expression=expression,
        evidence=float(visible),
    )
