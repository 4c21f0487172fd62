"""A made tree of RAVDESS whose clips differ, and its recipe run on it with everything as small as it comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dataset_trees import video
from extract_samples import face_frames
from video_samples import make_video

from est.inputs.published import cremad, dataset_named
from est.recipes.card import Card
from est.recipes.choice import RecipeChoice
from est.recipes.registry import recipe_named
from est.recipes.running import run_recipe
from est.train.results.metrics import Scores, mean_scores, spread
from est.train.results.paired import Difference

TINY = RecipeChoice(
    model="gru",
    weights="random",
    preset="small",
    seeds=(1, 2),
    settings=(
        "model.hidden=8",
        "model.frames=15",
        "loop.epochs=2",
        "loop.warmup=1",
        "loop.threads=1",
        "loop.stack=off",
    ),
    device="cpu",
    precision="fp32",
    workers=1,
    extraction={"detector": "none", "size": 32},
)


def ravdess_name(actor: int, emotion: int, channel: int = 1) -> str:
    return f"02-{channel:02}-{emotion:02}-01-01-01-{actor:02}"


def make_tree(root: Path, *, actors: int = 6, emotions: int = 3, frames=None, broken: bool = False) -> Path:
    """A clip of each actor and of the first emotions, whose grey tells which and whose noise nobody else has; and a song."""
    for actor in range(1, actors + 1):
        for emotion in range(1, emotions + 1):
            path = root / f"Actor_{actor:02}" / f"{ravdess_name(actor, emotion)}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            make_video(path, frames(actor, emotion) if frames else pictures(actor, emotion))
        video(root / f"Actor_{actor:02}" / f"{ravdess_name(actor, 3, channel=2)}.mp4")
    if broken:
        video(root / "Actor_06" / f"{ravdess_name(6, 4)}.mp4", b"no video at all")
    return root


def pictures(actor: int, emotion: int) -> list[np.ndarray]:
    rng = np.random.default_rng([actor, emotion])
    return [rng.integers(60 * emotion, 60 * emotion + 60, (32, 32, 3)).astype(np.uint8) for _ in range(3)]


def faces(actor: int, emotion: int) -> list[np.ndarray]:
    """Return frames of a rendered face, lit as nobody else's."""
    rng = np.random.default_rng([actor, emotion])
    change = rng.integers(-12, 13, (192, 256, 3))
    return [np.clip(frame.astype(int) + change, 0, 255).astype(np.uint8) for frame in face_frames(5, step=2)]


def run_ravdess(root: Path, out: Path, choice: RecipeChoice = TINY, **options):
    """Run the recipe of RAVDESS on a made tree."""
    return run_recipe(recipe_named("ravdess"), root, out, choice, **options)


def made_card(
    *,
    seeds=(1, 2, 3),
    name="crema-d",
    tested=(1489, 1489, 1488, 1488, 1488),
    people=91,
    sizes=cremad.CLASSES,
    **changes,
) -> Card:
    """A card of the whole of a data set, as if somebody had made it: its numbers follow from its matrices.

    `sizes` are the clips of each class that are tested; without `people` intervals are over clips.
    """
    recipe = recipe_named(name)
    labels = dataset_named(name).labels
    over, unit = ("subjects", "people") if people else ("clips", "clips")

    def made(share: float) -> Scores:
        """Score so large a part of each class as right, the rest as the next class."""
        matrix = np.zeros((len(labels), len(labels) + 1), int)
        for place, total in enumerate(sizes):
            matrix[place, place] = round(share * total)
            matrix[place, (place + 1) % len(labels)] = total - matrix[place, place]
        return Scores(labels=labels, confusion=matrix)

    by_seed = [made(0.6 + 0.01 * number) for number in range(len(seeds))]
    over_seeds = {name: vars(spread([getattr(one, name) for one in by_seed])) for name in ("war", "uar", "uf1")}
    scores, of_control = mean_scores(by_seed).to_json(), made(0.4).to_json()
    scores["uf1"]["value"] = over_seeds["uf1"]["mean"]
    values = {name: scores[name]["value"] for name in ("war", "uar", "uf1")}
    gain = values["war"] - of_control["war"]["value"]
    facts = {
        "recipe": recipe.name,
        "protocol": recipe.version,
        "rendered": False,
        "partial": "",
        "date": "2026-11-29T12:00:00Z",
        "code": {"version": "0.1.0", "sources": "ab" * 16, "commit": "", "extracted_by": "ab" * 16},
        "machine": {"python": "3.12.1", "machine": "x86_64", "device": "cpu", "precision": "fp32", "versions": {"torch": "2.9"}},
        "model": {
            "name": "est", "title": "EST", "heading": "EST on a frozen backbone", "preset": "fast", "epochs": 30, "settings": {},
        },
        "encoder": {
            "name": "resnet18", "weights": "imagenet", "weights_digest": "cd" * 16, "licence": "for research | only",
            "normalize": "imagenet", "precision": "fp32", "detector": "retinaface", "size": 224,
        },
        "counts": {
            "listed": sum(sizes), "clips": sum(sizes), "missing": 0, "failed": 0, "subjects": people,
            "per_class": dict(zip(labels, sizes, strict=True)),
        },
        "fingerprints": {"cache": {"frames": "01" * 16, "gap": "02" * 16}, "clips": "03" * 16, "annotations": "04" * 16},
        "folds": {
            "independence": "by subject" if people else "unknown", "notes": [],
            "tested": {f"fold{n}": number for n, number in enumerate(tested, 1)},
        },
        "seeds": list(seeds),
        "scores": scores,
        "intervals": {"over": over, **{name: [value - 0.03, value + 0.03] for name, value in values.items()}},
        "by_seed": {str(seed): one.confusion.tolist() for seed, one in zip(seeds, by_seed, strict=True)},
        "over_seeds": over_seeds,
        "control": of_control,
        "difference": Difference(
            value=gain, low=gain - 0.11, high=gain + 0.11, p=0.001, units=people or sum(sizes), unit=unit, detectable=0.15,
            seeds=(len(seeds), 1), fixed=True,
        ).to_json(),
        "leaks": [],
        "seconds": {"extract": 100.0, "train": 50.0},
    }  # fmt: skip
    return Card(**{**facts, **changes})
