"""`export_run`: the model of a part → one file for ONNX or TorchScript, alone or with its frame encoder, verified and described."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ...cache import Cache, open_cache
from ...cache.stores.disk import PARTIAL, Disk
from ...errors import EstError, UsageError, quoted, some
from ...train.folds.annotations import Annotations
from ...train.loop.checkpoint import load_model
from ...train.loop.watch import TrainingWatch
from ...train.models.contract import places_of
from ...train.models.model import Model
from ...train.provenance import own_cache
from ...train.results.predictions import read_predictions
from ...train.runs.files import lock
from ...train.runs.run import CHECKPOINT, Run
from ..own_clips import OwnClips, open_complete, own_clips
from .card import card, facts
from .encoder import part_encoder
from .formats import Format, expect_writable, runner, write
from .graph import CROPS, FullGraph, Graph, HeadGraph
from .verification import CLIPS, check_clips, check_random, expect_like_the_run

What = Literal["head", "full"]
ENDINGS: dict[Format, tuple[str, ...]] = {"onnx": (".onnx",), "torchscript": (".pt", ".pth", ".ts")}
EXAMPLE = 3  # clips that are traced: a size that no other side is likely to have
TEXTS = {
    "features": "of the frames shown, as the cache has them",
    "crops": "RGB pixels of the face crops of the frames shown",
    "mask": "whether the place shows a frame of the clip that shows a face",
    "time": "seconds since the clip's first frame",
}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was put in place."""

    path: Path
    card: Path
    part: str
    about: dict[str, Any]
    bytes: int
    checks: tuple[str, ...]  # lines

    def to_json(self) -> dict[str, Any]:
        """Return what `est export --json` prints."""
        return {
            "path": str(self.path),
            "card": str(self.card),
            "part": self.part,
            "bytes": self.bytes,
            "checks": list(self.checks),
            "about": self.about,
        }


def export_run(
    run: Run | Path | str,
    out: Path | str,
    *,
    form: Format = "onnx",
    what: What = "head",
    part: str | None = None,
    cache: Cache | Path | str | None = None,
    weights: str | None = None,
    overwrite: bool = False,
    share: bool = False,
    watch: TrainingWatch | None = None,
) -> Exported:
    """Write a model of a run as one file that runs without est, and its card beside it.

    `form` is onnx or torchscript; `what` the model alone, which takes features ("head"), or with its frame encoder, which takes crops
    ("full"). `part` names one of the run's models, by default the first. Nothing is put in place that does not compute what the run's
    model does. `share` leaves the names of the run's folder and of files of weights out of both.

    >>> made = est.export_run("runs/first", "first.onnx", overwrite=True)
    >>> made.path.name, made.part
    ('first.onnx', 'fold1')
    """
    run, watch, out = open_complete(run), watch or TrainingWatch(), Path(out)
    beside = expect_free(out, form, overwrite=overwrite)
    expect_writable(form)
    part = choose_part(run, part, watch)
    model = load_model(run.part(part) / CHECKPOINT)[0].eval()
    graph, example = build(run, part, model, what, weights)
    about = facts(run, part, what, _shapes(graph, example), share=share)
    partial, card_partial = (one.with_name(f".{one.name}{PARTIAL}") for one in (out, beside))
    disk = Disk()
    with _writing(out, [partial, card_partial]):
        expect_free(out, form, overwrite=overwrite)  # once more: another export may have ended meanwhile
        write(partial, graph, example, form, about, title=run.config.model.title)
        checks = _verify(run, part, graph, example, partial, form, cache, model, watch)
        digest, size = _digest(partial), partial.stat().st_size
        disk.flush_file(partial)
        disk.write(card_partial, card(about, out.name, digest, checks, _score(run, part)).encode())
        disk.rename(card_partial, beside)
        disk.rename(partial, out)
    return Exported(path=out, card=beside, part=part, about=about, bytes=size, checks=tuple(checks))


@contextmanager
def _writing(out: Path, partial: Sequence[Path]) -> Generator[None]:
    """Turn what the operating system says while a file is exported into a sentence, and remove what is not whole.

    The first of the unfinished files is locked meanwhile, so that two exports to one place do not mix. Their names are always the same: a
    kill leaves them to the next export, which replaces them.
    """
    with _in_words(out):
        Disk().make_folder(out.parent)
        descriptor = _locked(partial[0], out)
    try:
        with _in_words(out):
            yield
    finally:
        for path in (*partial, *(one.with_name(one.name + PARTIAL) for one in partial)):
            with suppress(OSError):  # what forbids to write may forbid to remove: the first reason counts
                path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(partial: Path, out: Path) -> int:
    """Open an unfinished file and lock it; another export that ended at this moment has taken the file of that name with it."""
    while True:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if not lock(descriptor):
            os.close(descriptor)
            raise EstError(f"{out} is being exported by another process.", remedy="wait for it, or --out another file")
        if partial.exists() and os.path.samestat(os.fstat(descriptor), os.stat(partial)):
            return descriptor
        os.close(descriptor)


@contextmanager
def _in_words(out: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise EstError(
            f"{out} could not be exported: {error.strerror or error}.",
            remedy="free some space or check the permissions, then run the same command again, with --overwrite where a file is there",
        ) from error


def expect_free(out: Path, form: Format, *, overwrite: bool) -> Path:
    """Refuse to write over a file or its card, and a name that says another format; return where the card goes."""
    beside = out.with_name(out.name + ".md")
    if out.suffix in ("", ".md"):
        raise UsageError(f"--out names a file such as model.onnx or model.pt, found {out}.", remedy="--out model.onnx")
    other = next((name for name, endings in ENDINGS.items() if out.suffix.lower() in endings), None)
    if other is None:
        known = "; ".join(f"{name} {' '.join(endings)}" for name, endings in ENDINGS.items())
        raise UsageError(
            f"{out} ends in {out.suffix}, expected the ending of a format: {known}.",
            remedy=f"--out {quoted(out.with_suffix(ENDINGS[form][0]))}",
        )
    if other != form:
        raise UsageError(f"{out} has the suffix of {other}, and the format is {form}.", remedy=f"--format {other}")
    for path in (out, beside):
        if path.is_dir() or (path.exists() and not overwrite):
            raise UsageError(f"{path} exists already.", remedy="--overwrite, or another --out")
    return beside


def choose_part(run: Run, part: str | None, watch: TrainingWatch) -> str:
    """Return the part that is asked for, or the first one and say so."""
    if part is None:
        if len(run.parts) > 1:
            others = some(run.parts[1:])
            watch.say(
                f"{run.path} has {len(run.parts)} parts; exported is the first, {run.parts[0]} (--part takes {others})"
            )
        return run.parts[0]
    if part not in run.parts:
        raise UsageError(
            f"{run.path} has no part {part!r}; it has {some(run.parts, 8)}.", remedy=f"--part {run.parts[0]}"
        )
    return part


def build(run: Run, part: str, model: Model, what: What, weights: str | None) -> tuple[Graph, list[Tensor]]:
    """Return what is exported, and inputs of it."""
    head = model.on_features
    batch = head.example_batch(EXAMPLE)
    if what == "head":
        if weights is not None:
            raise UsageError("The weights of an encoder are for --what full.", remedy="leave --weights out")
        return HeadGraph(head).eval(), list(batch.values())
    found = part_encoder(run, part, model, weights)
    side = run.facts["cache"]["recipes"]["frames"]["size"]
    crops = torch.randint(256, (EXAMPLE, *places_of(head.config.shown), side, side, 3), dtype=torch.uint8)
    told = [tensor for name, tensor in batch.items() if name != "features"]
    return FullGraph(found.encoder, found.tap, head).eval(), [crops, *told]


def _shapes(graph: Graph, example: Sequence[Tensor]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "shape": ["clips", *tensor.shape[1:]],
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "text": TEXTS.get(name, ""),
        }
        for name, tensor in zip(graph.inputs, example, strict=True)
    }


def _verify(
    run: Run,
    part: str,
    graph: Graph,
    example: Sequence[Tensor],
    path: Path,
    form: Format,
    cache: Cache | Path | str | None,
    model: Model,
    watch: TrainingWatch,
) -> list[str]:
    """Compare the file with the model; on random inputs alone where the run's cache or its pictures are gone, and say so."""
    opened = runner(path, form)
    lines = [check_random(graph, opened, example, form, torch.Generator().manual_seed(0)).line()]
    try:
        clips = _clips(run, part, graph, cache, model, watch)
    except EstError as error:
        if cache is not None:  # it was named
            raise
        watch.warn(f"Verified on random inputs alone: {error.message}")
        return [*lines, "no clips of the run's cache were available"]  # the card holds no paths
    said = {row["id"]: row for row in read_predictions(run, part)}
    check, against = check_clips(graph, opened, clips, form, said, run.labels)
    lines.append(check.line())
    if clips.sampler.views == 1:
        expect_like_the_run(against, form)
        lines.append(against.line())
    return lines


def _clips(
    run: Run, part: str, graph: Graph, cache: Cache | Path | str | None, model: Model, watch: TrainingWatch
) -> OwnClips:
    """Load a few of the clips that the part tested: features, or their crops."""
    if not isinstance(cache, Cache):
        cache = own_cache(run) if cache is None else open_cache(cache)
    kind = graph.inputs[0]
    table = Annotations.from_cache(cache)
    return own_clips(
        run,
        part,
        cache,
        table,
        device=torch.device("cpu"),
        watch=watch,
        most=CLIPS[kind],
        model=model,
        pictures=kind == CROPS,
    )


def _score(run: Run, part: str) -> str:
    """Return what the part scored, and on what."""
    rows = read_predictions(run, part)
    right, protocol = sum(row["truth"] == row["prediction"] for row in rows), run.facts["protocol"]
    return (
        f"WAR {100 * right / len(rows):.1f} % ({right}/{len(rows)}) on the clips that this part tested (protocol {protocol['kind']}, "
        f"independence {protocol['independence']}): one part, whose intervals and controls are in the run."
    )


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
