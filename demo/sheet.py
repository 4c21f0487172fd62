"""The contact sheet: what the rendered faces look like, on one page.

Seven expressions of several people; then one person turned, lit and hidden in several ways; then the course of one clip.
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ..errors import UsageError
from .action import EXPRESSIONS, PROTOTYPES, Action
from .clip import Clip, render_frame
from .course import plan_course
from .identity import Identity, draw_identity
from .occluder import Occluder
from .pose import Pose
from .relief import Light
from .scene import BACKGROUNDS, Scene
from .spec import ClipPlan, RenderSpec, plan_set

TILE = 200
CAPTION = 26
_PAPER, _INK = (250, 250, 250), (60, 56, 52)
_POSE = Pose(x=0.5, y=0.47, scale=0.31)


def contact_sheet(spec: RenderSpec | None = None, *, people: int = 4) -> np.ndarray:
    """Draw the sheet, with people of the set's seed.  # → (H, W, 3) BGR uint8"""
    spec = spec or RenderSpec()
    cast = _cast(spec.seed, people)
    rows = [_captions(list(EXPRESSIONS))]
    for number, person in enumerate(cast):
        scene = Scene(
            background=BACKGROUNDS[number % 4], seed=number, light=Light(azimuth=(-0.7, 0.6)[number % 2]), noise=0.8
        )
        rows.append(_row([_face(person, label, number, scene) for label in EXPRESSIONS]))
    captions, tiles = _variations(cast)
    rows += [_captions(captions), _row(tiles)]
    rows += _course(spec)
    return np.concatenate([*rows, np.full((12, rows[0].shape[1], 3), _PAPER, np.uint8)])


def save_sheet(spec: RenderSpec, out: Path) -> None:
    """Draw the sheet into a .jpg or .png file."""
    if out.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise UsageError(
            f"A contact sheet is a .jpg or .png file, found {out.name!r}.", remedy=f"--out {out.stem or 'faces'}.jpg"
        )
    _, encoded = cv2.imencode(out.suffix.lower(), contact_sheet(spec), [cv2.IMWRITE_JPEG_QUALITY, 88])
    try:
        out.write_bytes(encoded.tobytes())
    except OSError as error:
        raise UsageError(f"{out} cannot be written.", remedy="choose another --out") from error


def _cast(seed: int, people: int) -> list[Identity]:
    """Choose people who differ in hair, skin and what they wear."""
    drawn = [draw_identity(np.random.default_rng((seed, 77, number))) for number in range(60)]
    cast: list[Identity] = []
    for _ in range(people):
        cast.append(max(drawn, key=lambda person: _novelty(person, cast)))
    return cast


def _novelty(person: Identity, cast: list[Identity]) -> float:
    if not cast:
        return float(person.hair == "long") + float(person.glasses == "none") - abs(person.skin[1] - 190) / 100
    unlike = min(abs(person.skin[1] - other.skin[1]) / 60 + (person.hair != other.hair) for other in cast)
    seen_beard = any(other.beard in ("full", "goatee") for other in cast)
    seen_glasses = any(other.glasses != "none" for other in cast)
    extras = 0.6 * (person.beard in ("full", "goatee") and not seen_beard) + 0.5 * (
        person.glasses != "none" and not seen_glasses
    )
    hidden = 0.7 * (person.hair in {other.hair for other in cast})
    return min(unlike, 1.8) + extras - hidden


def _face(person: Identity, label: str, number: int, scene: Scene) -> np.ndarray:
    alternatives = PROTOTYPES[label]
    action = Action(**alternatives[number % len(alternatives)])
    return render_frame(person, action, _POSE, scene, size=(TILE, TILE))[0]


def _variations(cast: list[Identity]) -> tuple[list[str], list[np.ndarray]]:
    scene = Scene(background="blobs", seed=5, noise=0.8)
    smile = Action(**PROTOTYPES["happiness"][0])
    first, last = cast[0], cast[-1]
    turned = replace(_POSE, yaw=-0.42, pitch=0.06)
    tilted = replace(_POSE, yaw=0.34, pitch=-0.15, roll=0.2)
    dark = replace(scene, light=Light(azimuth=1.2, elevation=0.3, ambient=0.24, warmth=0.9, gain=0.82))
    worn = replace(scene, noise=9.0, jpeg=22)
    speech = Action(jaw_drop=0.4, lips_part=0.6, lip_pucker=0.7, gaze_x=0.4)
    hand = Occluder(kind="hand", x=0.12, y=0.75, angle=-0.35)

    def shot(
        person: Identity, action: Action, pose: Pose, place: Scene, occluder: Occluder | None = None
    ) -> np.ndarray:
        return render_frame(person, action, pose, place, size=(TILE, TILE), occluder=occluder)[0]

    return (
        ["turned", "tilted", "side light", "noise, JPEG", "speech", "blink", "occluded"],
        [
            shot(first, smile, turned, scene),
            shot(first, smile, tilted, scene),
            shot(first, smile, _POSE, dark),
            shot(first, smile, _POSE, worn),
            shot(last, speech, _POSE, scene),
            shot(last, Action(blink=1.0), _POSE, scene),
            shot(last, Action(**PROTOTYPES["surprise"][0]), _POSE, scene, hand),
        ],
    )


def _course(spec: RenderSpec) -> list[np.ndarray]:
    """Return the rows that show one clip over time."""
    size = (TILE * 5 // 2, TILE * 7 // 5)  # of which a tile is a window around the face
    wide = RenderSpec(
        subjects=24, seed=spec.seed, difficulty=spec.difficulty, reserved=spec.reserved, size=size, fps=spec.fps
    )
    # A clip whose apex is well inside and that nothing passes through shows its course best.
    plans = [plan for plan in plan_set(wide) if plan.label == "surprise" and 0.3 < plan.apex / plan.num_frames < 0.6]
    clip = Clip(([plan for plan in plans if _is_clear(plan)] or plans or plan_set(wide))[0])
    last = clip.plan.num_frames - 1
    half = np.linspace(0, clip.plan.apex, 4).round().astype(int).tolist()
    numbers = half + np.linspace(clip.plan.apex, last, 4).round().astype(int).tolist()[1:]
    tiles, captions = [], []
    for number in numbers:
        image, truth = clip.frame(number)
        left = int(np.clip((truth.box[0] + truth.box[2] - TILE) / 2, 0, size[0] - TILE))
        top = int(np.clip((truth.box[1] + truth.box[3] - TILE) / 2 - 8, 0, size[1] - TILE))
        tiles.append(image[top : top + TILE, left : left + TILE])
        captions.append(f"{number / clip.plan.fps:.1f} s: {truth.intensity:.0%}")
    return [_captions([f"{clip.plan.label}, {captions[0]}", *captions[1:]]), _row(tiles)]


def _is_clear(plan: ClipPlan) -> bool:
    """Return whether a clip starts and ends at rest and nothing passes before it."""
    course = plan_course(plan)
    return max(course.intensity[0], course.intensity[-1]) < 0.1 and not any(course.occluders)


def _row(tiles: list[np.ndarray]) -> np.ndarray:
    framed = [cv2.copyMakeBorder(tile, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=_PAPER) for tile in tiles]
    return np.concatenate(framed, axis=1)


def _captions(texts: list[str]) -> np.ndarray:
    strip = np.full((CAPTION, len(texts) * (TILE + 4), 3), _PAPER, np.uint8)
    for column, text in enumerate(texts):
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        at = (column * (TILE + 4) + max((TILE + 4 - width) // 2, 2), CAPTION - 9)
        cv2.putText(strip, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    return strip
