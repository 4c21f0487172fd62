"""What a folder of tables is of: the cache, and the recipe that every row follows from. `settings.json` holds it; tables may be added."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ...cache import Cache
from ...cache.stores.disk import PARTIAL
from ...errors import EstError, UsageError, damage_named, differing
from ...train.config.config import TrainConfig
from ...train.folds.annotations import Annotations
from ...train.folds.votes import digest_of
from ...train.provenance import digest, rows_digest
from ...train.runs.files import read_json, write_json
from ...train.runs.run import FACTS, Run
from .recipe import Recipe, differences
from .runs import RUNS

FORMAT, VERSION = "est-reproduce-settings", 2
SETTINGS = "settings.json"
OF_CACHE = {
    "annotations": "clips or labels differ",
    "rows": "the features of some clips differ",
}
OF_FILES = {
    "votes": "data.votes",
    "weights": "finetune.weights",
}  # settings that may name a file, which is compared by what it holds


def settings_of(cache: Cache, table: Annotations, recipe: Recipe | None, config: TrainConfig) -> dict[str, Any]:
    """Return what settings.json holds; without a recipe where clips alone are looked at."""
    known = {
        "path": str(cache.path.absolute()),
        "fingerprints": cache.recipes.fingerprints(),
        "annotations": digest(table),
        "rows": rows_digest(cache, config),
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "cache": known,
        "files": files_of(config) if recipe is not None else {},
        "recipe": json.loads(json.dumps(recipe.to_json())) if recipe is not None else {},
    }


def files_of(config: TrainConfig) -> dict[str, str]:
    """Return a digest of each file that a configuration names."""
    weights = Path(config.finetune.weights.rpartition("=")[2])  # KIND:NAME=FILE names one, too
    found = {"votes": digest_of(Path(config.data.votes))} if config.data.votes else {}
    if weights.is_file():
        with weights.open("rb") as file:
            found["weights"] = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    return found


def read_of(out: Path, feature: str) -> set[str]:
    """Name the recipes that the tables of a folder have read until now."""
    runs = [Run.open(path.parent) for path in sorted(out.glob(f"{RUNS}/*/{FACTS}"))]
    return {"frames", feature, *(array for run in runs for array in run.reads.values())}


def expect_same(out: Path, settings: dict[str, Any], feature: str) -> None:
    """Refuse a folder that holds something else than tables of the same settings; `feature` is the array that they read."""
    if not out.exists():
        return
    path = out / SETTINGS
    if not out.is_dir() or (not path.is_file() and {inner.name for inner in out.iterdir()} - {SETTINGS + PARTIAL}):
        raise UsageError(
            f"{out} exists already, and contains no tables of est reproduce.", remedy="--out another folder"
        )
    if not path.is_file():
        return
    then = read_json(path)
    if then.get("format") != FORMAT or then.get("version") != VERSION:
        raise EstError(f"{path} is not of this release.", remedy="--out another folder")
    with damage_named(path, "--out another folder"):
        changed, more = _compared(out, then, settings, feature)
    if changed or more:
        raise UsageError(
            differing(out, changed, more=more),
            remedy="--out another folder, or the earlier settings",
        )


def _compared(
    out: Path, then: dict[str, Any], settings: dict[str, Any], feature: str
) -> tuple[dict[str, tuple[Any, Any]], list[str]]:
    """Return what differs of the settings, and of cache and files."""
    changed = differences(then["recipe"], settings["recipe"])
    trained = then["recipe"] and settings["recipe"]  # else clips alone are compared
    places = f"({then['cache']['path']} then, {settings['cache']['path']} now)"
    made, making = (one["cache"]["fingerprints"] for one in (then, settings))
    more = []
    if trained:
        more += [
            f"The cache: {name} was made with other settings {places}"
            for name in sorted(read_of(out, feature) & made.keys())
            if made[name] != making.get(name)
        ]
        more += [
            f"{key}: the content of the file has changed"
            for name, key in OF_FILES.items()
            if then["files"].get(name) != settings["files"].get(name)
        ]
    more += [
        f"The cache: {what} {places}"
        for name, what in OF_CACHE.items()
        if (trained or name == "annotations") and then["cache"][name] != settings["cache"][name]
    ]
    return changed, more


def keep(out: Path, settings: dict[str, Any]) -> None:
    """Write settings.json where it is not yet, or was that of clips alone."""
    path = out / SETTINGS
    if not path.is_file() or (settings["recipe"] and not read_json(path)["recipe"]):
        write_json(path, settings)
