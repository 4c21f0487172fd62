"""The parsers of files that est writes: configurations, caches, runs, cards, settings beside results, heads of weights."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from _list_parsers import into
from _reading import Parser
from cache_samples import make_cache
from recipe_samples import made_card
from safetensors import safe_open
from safetensors.torch import load_file, save

from est.cache import CacheWriter, open_cache, verify_cache
from est.cache.checksum import of_text
from est.cache.recipe import canonical_json
from est.cache.stores.lock import SUFFIX
from est.cache.trained import TrainedOn
from est.encoders.kinds.design import RESNET18
from est.encoders.kinds.fetched import _read_record
from est.encoders.tensorfile import read_tensors
from est.encoders.weights import _normalization, _trained_on
from est.hub.names import HubName
from est.hub.sharing.caches import _expect_as_pushed
from est.infer.prediction.tables import read_table
from est.recipes.checking import check_card
from est.report.runpage.opened import open_for_page
from est.sweep.search.identity import expect_same
from est.sweep.space.tables import read_space
from est.train.config.configfile import resolve
from est.train.loop.checkpoint import load_checkpoint, save_checkpoint
from est.train.loop.starts.class_vectors import _read as read_vectors
from est.train.runs.run import Run
from est.train.runs.table import list_runs
from est.tune.card import read_card

ROOT = Path(__file__).resolve().parents[2]
EARLIER = ROOT / "tests" / "fixtures" / "format-1.tar.xz"
CONFIG = b"""preset = "fast"
seeds = [1, 2]
[model]
name = "est"
layers = 2
[loop]
epochs = 3
learning_rate = 1e-4
[protocol]
kind = "kfold"
folds = 5
"""
SPACE = b"""[model]
name = ["est", "gru"]
dropout = {low = 0.05, high = 0.5}
[model.gru]
hidden = [64, 128]
loop.learning_rate = {low = 1e-4, high = 1e-2, log = true}
[loop]
optimizer = ["adam", "adamw"]
weight_decay = {low = 1e-5, high = 0.1, log = true, when = {loop.optimizer = "adamw"}}
batch = {low = 8, high = 32, step = 8}
"""
TOML = (
    b"[model]",
    b"loop.epochs = 1\n",
    b"low = 1",
    b"{low = 1, high = 2}",
    b"choices = []",
    b"[[loop]]",
    b"1979-05-27",
    b"0x7f",
    b"'''",
    b"true",
)


def file_parsers(folder: Path) -> Iterator[Parser]:
    """Yield them; each has a folder of its own for the files that it reads."""
    folder.mkdir(parents=True)
    yield Parser(
        name="configurations",
        what="`--config`",
        samples=(CONFIG,),
        words=TOML,
        read=into(folder / "run.toml", lambda path: resolve(file=path)),
    )
    yield Parser(
        name="search spaces",
        what="`--space`",
        samples=(SPACE,),
        words=TOML,
        read=into(folder / "space.toml", read_space),
    )
    yield from _caches(folder)
    yield from _runs(folder / "earlier")
    card = made_card()
    yield Parser(
        name="result cards",
        what="`est recipe check`",
        samples=(card.text().encode(),),
        read=into(folder / "card.json", check_card),
        share=0.25,
    )
    yield from _of_sweeps(folder / "sweep")
    yield from _weights(folder / "weights")
    yield from _others(folder)


def _caches(folder: Path) -> Iterator[Parser]:
    """The attributes of caches, as they are and with a checksum that is right again; metadata of arrays; the file of the lock."""
    for store, put in ((".zarr", _with_zarr_attributes), (".h5", _with_hdf5_attributes)):
        cache = make_cache(folder / f"cache{store}", range(4), failures=())
        sample = json.dumps(_attributes(cache)).encode()
        for name, change in (("", bytes), (", forged", _with_checksum)):
            yield Parser(
                name=f"attributes of {store}{name}",
                what="every command on caches",
                samples=(sample,),
                read=partial(_put, put=put, change=change, cache=cache),
                share=0.25,
            )
    cache = make_cache(folder / "other.zarr", range(4))
    for name in ("frames/gap", "clips/id", "clips/start"):
        path = cache / name / "zarr.json"
        yield Parser(
            name=f"metadata of {name}",
            what="every command on caches",
            samples=(path.read_bytes(),),
            read=into(path, lambda _: _read_cache(cache)),
            share=0.1,
        )
    chunk = next((cache / "clips" / "id").glob("c*"))
    yield Parser(
        name="text columns of caches",
        what="every command on caches",
        samples=(chunk.read_bytes(),),
        read=into(chunk, lambda _: _read_cache(cache)),
        share=0.1,
    )
    lock = cache.with_name(cache.name + SUFFIX)
    yield Parser(
        name="locks of caches",
        what="every command that writes caches",
        samples=(b'{"pid": 1, "host": "a", "since": "2026-11-30T00:00:00+00:00"}',),
        read=into(lock, lambda _: CacheWriter.open(cache).close()),
        share=0.1,
    )


def _put(data: bytes, *, put: Callable[[bytes, Path], None], change: Callable[[bytes], bytes], cache: Path) -> None:
    """Read a cache with other attributes."""
    put(change(data), cache)


def _attributes(cache: Path) -> dict[str, Any]:
    if cache.suffix == ".h5":
        with h5py.File(cache, "r", locking=False) as file:
            return {name: json.loads(value) for name, value in file.attrs.items()}
    return json.loads((cache / "zarr.json").read_bytes())["attributes"]


def _with_checksum(data: bytes) -> bytes:
    """Return attributes with the checksum that goes with them, where they are an object at all."""
    with suppress(ValueError, RecursionError, AttributeError):
        found = json.loads(data)
        found.pop("checksum", None)
        return json.dumps(found | {"checksum": of_text(canonical_json(found))}).encode()
    return data


def _with_zarr_attributes(data: bytes, cache: Path) -> None:
    path = cache / "zarr.json"
    before = path.read_bytes()
    path.write_bytes(b'{"zarr_format": 3, "node_type": "group", "attributes": ' + data + b"}")
    try:
        _read_cache(cache)
    finally:
        path.write_bytes(before)


def _with_hdf5_attributes(data: bytes, cache: Path) -> None:
    """Read a copy of the file with other attributes: values that are an object's, or one that is no JSON."""
    copy = cache.with_name("copy.h5")
    copy.write_bytes(cache.read_bytes())
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    with h5py.File(copy, "r+", locking=False) as file:
        if isinstance(found, dict):
            for name in [*file.attrs]:
                del file.attrs[name]
            for name, value in found.items():
                with suppress(ValueError, UnicodeEncodeError, TypeError):  # what HDF5 itself cannot hold
                    file.attrs[name] = json.dumps(value)
        else:
            file.attrs["recipes"] = np.void(data) if data else ""
    _read_cache(copy)


def _read_cache(path: Path) -> None:
    verify_cache(path)
    cache = open_cache(path)
    _ = cache.ids, cache.failures, cache.labels, list(cache.load("gap").rows[:1])


def _runs(folder: Path) -> Iterator[Parser]:
    """Every file of a run that is text, as pages, lists of runs, scores and resumed trainings read it."""
    with tarfile.open(EARLIER) as archive:
        archive.extractall(folder, filter="data")
    run = folder / "complete"
    part = next(path for path in sorted((run / "parts").iterdir()))
    for path in (
        *(run / name for name in ("run.json", "config.toml", "folds.json", "metrics.json")),
        *(part / name for name in ("history.jsonl", "result.json", "predictions.csv")),
    ):
        yield Parser(
            name=f"runs: {path.name}",
            what="every command on runs",
            samples=(path.read_bytes(),),
            words=(b"parts", b"seed", b"war", b"p_happy", b"null"),
            read=into(path, lambda _: _read_run(run)),
            share=0.25,
        )
    yield Parser(
        name="tables of predictions",
        what="est predict, resumed",
        samples=(
            b"video,track,frame,time,apparent_expression,p_happy,p_sad\na,1,0,0.0,happy,0.9,0.1\na,1,1,0.04,,,\n",
        ),
        read=into(folder / "frames.csv", read_table),
    )


def _read_run(path: Path) -> None:
    list_runs(path.parent)
    open_for_page(path)
    run = Run.open(path)
    _ = run.labels, run.parts, run.permuted, run.complete, run.reads, run.halves(), run.clips()
    for part in run.parts:
        _ = run.fold_of(part)


def _of_sweeps(folder: Path) -> Iterator[Parser]:
    """The settings that a folder of results was begun with: the same command again compares them."""
    folder.mkdir()
    settings = {
        "format": "est-sweep-settings",
        "version": 1,
        "study": "est",
        "config": {"model.name": "est"},
        "space": {"settings": [{"key": "loop.batch", "choices": [8, 16]}], "fixed": {"model.name": "est"}},
        "cache": {},
        "how": {"trials": 3},
        "storage": "",
    }
    from est.sweep.search import identity

    settings |= {"format": identity.FORMAT, "version": identity.VERSION}
    yield Parser(
        name="settings of sweeps",
        what="est sweep, resumed",
        samples=(json.dumps(settings).encode(),),
        words=(b"model.name", b"choices", b"low"),
        read=into(folder / identity.SETTINGS, lambda _: expect_same(folder, settings)),
        share=0.25,
    )


def _weights(folder: Path) -> Iterator[Parser]:
    """The heads of files of tensors, what they say of themselves, and the text beside them."""
    folder.mkdir()
    tensors = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}
    about = {
        "card": '{"data": {}}',
        "trained_on": json.dumps(TrainedOn(clips=("a",), subjects=("S1",)).to_json()),
        "normalize": "none",
    }
    whole = save(tensors, about)
    yield Parser(
        name="weights: .safetensors",
        what="`--weights`",
        samples=(whole,),
        read=into(folder / "a.safetensors", _read_weights),
    )
    save_checkpoint(folder / "c.safetensors", tensors, {"epoch": 1})
    checkpoint = folder / "c.safetensors"
    yield Parser(
        name="weights: checkpoint",
        what="RUN, `--resume`",
        samples=(checkpoint.read_bytes(),),
        read=into(checkpoint, load_checkpoint),
    )
    head = json.dumps(_head_of(checkpoint)).encode()
    yield Parser(
        name="weights: a checkpoint's facts",
        what="RUN, `--resume`",
        samples=(head,),
        read=lambda data: _read_head(data, checkpoint),
    )
    yield Parser(
        name="weights: beside a file",
        what="`--weights`",
        samples=(b'{"normalize": "none"}', b'{"normalize": "0.5,0.5"}'),
        read=into(folder / "b.json", lambda path: _normalization(path.with_suffix(".pth"), None, RESNET18, None)),
    )
    metadata = json.dumps(about).encode()
    yield Parser(
        name="weights: their metadata",
        what="`--weights`",
        samples=(metadata,),
        read=lambda data: _read_metadata(data, folder),
    )
    np.savez(folder / "classes.npz", happy=np.ones(4, np.float32), sad=np.ones(4, np.float32))
    yield Parser(
        name="weights: class vectors",
        what="`--init`",
        samples=((folder / "classes.npz").read_bytes(),),
        read=into(folder / "classes.npz", read_vectors),
    )


def _head_of(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["est"])


def _read_head(data: bytes, path: Path) -> None:
    """Read a checkpoint whose facts are this text, in the place where est looks for them."""
    copy = path.with_name("copied.safetensors")
    copy.write_bytes(save(load_file(path), {"est": data.decode(errors="replace")}))
    load_checkpoint(copy)


def _read_weights(path: Path) -> None:
    read_card(path)
    _, metadata = read_tensors(path)
    _trained_on(path, metadata)


def _read_metadata(data: bytes, folder: Path) -> None:
    """Read weights whose metadata are an object's texts."""
    with suppress(ValueError, RecursionError):
        found = json.loads(data)
        if isinstance(found, Mapping):
            texts = {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}
            with suppress(UnicodeEncodeError):
                whole = save({"fc.bias": torch.zeros(2)}, texts)
                (folder / "d.safetensors").write_bytes(whole)
                return _read_weights(folder / "d.safetensors")
    return None


def _others(folder: Path) -> Iterator[Parser]:
    """What is recorded of fetched weights, and of a shared cache."""
    record = folder / "weights.bin.json"
    from est.encoders.kinds.fetched import RECORD

    record = folder / f"w.bin{RECORD}"
    yield Parser(
        name="records of fetched weights",
        what="`--weights`",
        samples=(b'{"sha256": "' + b"0" * 64 + b'", "url": "x"}',),
        read=into(record, lambda _: _read_record(folder / "w.bin")),
    )
    (folder / "shared.h5").write_bytes(b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    from est.hub.sharing.caches import ABOUT, FILE, FORMAT, VERSION

    sample = json.dumps({"format": FORMAT, "version": VERSION, "sha256": digest}).encode()
    files = {ABOUT: folder / "about.json", FILE: folder / "shared.h5"}
    name = HubName(repo="a/b")
    yield Parser(
        name="descriptions of shared caches",
        what="`est cache pull`",
        samples=(sample,),
        read=into(folder / "about.json", lambda _: _expect_as_pushed(files, name)),
    )
