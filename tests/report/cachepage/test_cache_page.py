"""`est report CACHE`: what the page says is what the cache holds, in tables and in the data of its list of clips."""

from __future__ import annotations

import base64
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from page_tables import HtmlPage
from shown_samples import shown_cache
from train_samples import learning_cache, learning_clip
from video_samples import corner_names

from est.cache import CacheWriter, Failure, open_cache
from est.cache.clip import Source
from est.crops.jpeg import decode_crop
from est.errors import UsageError
from est.report.cachepage import clipstable, copies
from est.report.cachepage import page as page_module
from est.report.cachepage.faces import face_frame
from est.report.cachepage.page import cache_page

ARCHIVE = Path(__file__).parents[2] / "fixtures" / "format-1.tar.xz"
FAILURES = [(f"lost{n}", "anger", "P1", "train") for n in range(3)]


def page_of(path, out, **settings):
    found = HtmlPage(cache_page(path, out, **settings).read_text(encoding="utf-8"))
    found.expect_whole()
    return found


@pytest.fixture(scope="module")
def learning(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    fields = {5: {"frames": 1}, 6: {"strength": 40.0}, 7: {"label": None}}
    path = learning_cache(folder / "c.zarr", failures=FAILURES, faceless=(3,), fields=fields, fold=1)
    return path, page_of(path, folder / "c.html")


def test_the_balance_is_that_of_the_clips(learning):
    path, page = learning
    clips = open_cache(path).clips
    counts = Counter(zip(clips.label_names, clips.split, strict=True))
    header, *rows = page.table("Clips by label and split")
    assert header == ["label", "test", "train", "clips", "failures"]
    assert [row[0] for row in rows] == ["anger", "happiness", "surprise", "(none)"]
    for name, test, train, both, failed in rows:
        label = None if name == "(none)" else name
        assert (int(test), int(train)) == (counts[label, "test"], counts[label, "train"])
        assert int(both) == int(test) + int(train)
        assert int(failed) == (3 if name == "anger" else 0)
    header, *rows = page.table("Clips by label and fold")
    assert (header[1], [row[1] for row in rows]) == ("1", ["18", "17", "18", "1"])
    subjects = page.table("Subjects")[1:]
    assert {row[0]: int(row[1]) for row in subjects} == Counter(clips.subject)
    assert all(row[3] in ("train", "test") for row in subjects)


def test_failures_are_grouped(learning):
    _, page = learning
    assert page.table("Failures by cause")[1:] == [["broken", "decode", "3", "lost0", "broken"]]
    assert "3 failures beside 54 clips, 1 cause." in page.text


def test_the_planted_outlier_and_the_least_covered_clips_are_named(learning):
    path, page = learning
    cache = open_cache(path)
    assert page.table("Outliers")[1][0] == "clip006"
    covered = np.argsort(cache.clips.coverage, kind="stable")[:20]
    assert [row[0] for row in page.table("Least covered")[1:]] == [cache.ids[place] for place in covered]
    assert page.table("Least covered")[1][:3] == ["clip003", "anger", "0.0 %"]


def test_the_list_has_every_clip_as_the_cache_has_it(learning):
    path, page = learning
    clips, packed = open_cache(path).clips, page.packed()
    assert packed["clip"] == clips.ids
    assert packed["label"] == [label or "" for label in clips.label_names]
    assert packed["frames"] == clips.count.tolist()
    np.testing.assert_allclose(packed["coverage"], clips.coverage, rtol=1e-3)
    assert [one is None for one in packed["box jitter"]] == np.isnan(clips.box_jitter).tolist()
    assert "tracks" not in packed  # this cache does not know them
    assert "face" not in packed


def test_it_says_what_was_made_how_and_who_is_erased_how(learning):
    path, page = learning
    for words in (
        open_cache(path).recipes.frames.fingerprint,
        "No face is shown: faces are personal data",
        "The cache holds no face pictures",
        f"est cache erase {path.name} --subject NAME",
        "Labels are apparent expressions",
    ):
        assert words in page.text
    assert not page.attributes("img")


def test_copies_across_splits_are_a_warning(tmp_path):
    path = learning_cache(tmp_path / "c.zarr", 20, split="train", subject="")
    with CacheWriter.open(path) as writer:
        writer.add(learning_clip(4, id="again", split="test", subject=""))
    page = page_of(path, tmp_path / "c.html")
    rows = page.table("Clips that show the same frames, or look alike")[1:]
    assert [row[0] for row in rows] == ["clip004", "again"]
    assert [row[5] for row in rows] == ["train", "test"]
    assert float(rows[0][2]) > 0.99
    assert rows[0][7] == "split"
    assert "1 group of clips that look alike; 1 across splits, folds or subjects. They may be copies" in page.text
    assert "Look at them: if they are copies, a model may be tested on clips that it was trained on." in page.text
    assert "show the same frames;" not in page.text  # near ones are never counted as certain


@pytest.mark.parametrize(
    ("differs", "leak"),
    [
        ({"fold": 2}, True),
        ({"split": "test"}, True),
        ({"subject": "P9"}, True),
        ({"label": "surprise"}, False),
        ({}, False),
    ],
)
def test_which_differences_of_copies_are_a_leak(tmp_path, differs, leak):
    common = {"split": "train", "subject": "P0", "label": "anger", "fold": 1}
    path = learning_cache(tmp_path / "c.zarr", 0)
    source = Source(digest=b"\xab" * 16)
    with CacheWriter.open(path) as writer:
        writer.add(learning_clip(0, **{**common, "id": "again", "source": source, **differs}))
        writer.add(learning_clip(0, **{**common, "id": "first", "source": source}))
    found, _ = copies.find_copies(open_cache(path))
    (same,) = [one for one in found if one.similarity is None]
    assert (same.contradictions, same.leak) == (tuple(differs), leak)
    words = page_of(path, tmp_path / "c.html").text
    assert (
        "1 group of clips that show the same frames; 1 across splits, folds or subjects: a model may" in words
    ) == leak
    assert "1 group of clips that show the same frames" in words


def test_folders_are_left_out_unless_asked_for(tmp_path):
    folder = tmp_path / "Ann & Bo's films"
    folder.mkdir()
    errors = [f"no frame 3 in {folder}/one two.mp4", "cannot open '/data/ann lee/b c.mp4': gone", "see /data/ann/d.mp4"]
    path = shown_cache(folder, orientations=[(0, False)])
    with CacheWriter.open(path) as writer:
        for number, error in enumerate(errors):
            writer.fail(Failure(id=f"lost {number}", path=f"{folder}/one two.mp4", stage="decode", error=error))
    found = page_of(path, tmp_path / "c.html")
    source = (tmp_path / "c.html").read_text(encoding="utf-8")
    for secret in (str(tmp_path), "films", "ann lee", "Ann", "/data"):
        assert secret not in source
    assert "Clip ids and names of subjects may tell who people are" in found.text
    assert "est cache erase shown.zarr --subject NAME" in found.text
    messages = {row[4] for row in found.table("Failures by cause")[1:]}
    assert messages == {"no frame 3 in one two.mp4", "cannot open 'b c.mp4': gone", "see d.mp4"}
    asked = page_of(path, tmp_path / "d.html", paths=True).text
    for words in (str(path), "--paths shows", *errors):
        assert (words in asked) == (words != "--paths shows")


def test_many_pairs_are_not_all_compared(learning, tmp_path, monkeypatch):
    path, _ = learning
    monkeypatch.setattr(copies, "PAIRS", 2)
    page = page_of(path, tmp_path / "c.html")
    assert "the 2 most alike were compared frame by frame" in page.text
    monkeypatch.setattr(copies, "NEAR_CLIPS", 50)
    page = page_of(path, tmp_path / "d.html")
    assert "were not looked for: there are more than 50 clips" in page.text


def test_of_a_very_large_cache_the_list_has_the_least_covered(learning, tmp_path, monkeypatch):
    path, _ = learning
    monkeypatch.setattr(clipstable, "MOST", 7)
    page = page_of(path, tmp_path / "c.html")
    clips = open_cache(path).clips
    least = sorted(np.argsort(clips.coverage, kind="stable")[:7].tolist())
    assert page.packed()["clip"] == [clips.ids[place] for place in least]
    assert "The table has the 7 least covered of 54 clips" in page.text


@pytest.mark.parametrize("crops", [True, False])
def test_faces_are_shown_when_asked_for_and_upright(tmp_path, crops):
    failures = [("decode", "no frame 3 in /a/b.mp4"), ("decode", "no frame 4 in /a/c.mp4")]
    path = shown_cache(tmp_path, crops=crops, orientations=[(90, False), (180, True)], failures=failures)
    page = page_of(path, tmp_path / "c.html", faces=True)
    assert "This page shows faces. They are personal data" in page.text
    assert f"The cache holds {'8' if crops else 'no'} face pictures" in page.text
    pictures = page.attributes("img")
    assert {one["alt"] for one in pictures} == {"face of turned 90", "face of turned 180 mirrored"}
    for picture in pictures:
        assert corner_names(decode_crop(base64.b64decode(picture["src"].partition(",")[2]))) == "rgbw"
    assert page.packed()["face"] == [one["src"] for one in pictures[-2:]]
    assert page.table("Failures by cause")[1][:3] == ["no frame # in …", "decode", "2"]
    quiet = page_of(path, tmp_path / "d.html")
    assert not quiet.attributes("img")


def test_the_face_is_a_detected_one_near_the_middle():
    assert face_frame(np.array([1, 2, 2, 0, 1, 1])) == 4
    assert face_frame(np.array([2, 0, 2, 0])) == 2
    assert face_frame(np.array([0, 0])) is None
    assert face_frame(np.array([], np.uint8)) is None


@pytest.mark.parametrize("name", ["faces.zarr", "pictures.zarr", "pictures.h5"])
def test_earlier_caches_have_a_page(tmp_path, name):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(
            tmp_path, [one for one in archive.getmembers() if one.name.split("/")[0] == name], filter="data"
        )
    page = page_of(tmp_path / name, tmp_path / "c.html", faces=True)
    cache = open_cache(tmp_path / name)
    assert page.packed()["clip"] == cache.ids
    assert len(page.attributes("img")) == (0 if name == "faces.zarr" else 24)  # thumbnails need crops or sources
    assert "format 1" in page.text


def test_an_empty_cache_has_a_page(tmp_path):
    path = learning_cache(tmp_path / "c.zarr", 0)
    page = page_of(path, tmp_path / "c.html", faces=True)
    assert page.text.count("There are no clips.") == 2
    assert "Every input gave a clip." in page.text


def test_a_page_is_not_replaced_unasked(learning, tmp_path):
    path, _ = learning
    out = tmp_path / "c.html"
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        cache_page(path, out)
    assert out.read_text() == "mine"
    assert page_module.size(1234) == "1.2 kB"
