"""`est export --push`: an exported model, or weights that est has written, with a page and a record in hashes."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...cache import Cache
from ...cache.reading.datasets import datasets_of
from ...cache.trained import TrainedOn
from ...cache.watch import Watch
from ...encoders.tensorfile import read_tensors, write_tensors
from ...encoders.weights import BACKBONE, card_in
from ...errors import EstError, UsageError
from ...infer.export.encoder import licence_of
from ...infer.export.exporting import Exported, export_run
from ...train.folds.leaks import leaks_of, leaks_of_fold
from ...train.loop.watch import TrainingWatch
from ...train.provenance import own_cache
from ...train.runs.run import Run
from .. import client
from ..client import Hub
from ..download import SAFE
from ..names import HubName
from .card import PERSONAL, front_matter, leak_section, page, terms_section
from .pushing import CARD, Pushed, expect_visibility, push_folder, target_of, workplace
from .terms import Permission, Terms

RECORD = "trained_on.json"
KEPT = ("normalize", "encoder")  # of what a file of weights says; its card names places and people


def terms_of(source: Run | Path | str) -> Terms:
    """Return what is known of the data sets behind a run, or behind a file of weights."""
    if not isinstance(source, Run) and Path(source).is_file():
        return Terms.of(_datasets_in(Path(source)))
    return Terms.of(_datasets_of(source if isinstance(source, Run) else Run.open(source)))


def push_export(
    run: Run | Path | str,
    out: Path | str,
    to: str,
    permission: Permission,
    *,
    hub: Hub | None = None,
    watch: TrainingWatch | None = None,
    **export: Any,
) -> tuple[Exported, Pushed]:
    """Export a run and push the file, with the frame encoder that its part has tuned, to a model's repository.

    `export` are settings of `export_run`; the file names neither the run's folder nor files of weights. What forbids the push is found
    before anything is written.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    name, watch, terms = target_of(to), watch or TrainingWatch(), terms_of(run)
    licence = _allowed(permission, terms)
    _expect_no_names(run, export.get("part"))
    hub = hub or client.open_hub()
    expect_visibility(hub, name, "model", public=permission.public)
    exported = export_run(run, out, share=True, watch=watch, **export)
    tuned, salt = run.part(exported.part) / BACKBONE, secrets.token_hex(8)
    record = _record_of(run, exported.part).hashed(salt)
    with workplace(exported.path) as folder:
        shutil.copyfile(exported.path, folder / exported.path.name)
        (folder / RECORD).write_text(json.dumps(record.to_json(), indent=1), encoding="utf-8")
        if tuned.is_file():
            _write_hashed(tuned, folder / BACKBONE, salt)
        lines = [
            *front_matter(licence, exported.path.name),
            exported.card.read_text(encoding="utf-8"),
            *_use_of(name, tuned=tuned.is_file()),
            *terms_section(terms, licence, [exported.about["encoder"]["licence"]]),
            *leak_section([record], allowed=_leaks_in_numbers(run, exported.part)),
        ]
        (folder / CARD).write_text(page(lines), encoding="utf-8")
        what = f"{exported.about['heading']}, exported by est"
        pushed = push_folder(hub, name, "model", folder, public=permission.public, what=what, watch=watch)
    return exported, pushed


def push_weights(
    path: Path | str, to: str, permission: Permission, *, hub: Hub | None = None, watch: Watch | None = None
) -> Pushed:
    """Push a file of weights that est has written, for `--weights hub:ORG/NAME`; `permission` names the licence of the data."""
    name, watch, path = target_of(to), watch or Watch(), Path(path)
    if path.suffix != SAFE or not path.is_file():
        raise UsageError(
            f"Weights are pushed as a file of safetensors, found {path}.", remedy="the file of est tune --out"
        )
    metadata = read_tensors(path)[1]
    if "checksum" not in metadata or "normalize" not in metadata:
        raise UsageError(
            f"{path} was not written by est: it has no record of what it has learnt from and of how its pixels are normalised.",
            remedy="a file of est tune, or parts/*/backbone.safetensors of a run",
        )
    record = _record_in(path, metadata)
    about = card_in(path, metadata)
    terms = terms_of(path)
    licence = _allowed(permission, terms)
    hub = hub or client.open_hub()
    expect_visibility(hub, name, "model", public=permission.public)
    salt = secrets.token_hex(8)
    with workplace(path) as folder:
        _write_hashed(path, folder / BACKBONE, salt)
        title = f"Frame encoder of {metadata.get('encoder', 'resnet18')}"
        start = about.get("start", {}).get("weights", "")
        weights = [
            about.get("licence", {}).get("start", "")
            or (licence_of(start) if start else "its initial weights are not on record")
        ]
        lines = [
            *front_matter(licence, title),
            f"# {title}",
            "",
            f"Tuned by est; pixels are normalised as {metadata['normalize']}.",
            "",
            *_use_of(name, tuned=True),
            *terms_section(terms, licence, weights),
            *leak_section([] if record is None else [record.hashed(salt)]),
        ]
        (folder / CARD).write_text(page(lines), encoding="utf-8")
        return push_folder(hub, name, "model", folder, public=permission.public, what=title, watch=watch)


def _allowed(permission: Permission, terms: Terms) -> str:
    terms.expect_private(public=permission.public)
    return permission.expect(terms)


def _expect_no_names(run: Run, part: str | None) -> None:
    """Refuse a part that is named after a person: the file and its page say which part it is."""
    cache, part = _cache_of(run), part or run.parts[0]
    people = (
        {"".join(filter(str.isalnum, name)).casefold() for name in cache.clips.subject} - {""}
        if cache is not None
        else set()
    )
    if part in run.parts and "".join(filter(str.isalnum, run.fold_of(part))).casefold() in people:
        raise UsageError(
            f"The part {part} is named after a person, and the exported file contains its name.",
            remedy="a run whose folds are numbered, as est train --folds 5 makes them",
        )


def _use_of(name: HubName, *, tuned: bool) -> list[str]:
    """Return how it is used, and that what it makes of faces is personal data."""
    use = ["```text", f"est extract videos/ --out cache.zarr --weights {name}", "```", ""] if tuned else []
    return ["", PERSONAL, "", *use]


def _write_hashed(path: Path, out: Path, salt: str) -> None:
    """Write weights again with hashes in their record, and without their card."""
    tensors, metadata = read_tensors(path)
    record = _record_in(path, metadata)
    told = {} if record is None else {"trained_on": json.dumps(record.hashed(salt).to_json(), ensure_ascii=False)}
    write_tensors(out, tensors, {name: metadata[name] for name in KEPT if name in metadata} | told)


def _record_in(path: Path, metadata: Mapping[str, str]) -> TrainedOn | None:
    try:
        return TrainedOn.from_json(json.loads(metadata["trained_on"])) if "trained_on" in metadata else None
    except (ValueError, TypeError, RecursionError) as error:
        raise EstError(f"The record in {path} of what its weights have learnt from cannot be read.") from error


def _record_of(run: Run, part: str) -> TrainedOn:
    """Return what a part has learnt from: its training and validation half, and what was on record of its features or its start."""
    fold, clips = run.fold_of(part), run.clips()
    half = run.halves()[fold]
    learnt = [*half["train"], *half["val"]]
    digests = {str(clips[one][0]) for one in learnt if one in clips} - {""}
    record = TrainedOn(clips=tuple(learnt), digests=tuple(digests), folds=(fold,), how="est train")
    start: dict[str, Any] | None = run.facts.get("finetune", {}).get("trained_on")
    if start:
        record = record.merged(TrainedOn.from_json(start))
    cache, array = _cache_of(run), run.reads.get(part)
    known = (
        cache.trained_on(array) if cache is not None and array is not None and array in cache.recipes.features else None
    )
    if known is not None:
        record = record.merged(known)
    return record


def _datasets_of(run: Run) -> list[str]:
    """Name the data sets of a run's clips: as the run knows them, by its cache where that is there, by its protocol."""
    cache, kind = _cache_of(run), run.facts["protocol"]["kind"]
    named = [kind] if Terms.of([kind]).licences else []
    return [*run.facts["cache"].get("datasets", ()), *(datasets_of(cache) if cache is not None else ()), *named]


def _datasets_in(path: Path) -> list[str]:
    """Name the data sets of a file of weights."""
    data = card_in(path, read_tensors(path)[1]).get("data", {})
    return [data.get("dataset", ""), *data.get("datasets", ())]


def _cache_of(run: Run) -> Cache | None:
    try:
        return own_cache(run)
    except EstError:  # gone, moved or changed: the run itself says the most
        return None


def _leaks_in_numbers(run: Run, part: str) -> list[str]:
    """Return which leaks a part was allowed, without the names of clips."""
    leaks = leaks_of(run.facts)
    found = leaks_of_fold(leaks, run.fold_of(part))
    return [] if not leaks or found == "none" else [found]
