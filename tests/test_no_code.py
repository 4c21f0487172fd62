"""No input runs code: what the package may call, and a file that would run something for each way in."""

from __future__ import annotations

import ast
import functools
import io
import json
import os
import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from cache_samples import make_cache
from micro_trees import make_casme2
from rooms import PACKAGES
from safetensors.torch import save
from video_samples import make_video

from est.cache import open_cache, verify_cache
from est.encoders.tensorfile import read_tensors
from est.errors import EstError, SourceError
from est.extract.video.source import open_source
from est.infer.prediction.track import PredictedVideo
from est.inputs.features.config import ImportConfig
from est.inputs.features.importing import import_features
from est.inputs.input import find_inputs
from est.inputs.published import dataset_named, find_dataset
from est.inputs.stills.finder import find_stills
from est.sweep.space.tables import read_space
from est.train.config.configfile import resolve
from est.train.loop.checkpoint import load_checkpoint
from est.train.loop.starts.class_vectors import _read as read_class_vectors
from est.train.models.est.official import load_official

ROOT = Path(__file__).parents[1]

# --- what the package calls ---

MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "yaml",
    "tarfile",
    "runpy",
}
BUILTINS = {"eval", "exec", "compile", "__import__"}
METHODS = {
    "system", "popen", "read_pickle", "unpack_archive", "extractall", "extract", "create_subprocess_shell", "literal_eval",
}  # fmt: skip
UNSAFE = {"torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"}
READER = "encoders/modulefile.py"  # derives a reader of pickles that calls nothing; the tests of weights are about it
LOADED = re.compile(r"\b(?:np|torch)\.load\(|subprocess\.")
LOOKED_AT = re.compile(rf"\b(?:{'|'.join((*MODULES, *BUILTINS, *METHODS, 'trust_remote_code'))})\b|{LOADED.pattern}")


@functools.cache
def suspects() -> list[tuple[str, ast.Module]]:
    """Return the modules of the package in which one of the words stands: where they lie, and what they are."""
    modules = [*ROOT.glob("*.py"), *(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))]
    texts = ((path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in modules)
    return [(place, ast.parse(text)) for place, text in texts if LOOKED_AT.search(text)]


def nodes(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield every node of a kind, and where it stands."""
    for place, tree in suspects():
        yield from ((f"{place}:{node.lineno}", node) for node in ast.walk(tree) if isinstance(node, kind))


def keyword(call: ast.Call, name: str) -> object:
    """Return the constant that a call gives as a keyword; None where it gives none."""
    return next(
        (one.value.value for one in call.keywords if one.arg == name and isinstance(one.value, ast.Constant)), None
    )


def test_nothing_that_runs_text_or_reads_pickles_is_called():
    wrong = []
    for place, call in nodes(ast.Call):
        called = ast.unparse(call.func)
        if called in BUILTINS | UNSAFE or called.rpartition(".")[2] in METHODS or keyword(call, "trust_remote_code"):
            wrong.append(f"{place} calls {called}")
    for place, node in nodes(ast.Import | ast.ImportFrom):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        bad = {name.partition(".")[0] for name in names} & MODULES
        wrong += [f"{place} imports {name}" for name in bad if not place.startswith(READER)]
    assert not wrong


def test_tensors_and_arrays_are_loaded_without_pickles_and_processes_started_without_a_shell():
    wanted = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
    seen, wrong = Counter(), []
    for place, call in nodes(ast.Call):
        called = ast.unparse(call.func)
        seen[called] += 1
        name, value = wanted.get(called, ("shell", None))
        if (called in wanted or called.startswith("subprocess.")) and keyword(call, name) is not value:
            wrong.append(f"{place}: {called} without {name}={value}")
    assert not wrong
    assert all(seen[name] for name in (*wanted, "subprocess.run"))  # the test looks where there is something to see


# --- a file for each way in ---


class Running:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path):
    """The folder that would be made if a file ran what it asks for."""
    place = tmp_path / "ran"
    pickle.loads(pickle.dumps(Running(place)))
    assert place.is_dir()  # these pickles do run, where somebody loads them
    place.rmdir()
    yield place
    assert not place.exists()


def pickled_weights(path: Path, mark: Path, *, legacy: bool = False) -> Path:
    torch.save({"fc.weight": torch.ones(2), "more": Running(mark)}, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("read", [read_tensors, load_official])
def test_weights_that_are_pickles(read, legacy, mark, tmp_path):
    for suffix in (".pt", ".pth", ".bin"):
        with pytest.raises(EstError):
            read(pickled_weights(tmp_path / f"w{suffix}", mark, legacy=legacy))


def test_pickles_under_other_suffixes(mark, tmp_path):
    for suffix, read in (
        (".safetensors", read_tensors),
        (".safetensors", load_checkpoint),
        (".npz", read_class_vectors),
    ):
        path = tmp_path / f"w{suffix}"
        path.write_bytes(pickle.dumps(Running(mark)))
        with pytest.raises(EstError):
            read(path)


def objects(mark: Path) -> np.ndarray:
    return np.array([Running(mark)] * 4, dtype=object)


def test_arrays_of_objects(mark, tmp_path):
    np.save(tmp_path / "a.npy", objects(mark), allow_pickle=True)
    np.savez(tmp_path / "b.npz", features=objects(mark), time=objects(mark))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(EstError, match=r"objects|cannot be read|None of"):
            import_features(tmp_path / name, tmp_path / "out.zarr", ImportConfig(by="x", fps=25))
    np.savez(tmp_path / "classes.npz", happy=objects(mark))
    with pytest.raises(EstError):
        read_class_vectors(tmp_path / "classes.npz")
    np.savez(tmp_path / "video.npz", facts=objects(mark), time=objects(mark))
    with pytest.raises(EstError):
        PredictedVideo.load(tmp_path / "video.npz")


def test_annotations_of_images_that_are_objects(mark, tmp_path):
    for half in ("train_set", "val_set"):
        for inner in ("images", "annotations"):
            (tmp_path / half / inner).mkdir(parents=True)
        (tmp_path / half / "images" / "0.jpg").write_bytes(b"x")
        np.save(tmp_path / half / "annotations" / "0_exp.npy", objects(mark), allow_pickle=True)
    with pytest.raises(EstError, match="no number of an expression"):
        find_stills(tmp_path)


def test_attributes_of_hdf5_that_are_pickles(mark, tmp_path):
    path = make_cache(tmp_path / "cache.h5", range(2))
    with h5py.File(path, "r+", locking=False) as file:
        file.attrs["recipes"] = np.void(pickle.dumps(Running(mark)))
    with pytest.raises(EstError, match="not JSON"):
        open_cache(path)


@pytest.mark.parametrize("kind", ["external link", "external rows", "virtual rows"])
def test_a_cache_in_hdf5_reads_no_other_file(kind, tmp_path):
    path, other = make_cache(tmp_path / "cache.h5", range(2)), make_cache(tmp_path / "other.h5", range(2))
    with h5py.File(path, "r+", locking=False) as file:
        shape, dtype = file["clips/path"].shape, file["clips/path"].dtype
        del file["clips/path"]
        if kind == "external link":
            file["clips/path"] = h5py.ExternalLink(str(other), "clips/path")
        elif kind == "external rows":
            (tmp_path / "secret").write_bytes(b"s" * dtype.itemsize * shape[0])
            file.create_dataset(
                "clips/path", shape, dtype, external=[(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)]
            )
        else:
            layout = h5py.VirtualLayout(shape, dtype)
            layout[:] = h5py.VirtualSource(str(other), "clips/path", shape=shape)
            file.create_virtual_dataset("clips/path", layout)
    with pytest.raises(EstError, match="another file"):
        open_cache(path)


def test_codecs_of_zarr_that_unpickle(mark, tmp_path):
    path = make_cache(tmp_path / "cache.zarr", range(2))
    metadata = path / "clips" / "id" / "zarr.json"
    document = json.loads(metadata.read_text())
    document["codecs"] = [{"name": "numcodecs.pickle", "configuration": {"id": "pickle"}}]
    metadata.write_text(json.dumps(document))
    chunk = next((path / "clips" / "id").glob("c*"))
    chunk.write_bytes(pickle.dumps(Running(mark)))
    assert verify_cache(path).problems
    with pytest.raises(EstError):
        _ = open_cache(path).ids


def test_studies_of_a_sweep_that_are_pickles(mark, tmp_path):
    pytest.importorskip("optuna")
    from est.sweep.search.storage import JOURNAL, open_storage

    (tmp_path / JOURNAL).write_bytes(pickle.dumps(Running(mark)) + b"\n")
    with pytest.raises(EstError, match="cannot be read"):
        open_storage(tmp_path)


def code(mark: Path) -> str:
    return f"__import__('os').mkdir('{mark}')"


def test_text_that_is_code(mark, tmp_path):
    text = code(mark)
    for key in ("model.layers", "loop.epochs", "seeds", "model.name", "protocol.kind"):
        with pytest.raises(EstError):
            resolve(settings=[f"{key}={text}"])
    (tmp_path / "run.toml").write_text(f'[model]\nname = "{text}"\n')
    with pytest.raises(EstError):
        resolve(file=tmp_path / "run.toml")
    (tmp_path / "space.toml").write_text(f'[loop]\noptimizer = ["{text}"]\n')
    with pytest.raises(EstError):
        read_space(tmp_path / "space.toml")
    for line in (
        f"a.mp4,{text}",
        f"{text},happy",
        f"=cmd|' /C {text}'!A0,happy",
        f"!!python/object/apply:os.mkdir ['{mark}'],x",
    ):
        (tmp_path / "clips.csv").write_text(f"path,label\n{line}\n")
        (tmp_path / "a.mp4").write_bytes(b"x")
        with suppress(EstError):  # files of these names are not there
            find_inputs([tmp_path / "clips.csv"])


def test_weights_whose_card_is_code(mark, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(save({"a": torch.ones(1)}, {"card": code(mark), "trained_on": code(mark), "encoder": code(mark)}))
    read_tensors(path)
    with pytest.raises(EstError):
        load_checkpoint(path)


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_archives_are_read_in_memory_and_leave_nothing_behind(tmp_path):
    """Members that name other folders, or are links: nothing of an archive is ever extracted."""
    root = tmp_path / "data"
    make_casme2(root, table="xlsx")
    workbook = next(root.glob("*.xlsx"))
    link = zipfile.ZipInfo("xl/link.xml")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(workbook, "a") as archive:
        archive.writestr("../../evil.txt", "x")
        archive.writestr("/tmp/est-evil.txt", "x")
        archive.writestr(link, "/etc/passwd")
    arrays = tmp_path / "arrays.npz"
    with zipfile.ZipFile(arrays, "w") as archive:
        held = io.BytesIO()
        np.save(held, np.ones((3, 4), np.float32))
        archive.writestr("../../evil.npy", held.getvalue())
    before = tree(tmp_path)
    find_dataset(dataset_named("casme2"), root)
    import_features(arrays, tmp_path / "out.zarr", ImportConfig(by="x", fps=25))
    after = [name for name in tree(tmp_path) if not name.startswith("out.zarr")]
    assert after == before
    assert not Path("/tmp/est-evil.txt").exists()


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path):
    root = tmp_path / "data"
    make_casme2(root, table="xlsx")
    workbook = next(root.glob("*.xlsx"))
    with zipfile.ZipFile(workbook, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * (65 << 20))
    with pytest.raises(EstError, match="more than 64 MiB"):
        find_dataset(dataset_named("casme2"), root)


def test_xml_reads_no_other_file_and_does_not_grow(tmp_path):
    from est.inputs.published.mmi import _session

    (tmp_path / "secret").write_text("happiness")
    external = f'<!DOCTYPE s [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>'
    inner = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    for text in (
        f"{external}<s><emotion>&x;</emotion></s>",
        f'<!DOCTYPE s [<!ENTITY a0 "x">{inner}]><s><emotion>&a11;</emotion></s>',
    ):
        (tmp_path / "session.xml").write_text(text)
        session = _session(tmp_path)
        assert session.problem.startswith("session.xml cannot be read") or session.emotion == ""


@pytest.mark.parametrize("decoder", ["opencv", "pyav"])
def test_playlists_are_not_followed(decoder, tmp_path):
    make_video(tmp_path / "other.mp4", 2, size=(64, 48), pixels="yuv420p")
    for text in (
        "ffconcat version 1.0\nfile other.mp4\n",
        "#EXTM3U\n#EXTINF:1,\nother.mp4\n",
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
    ):
        (tmp_path / "clip.mp4").write_text(text)
        with pytest.raises(SourceError, match="not followed"):
            open_source(tmp_path / "clip.mp4", "video", decoder=decoder)
