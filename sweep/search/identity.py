"""What makes two calls one sweep: the same cache, settings and space. `settings.json` holds it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ...cache import Cache
from ...cache.stores.disk import PARTIAL
from ...errors import EstError, UsageError, damage_named, differing
from ...train.config.config import TrainConfig
from ...train.config.configfile import differences, from_flat, to_flat
from ...train.folds.annotations import Annotations
from ...train.folds.votes import digest_of
from ...train.loop.starts.class_vectors import ClassVectors
from ...train.provenance import digest, rows_digest
from ...train.runs.files import read_json
from ..space.space import Space
from .settings import SweepConfig
from .storage import JOURNAL, JOURNAL_LOCK, LOCK, without_password

FORMAT, VERSION = "est-sweep-settings", 1
SETTINGS = "settings.json"
UNBEGUN = {
    LOCK,
    JOURNAL,
    JOURNAL_LOCK,
    SETTINGS + PARTIAL,
}  # what lies in a folder whose sweep was killed before it began
HOW = {
    "fingerprints": "the features were made with other settings",
    "annotations": "clips or labels differ",
    "rows": "the features of some clips differ",
    "votes": "the votes differ",
    "class vectors": "the class vectors differ",
}


def identity(
    cache: Cache, table: Annotations, base: TrainConfig, space: Space, config: SweepConfig, storage: str
) -> dict[str, Any]:
    """Return what settings.json holds; `study` names the studies in a storage that holds others, too."""
    file = base.model.class_file
    known: dict[str, Any] = {
        "cache": {
            "fingerprints": cache.recipes.fingerprints(),
            "annotations": digest(table),
            "rows": rows_digest(cache, base),
            **({"votes": digest_of(Path(base.data.votes))} if base.data.votes else {}),
            **({"class vectors": ClassVectors.read(file).digest} if file is not None else {}),
        },
        "config": json.loads(json.dumps(to_flat(base))),
        "space": space.to_json(),
        "how": config.same_study(),
    }
    name = hashlib.sha256(json.dumps([known, space.digest()], sort_keys=True).encode()).hexdigest()[:16]
    place = {"path": str(cache.path.absolute()), "storage": without_password(storage)}
    return {"format": FORMAT, "version": VERSION, "study": name, **known, **place}


def of_machine(base: TrainConfig) -> list[str]:
    """Name the settings that a configuration leaves to the machine that searches."""
    left = {"device": base.device, "loop.threads": base.loop.threads, "loop.precision": base.loop.precision}
    return [name for name, value in left.items() if value in ("auto", 0)]


def expect_same(out: Path, settings: dict[str, Any], *, ignored: Collection[str] = ()) -> str:
    """Refuse a folder that holds something else than the same sweep; return the name of its studies, which a new release keeps.

    Settings that are `ignored` may differ.
    """
    if not out.exists():
        return settings["study"]
    path = out / SETTINGS
    if not out.is_dir() or (not path.is_file() and {inner.name for inner in out.iterdir()} - UNBEGUN):
        raise UsageError(f"{out} exists already, and contains no sweep.", remedy="--out another folder")
    if not path.is_file():
        return settings["study"]
    then = read_json(path)
    if then.get("format") != FORMAT or then.get("version") != VERSION:
        raise EstError(f"{path} is not of this release.", remedy="--out another folder")
    with damage_named(path, "--out another folder"):
        changed, more = _compared(then, settings)
        study = then["study"]
    changed = {name: pair for name, pair in changed.items() if name not in ignored}
    if changed or more:
        raise UsageError(
            differing(out, changed, more=more),
            remedy="--out another folder, or the earlier settings",
        )
    return study


def _compared(then: dict[str, Any], settings: dict[str, Any]) -> tuple[dict[str, tuple[Any, Any]], list[str]]:
    """Return what differs of the settings, and of the cache."""
    more = [
        f"The cache: {what}" for name, what in HOW.items() if then["cache"].get(name) != settings["cache"].get(name)
    ]
    changed = differences(_config(then), _config(settings))
    changed |= Space.from_json(then["space"]).differences(Space.from_json(settings["space"]))
    changed |= {
        f"--{name}": (then["how"].get(name), value)
        for name, value in settings["how"].items()
        if then["how"].get(name) != value
    }
    if then["storage"] != settings["storage"]:
        changed["--storage"] = (then["storage"], settings["storage"])
    return changed, more


def _config(settings: dict[str, Any]) -> TrainConfig:
    return from_flat(settings["config"])
