"""The parsers of lists and tables that users and data sets bring: clips, published data sets, images, votes, features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from _reading import Parser
from dataset_trees import MAKERS, PICTURE
from import_samples import openface
from micro_trees import MICRO, make_casme2

from est.errors import SourceError
from est.inputs.features.config import ImportConfig
from est.inputs.features.importing import read_clips
from est.inputs.features.plan import plan_import
from est.inputs.features.trial import expect_one_that_fits
from est.inputs.input import find_inputs
from est.inputs.published import dataset_named, find_dataset
from est.inputs.relabelling import plan_relabelling
from est.inputs.stills.finder import find_stills
from est.train.folds.annotations import Annotations
from est.train.folds.votes import Votes

CLIPS = (
    b"path,label,subject,split,fold,start,end,onset,apex,offset,extra:site\na.mp4,happy,S1,train,1,0.5,1:02.5,1,2,3,x\nb/1.mp4,sad,S2,test,2,,,,,,y\n",
    b"path;label\r\na.mp4;happy\r\n",
    "path\tlabel\nä.mp4\tüberrascht\n".encode("utf-16"),
    b'sep=;\npath;label\n"a;b.mp4";happy\n',
    b"id,path,label,extra:age\na,a.mp4,sad,33\nb/1,b/1.mp4,happy,4e3\n",
)
WORDS = (
    b"path",
    b"label",
    b"subject",
    b"fold",
    b"start",
    b"extra:",
    b"extra:age",
    b"id",
    b"1:2:3:4",
    b"0.5",
    b"happy",
    b"train",
)
LISTS = {
    "dfew": "*.csv", "mafw": "*.txt", "ferv39k": "*.csv", "mmi": "*.xml", "ck+": "*.txt", "casme2": "*.csv", "samm": "*.csv",
    "megc": "*.csv",
}  # fmt: skip


def list_parsers(folder: Path) -> Iterator[Parser]:
    """Yield them; each has a folder of its own for the files that it reads."""
    for suffix in (".csv", ".txt", ".tsv"):
        place = _clips(folder / f"clips{suffix}")
        read = into(place / f"list{suffix}", lambda path: find_inputs([path]))
        plain = (b"a.mp4\nb/1.mp4\n",) if suffix == ".txt" else ()
        yield Parser(
            name=f"clip lists {suffix}", what="INPUT, `--list`", samples=(*CLIPS, *plain), words=WORDS, read=read
        )
    yield from _relabelling(folder / "relabel")
    yield from _published(folder / "published")
    yield from _stills(folder / "stills")
    yield from _features(folder / "features")


def into(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Return a reader of bytes that reads them as the content of a file, which is put back afterwards."""
    before = path.read_bytes() if path.is_file() else b""

    def reading(data: bytes) -> object:
        path.write_bytes(data)
        try:
            return read(path)
        finally:
            path.write_bytes(before)

    return reading


def _clips(folder: Path) -> Path:
    (folder / "b").mkdir(parents=True)
    for name in ("a.mp4", "b/1.mp4", "a;b.mp4", "ä.mp4"):
        (folder / name).write_bytes(b"\0" * 64)
    return folder


def _relabelling(folder: Path) -> Iterator[Parser]:
    """Relabelling, by lists that name clips of a cache; and votes on them."""
    from cache_samples import make_cache

    folder.mkdir(parents=True)
    cache = make_cache(folder / "cache.zarr", range(4))
    ids = [f"set/clip {number:03}" for number in range(4)]
    lines = "id,label,subject,fold,extra:age\n" + "".join(
        f"{name},sad,S{place},{place},{place}\n" for place, name in enumerate(ids)
    )
    yield Parser(
        name="relabelling",
        what="`est cache relabel --list`",
        samples=(lines.encode(), CLIPS[4]),
        words=WORDS,
        read=into(folder / "list.csv", lambda path: plan_relabelling(cache, [path])),
        share=0.5,
    )
    table = Annotations.from_columns(ids=ids, labels=("happy", "sad"), label=["happy", "sad"] * 2)
    votes = "id,happy,sad\n" + "".join(f"{name},{place},2\n" for place, name in enumerate(ids))
    yield Parser(
        name="votes",
        what="`est train --votes`",
        samples=(votes.encode(), votes.replace(",2", ",0.5").encode()),
        words=(b"id", b"path", b"happy", b"0.5"),
        read=into(folder / "votes.csv", lambda path: Votes.read(path, table).shares(("happy", "sad"))),
    )


def _published(folder: Path) -> Iterator[Parser]:
    """Every official list of every data set that has one, and the workbooks of coding tables."""
    makers = {**MAKERS, **MICRO}
    for name, pattern in LISTS.items():
        root = folder / name.strip("+")
        if name in ("casme2", "samm"):
            makers[name](root, table="csv")
        else:
            makers[name](root)
        lists = sorted(path for path in root.rglob(pattern) if path.is_file())
        for place in dict.fromkeys((0, len(lists) - 1)):
            path = lists[place]
            label_names = ("--label-names", tuple("abcdef")) if name == "mmi" else None
            yield _of_dataset(name, root, path, label_names[1] if label_names else ())
    root = folder / "workbook"
    make_casme2(root, table="xlsx")
    yield _of_dataset("casme2", root, next(root.glob("*.xlsx")), ())
    for name in ("path-label", "path-frames-label"):
        root = folder / name
        for clip in ("a/1", "a/2"):
            (root / clip).mkdir(parents=True)
            (root / clip / "1.jpg").write_bytes(PICTURE)
        middle = " 1" if name == "path-frames-label" else ""
        yield Parser(
            name=f"lists of --dataset {name}",
            what=f"INPUT with `--dataset {name}`",
            samples=(
                f"a/1{middle} 0\na/2{middle} 1\n".encode(),
                f"/x/a/1{middle} happy\n/x/a/2{middle} sad\n".encode(),
            ),
            read=into(
                root / "train.txt",
                lambda path, name=name, root=root: find_dataset(
                    dataset_named(name), root, lists=(path,), label_names=("happy", "sad")
                ),
            ),
        )


def _of_dataset(name: str, root: Path, path: Path, label_names: tuple[str, ...]) -> Parser:
    named = {"label_names": label_names} if label_names else {}
    return Parser(
        name=f"{name}: {path.name}",
        what=f"`--dataset {name}`",
        samples=(path.read_bytes(),),
        words=(b"anger", b"happy", b"0", b"8", b"video_name,label", b"<subject>", b"Onset Frame"),
        read=into(path, lambda _: find_dataset(dataset_named(name), root, **named)),
        share=0.25,
    )


def _stills(folder: Path) -> Iterator[Parser]:
    """Lists of labelled images."""
    pixels = " ".join(["7"] * 48**2)
    fer = f"emotion,pixels,Usage\n0,{pixels},Training\n3,{pixels},PublicTest\n".encode()
    votes = (
        b"Usage,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
        b"Training,1,9,0,0,0,0,0,0,0,0\nPublicTest,1,0,0,0,8,0,0,0,1,0\n"
    )
    affect = (
        b"subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
        b"a.jpg,1,2,20,20,,3,0,0\n"
    )
    own = b"path,label,split,subject\na.jpg,happy,train,S1\nb.jpg,sad,val,S2\n"
    shares = b"path,happy,sad\na.jpg,3,7\nb.jpg,0,5\n"
    for name, file, samples in (
        ("fer2013", "fer2013.csv", (fer,)),
        ("rafdb", "list_patition_label.txt", (b"train_00001.jpg 5\ntest_0001.jpg 2\n",)),
        ("affectnet", "training.csv", (affect,)),
        ("images", "images.csv", (own, shares)),
    ):
        place = folder / name
        (place / "Image" / "aligned").mkdir(parents=True)
        for image in ("a", "b", "Image/aligned/train_00001_aligned", "Image/aligned/test_0001_aligned"):
            (place / f"{image}.jpg").write_bytes(PICTURE)
        yield Parser(
            name=f"images: {file}",
            what="`est tune --images`",
            samples=samples,
            words=(b"pixels", b"label", b"path", b"happy", b"0.5"),
            read=into(place / file, find_stills),
        )
    voted = folder / "voted"
    voted.mkdir()
    (voted / "fer2013.csv").write_bytes(fer)
    yield Parser(
        name="images: fer2013new.csv",
        what="`est tune --votes`",
        samples=(votes,),
        read=into(voted / "votes.csv", lambda path: find_stills(path.parent, votes=path)),
    )
    annotated = folder / "numbers"
    for half in ("train_set", "val_set"):
        for inner in ("images", "annotations"):
            (annotated / half / inner).mkdir(parents=True)
        (annotated / half / "images" / "0.jpg").write_bytes(PICTURE)
        np.save(annotated / half / "annotations" / "0_exp.npy", np.array("3"))
    one = annotated / "train_set" / "annotations" / "0_exp.npy"
    yield Parser(
        name="images: 0_exp.npy",
        what="`est tune --images`",
        samples=(one.read_bytes(),),
        read=into(one, lambda _: find_stills(annotated)),
    )


def _features(folder: Path) -> Iterator[Parser]:
    """Features of other software: tables and arrays, with a list beside them."""
    folder.mkdir(parents=True)
    openface(folder / "openface.csv")
    table = (folder / "openface.csv").read_bytes()
    (folder / "openface.csv").unlink()
    whole = b"clip,frame,a,b\n" + b"".join(f"c{place // 4},{place % 4},{place},0.5\n".encode() for place in range(8))
    np.save(folder / "rows.npy", np.ones((4, 6), np.float32))
    np.savez(folder / "rows.npz", features=np.ones((4, 6), np.float32), time=np.arange(4))
    np.savez_compressed(folder / "packed.npz", features=np.ones((4, 6), np.float32))
    arrays = {suffix: (folder / f"rows{suffix}").read_bytes() for suffix in (".npy", ".npz")}
    arrays[".npz"] = (arrays[".npz"], (folder / "packed.npz").read_bytes())
    how = ImportConfig(by="a test", fps=25)
    for name, samples, more in (
        ("table.csv", (table,), {}),
        ("whole.csv", (whole,), {"id_column": "clip"}),
        ("rows.npy", (arrays[".npy"],), {}),
        ("rows.npz", arrays[".npz"], {"array": "features"}),
    ):
        place = folder / name.replace(".", "-")
        place.mkdir()
        config = ImportConfig(by="a test", fps=25, **more)
        yield Parser(
            name=f"features: {name}",
            what="`est cache import`",
            samples=samples,
            words=(b"frame", b" success", b"<f8", b"|O", b"'shape': (1,", b"fortran_order"),
            read=into(place / name, lambda path, config=config: _import(path, config)),
        )
    place = folder / "listed"
    place.mkdir()
    np.save(place / "a.npy", np.ones((4, 6), np.float32))
    yield Parser(
        name="features: list.csv",
        what="`est cache import --list`",
        samples=(b"id,label,subject,num_frames,onset\na,happy,S1,4,1\n", b"path,label\na.npy,happy\n"),
        words=(*WORDS, b"num_frames"),
        read=into(folder / "list.csv", lambda path: _import(place, how, lists=[path])),
    )


def _import(path: Path, config: ImportConfig, **how: Any) -> None:
    """Read all rows as an import does; what a clip cannot give is on record as its failure."""
    plan = plan_import(path, config, **how)
    expect_one_that_fits(plan, read_clips)
    for _, read in read_clips(plan, plan.clips):
        with suppress(SourceError, OSError):
            read()
