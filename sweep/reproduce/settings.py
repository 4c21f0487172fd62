"""What a folder of tables is of: the cache, and the recipe that every row follows from. `settings.json` holds it; tables may be added."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...cache import Cache
from ...cache.disk import PARTIAL
from ...errors import EstError, UsageError, some
from ...train.config.config import TrainConfig
from ...train.folds.annotations import Annotations
from ...train.provenance import digest, rows_digest
from ...train.results.run import read_json, write_json
from .recipe import Recipe, differences

FORMAT, VERSION = "est-reproduce-settings", 1
SETTINGS = "settings.json"
OF_CACHE = {
    "fingerprints": "the features were made in another way",
    "annotations": "clips or labels differ",
    "rows": "the features of some clips differ",
}


def settings_of(cache: Cache, table: Annotations, recipe: Recipe | None, config: TrainConfig) -> dict[str, Any]:
    """Return what settings.json holds; without a recipe where clips alone are looked at."""
    known = {
        "path": str(cache.path.absolute()),
        "fingerprints": cache.recipes.fingerprints(),
        "annotations": digest(table),
        "rows": rows_digest(cache, config),
    }
    made = json.loads(json.dumps(recipe.to_json())) if recipe is not None else {}
    return {"format": FORMAT, "version": VERSION, "cache": known, "recipe": made}


def expect_same(out: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder that holds something else than tables of the same settings."""
    if not out.exists():
        return
    path = out / SETTINGS
    if not out.is_dir() or (not path.is_file() and {inner.name for inner in out.iterdir()} - {SETTINGS + PARTIAL}):
        raise UsageError(
            f"{out} is there already, and holds no tables of est reproduce.", remedy="--out another folder"
        )
    if not path.is_file():
        return
    then = read_json(path)
    if then.get("format") != FORMAT or then.get("version") != VERSION:
        raise EstError(f"{path} is not of this release.", remedy="--out another folder")
    changed = differences(then["recipe"], settings["recipe"])
    both = then["recipe"] and settings["recipe"]
    for name, what in OF_CACHE.items() if both else [("annotations", OF_CACHE["annotations"])]:
        if then["cache"][name] != settings["cache"][name]:
            changed.append(f"the cache: {what} ({then['cache']['path']} then, {settings['cache']['path']} now)")
    if changed:
        raise UsageError(
            f"{out} holds tables of other settings: {some(changed, 5, joint='; ')}.",
            remedy="--out another folder, or the settings of then",
        )


def keep(out: Path, settings: dict[str, Any]) -> None:
    """Write settings.json where it is not yet, or was that of clips alone."""
    path = out / SETTINGS
    if not path.is_file() or (settings["recipe"] and not read_json(path)["recipe"]):
        write_json(path, settings)
