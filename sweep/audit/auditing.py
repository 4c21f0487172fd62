"""`audit_cache`: every outer fold and seed trained once with an inner validation part, the same on permuted labels, and what that shows.

    OUT/settings.json    what is audited: the configuration, the cache
    OUT/trained/         a run: every fold and seed
    OUT/permuted/01/ …   a run each, of every fold and the first seed, on labels permuted within people
    OUT/audit.json  audit.md

Runs resume, and so does an audit: the same call resumes, and with more permutations it adds those that are missing. The models of permuted
runs are removed when they are scored.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...cache import Cache, open_cache
from ...errors import EstError, UsageError, damage_named, differing
from ...train.config.config import TrainConfig
from ...train.config.configfile import differences, from_flat, to_flat
from ...train.fitting import fit
from ...train.folds.annotations import Annotations
from ...train.loop.watch import TrainingWatch
from ...train.preparation import Prepared, prepare
from ...train.provenance import digest, rows_digest
from ...train.runs.files import read_json, write, write_json
from ...train.runs.place import read_place
from ...train.runs.run import FACTS, RESULT, Run
from .findings import Audit, find
from .page import page
from .permutation import changed_share, permute_rows, permuted
from .size import expect_people, expect_validation
from .watching import AuditWatch

FORMAT, VERSION = "est-audit-settings", 1
SETTINGS, TRAINED, PERMUTED, JSON, PAGE = "settings.json", "trained", "permuted", "audit.json", "audit.md"
SEEDS, PERMUTATIONS = 3, 10
MOST = 10_000  # permutations


def audit_cache(
    cache: Cache | Path | str,
    out: Path | str,
    config: TrainConfig | None = None,
    *,
    permutations: int = PERMUTATIONS,
    watch: TrainingWatch | None = None,
) -> Audit:
    """Return how far a score on a cache may be trusted, into a folder: leaks, seeds, permuted labels; the same call resumes.

    `config` is the model and its training.
    `config.select` says which estimate counts as the score: the last epoch, or the one that the inner validation part chose. Both are
    epochs of the same trainings. Ctrl-C saves a checkpoint and raises KeyboardInterrupt.

    >>> folds = {"protocol.kind": "kfold", "protocol.folds": 2, "protocol.val_share": 0.5}
    >>> config = est.train_config("small", {"model.name": "gru", "loop.epochs": 2, "seeds": [1, 2], **folds})
    >>> audit = est.audit_cache("cache.zarr", "audit", config, permutations=2)
    >>> sorted(audit.estimates)
    ['control', 'inner_validation', 'last', 'oracle']
    """
    watch = watch or TrainingWatch()
    out = Path(out)
    config = config or TrainConfig(seeds=seeds_from(TrainConfig().seeds[0], SEEDS))
    _expect_possible(config, permutations)
    select, config = config.select, own_config(config)
    cache = cache if isinstance(cache, Cache) else open_cache(cache)
    table = Annotations.from_cache(cache)
    settings = _settings(cache, table, config)
    _expect_same(out, settings)
    expect_people(table)
    ready = prepare(cache, config)
    ready.expect_fitting(config)
    expect_validation(table, ready.plan, config)
    if not (out / SETTINGS).exists():
        write_json(out / SETTINGS, settings)
    try:
        found = _train_all(ready, table, out, select, permutations, watch)
    except KeyboardInterrupt:
        watch.stopped(f"stopped; the same command with --out {out} resumes")
        raise
    write_json(out / JSON, found.to_json())
    write(out / PAGE, page(found))
    return found


def seeds_from(first: int, number: int) -> tuple[int, ...]:
    """Return so many seeds in a row."""
    return tuple(range(first, first + number))


def own_config(config: TrainConfig) -> TrainConfig:
    """Return the configuration that an audit trains with: an inner validation part, and the predictions of every epoch."""
    return replace(config, select="val", eval_every=1, keep_epochs=True, tensorboard=False)


def _train_all(
    ready: Prepared, table: Annotations, out: Path, select: str, permutations: int, watch: TrainingWatch
) -> Audit:
    """Train what is not yet, and compute what it shows."""
    plan, seeds = ready.plan, ready.config.seeds
    folds = len(plan.folds)
    total = folds * (len(seeds) + permutations)
    shown = AuditWatch(watch, total, _count_done(out, permutations))
    again = f", {total - shown.left} of them done" if shown.left < total else ""
    watch.say(
        f"audit: {total} trainings{again}: {folds} folds × {len(seeds)} seeds, and {folds} folds × {permutations} permutations"
    )
    run = _trained(ready, out / TRAINED, ready.config, shown)
    runs, taught, changed = [], [], []
    rows = np.unique(np.concatenate([half for fold in plan.folds for half in (fold.train, fold.val, fold.test)]))
    for number in range(1, permutations + 1):
        shown.enter(f"permuted {number}", folds * (len(seeds) + number - 1))
        teacher = permute_rows(table, rows, seed=seeds[0], number=number)
        other = permuted(ready, teacher, number, seeds[0])
        runs.append(_trained(other, out / PERMUTED / f"{number:02d}", other.config, shown))
        runs[-1] = runs[-1].without_checkpoints()
        names = np.array(table.labels)[table.label[teacher[rows]]].tolist()
        taught.append(dict(zip(table.ids[rows].tolist(), names, strict=True)))
        changed.append(changed_share(table, rows, teacher))
    return find(run, select, runs, taught, changed)


def _trained(ready: Prepared, path: Path, config: TrainConfig, watch: TrainingWatch) -> Run:
    """Return a complete run: the one that is there, resumed if it is not complete, or a new one."""
    if (path / FACTS).is_file():
        run = Run.open(path)
        return run if run.complete else fit(ready, path, resume=True, watch=watch).run
    return fit(ready, path, config, watch=watch).run


def _count_done(out: Path, permutations: int) -> int:
    """Count the trainings that are scored."""
    runs = [out / TRAINED, *(out / PERMUTED / f"{number:02d}" for number in range(1, permutations + 1))]
    return sum(len(list(run.glob(f"parts/*/{RESULT}"))) for run in runs)


def _expect_possible(config: TrainConfig, permutations: int) -> None:
    """Refuse settings that cannot be audited."""
    if read_place() is not None:
        raise UsageError(
            "An audit runs in one process, and torchrun has started several.", remedy="est audit without torchrun"
        )
    if len(config.seeds) < 2:
        raise UsageError(
            f"An audit compares seeds and takes two or more, found {list(config.seeds)}.", remedy=f"--seeds {SEEDS}"
        )
    if config.loop.epochs < 2:
        raise UsageError("An audit chooses between epochs and takes two or more, found 1.", remedy="--epochs 30")
    if not 0 <= permutations <= MOST:
        raise UsageError(f"--permutations goes from 0 to {MOST}, found {permutations}.", remedy="--permutations 10")
    if config.finetune.init:
        raise UsageError(
            "--init starts from models that have learnt the true labels, so permuted labels would not be a reference.",
            remedy="leave out finetune.init",
        )


def _settings(cache: Cache, table: Annotations, config: TrainConfig) -> dict[str, Any]:
    """Return what settings.json holds."""
    known = {
        "path": str(cache.path.absolute()),
        "fingerprints": cache.recipes.fingerprints(),
        "annotations": digest(table),
        "rows": rows_digest(cache, config),
    }
    return {"format": FORMAT, "version": VERSION, "cache": known, "config": to_flat(config)}


def _expect_same(out: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder that holds something else than an audit of the same settings."""
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / SETTINGS).is_file()):
        raise UsageError(f"{out} exists already, and contains no audit.", remedy="--out another folder")
    if not (out / SETTINGS).is_file():
        return
    then = read_json(out / SETTINGS)
    if then.get("format") != FORMAT or then.get("version") != VERSION:
        raise EstError(f"{out / SETTINGS} is not of this release.", remedy="--out another folder")
    with damage_named(out / SETTINGS, "--out another folder"):
        changed = differences(from_flat(then["config"]), from_flat(settings["config"]))
        named = {
            "fingerprints": "the features were made with other settings",
            "annotations": "clips or labels differ",
            "rows": "the features of some clips differ",
        }
        places = f"({then['cache']['path']} then, {settings['cache']['path']} now)"
        more = [
            f"The cache: {words} {places}"
            for what, words in named.items()
            if then["cache"].get(what) != settings["cache"][what]
        ]
    if changed or more:
        raise UsageError(
            differing(out, changed, more=more),
            remedy="--out another folder, or the earlier settings",
        )
