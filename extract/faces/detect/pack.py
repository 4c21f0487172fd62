"""Where a model pack of insightface lies, and what is wrong with it if it cannot be used.

insightface looks at the folder only: one that an interrupted download left half filled, or into which an archive was unpacked one level too
deep, makes every later run fail with a bare assertion. So the file is found and read here first.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from pathlib import Path

from ....errors import EstError, UsageError, nearest, quoted

DEFAULT_ROOT = Path("~/.insightface")
MIN_OUTPUTS = 5  # by which insightface tells a detector from its other models
PACKS = (
    "buffalo_l",
    "buffalo_m",
    "buffalo_s",
    "buffalo_sc",
    "antelopev2",
)  # that insightface publishes; others may lie on disk
TYPICAL = ("det_", "scrfd")  # how the detectors of the published packs are called: looked at first


def pack_folder(pack: str, models_dir: Path | None, *, download: bool = False) -> Path:
    """Return the folder that holds a pack: models/PACK or PACK below `models_dir`, else below insightface's own; or download it there."""
    if models_dir is None:
        folder = DEFAULT_ROOT.expanduser() / "models" / pack
        if not folder.exists():
            if not download:
                raise _not_here(pack, f"expected the folder {folder}, found nothing there", models_dir)
            _download(pack, DEFAULT_ROOT, folder)
        return _expect_folder(pack, folder)
    for folder in (models_dir / "models" / pack, models_dir / pack):
        if folder.exists():
            return _expect_folder(pack, folder)
    if download:
        _download(pack, models_dir, models_dir / "models" / pack)
        return _expect_folder(pack, models_dir / "models" / pack)
    places = f"{models_dir / 'models' / pack} or {models_dir / pack}"
    raise _not_here(pack, f"expected the folder {places}; found {_listing(models_dir)}", models_dir)


def _not_here(pack: str, found: str, models_dir: Path | None) -> EstError:
    """Return which command downloads a pack, which no other does; or which pack is meant."""
    near = None if pack in PACKS else nearest(pack, PACKS)
    if near is not None:
        told = f"insightface publishes {', '.join(PACKS)}; found {pack!r}, which is not on this machine either."
        return UsageError(told, remedy=f"--detector insightface:{near}")
    return EstError(
        f"Detector pack {pack}: {found}, and est downloads only on request.",
        remedy=f"{_fetching(pack, models_dir)} downloads it, for non-commercial research only; or --detector retinaface",
    )


def _fetching(pack: str, models_dir: Path | None = None) -> str:
    beside = [] if models_dir is None else ["--models-dir", str(models_dir)]
    return shlex.join(["est", "doctor", "--detector", f"insightface:{pack}", "--fetch", *beside])


def present_packs(models_dir: Path | None) -> list[str]:
    """Name the packs that lie on this machine, usable or not, where `pack_folder` looks; nothing is downloaded."""
    roots = [DEFAULT_ROOT.expanduser() / "models"] if models_dir is None else [models_dir / "models", models_dir]
    folders = [folder for root in roots if root.is_dir() for folder in root.iterdir() if folder.is_dir()]
    # One that was unpacked a level too deep is there too, and building it says so.
    return sorted({f.name for f in folders if any(f.glob("*.onnx")) or any((f / f.name).glob("*.onnx"))})


def find_detector(pack: str, folder: Path) -> Path:
    """Return the pack's detection model: the ONNX file whose graph has a detector's outputs."""
    import onnx
    from google.protobuf.message import DecodeError

    files = sorted(folder.glob("*.onnx"), key=lambda file: (not file.name.startswith(TYPICAL), file.name))
    if not files and list((folder / pack).glob("*.onnx")):
        raise EstError(
            f"Detector pack {pack}: expected *.onnx in {folder}; found them one level deeper, in {folder / pack}.",
            remedy=f"mv {quoted(folder / pack)}/* {quoted(folder)}/",
        )
    broken = []
    for file in files:
        try:
            outputs = onnx.load(file, load_external_data=False).graph.output
        except DecodeError:
            broken.append(file.name)
            continue
        if len(outputs) >= MIN_OUTPUTS:
            return file
        if len(outputs) == 0:  # an empty file is an empty message to protobuf
            broken.append(file.name)
    damage = f"; empty or cut off: {', '.join(broken)}" if broken else ""
    raise EstError(
        f"Detector pack {pack}: expected a detection model (such as det_10g.onnx) in {folder}; found {_listing(folder)}{damage}. "
        "A download or its unpacking was interrupted.",
        remedy=f"rm -r {quoted(folder)}, then {_fetching(pack)}, or unpack {_address(pack)} there",
    )


def _expect_folder(pack: str, folder: Path) -> Path:
    if not folder.is_dir():
        raise EstError(
            f"Detector pack {pack}: expected a folder, found a file: {folder}.", remedy=f"rm {quoted(folder)}"
        )
    return folder


def _download(pack: str, root: Path, folder: Path) -> None:
    """Let insightface download a pack; it prints to stdout, which belongs to the results."""
    from insightface.utils import ensure_available

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            ensure_available("models", pack, root=str(root))
    except (
        Exception
    ) as error:  # the network, the server, the disk or the archive: whatever it was, the pack is not here
        raise EstError(
            f"Detector pack {pack} could not be downloaded into {folder}.",
            remedy=f"unpack {_address(pack)} into {folder}, or --models-dir DIR where DIR/models/{pack} has it, or "
            f"--detector retinaface",
        ) from error


def _address(pack: str) -> str:
    from insightface.utils.storage import model_zoo_download_url

    return model_zoo_download_url(f"{pack}.zip")


def _listing(folder: Path) -> str:
    """Return what is in a folder, with sizes, in one line."""
    if not folder.is_dir():
        return f"no folder {folder}"
    entries = sorted(folder.iterdir())
    names = [f"{item.name}{'/' if item.is_dir() else f' ({item.stat().st_size:,} bytes)'}" for item in entries[:8]]
    more = [f"and {len(entries) - 8} more"] if len(entries) > 8 else []
    return ", ".join(names + more) or "an empty folder"
