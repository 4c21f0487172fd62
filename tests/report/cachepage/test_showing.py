"""`est cache show`: faces upright whatever the orientation of the source and the age of the cache, marks, steps, crops that are missing."""

from __future__ import annotations

import base64
import re
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_tables import HtmlPage
from shown_samples import shown_cache
from video_samples import corner_names, number_of

from est.cache import open_cache
from est.cache.reading.listing import Choice, Listing
from est.cache.stores.manifest import Manifest
from est.crops.jpeg import decode_crop
from est.errors import CacheError, UsageError
from est.report.cachepage import sheet as sheet_module
from est.report.cachepage.clipview import ClipView, Sampling, Viewer
from est.report.cachepage.marks import MARKS, bgr, condensed
from est.report.cachepage.sheet import EDGE, GAP, HEAD, LEGEND, MARGIN, STRIP, TILE
from est.report.cachepage.showing import show_clips
from est.report.cachepage.timeline import timeline

ARCHIVE = Path(__file__).parents[2] / "fixtures" / "format-1.tar.xz"
TURNED = [(90, False), (0, True)]


@pytest.fixture
def earlier(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        names = ("faces.zarr", "pictures.h5", "pictures.zarr")
        archive.extractall(
            tmp_path, [one for one in archive.getmembers() if one.name.split("/")[0] in names], filter="data"
        )
    return tmp_path


def views(path, sampling=None):
    cache = open_cache(path)
    viewer = Viewer(cache, sampling)
    return [viewer.view(row) for row in Listing(cache).rows(range(len(cache)))]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("crops", [False, True])
def test_faces_are_upright_in_every_orientation_and_format(tmp_path, monkeypatch, version, crops):
    made = Manifest.__init__
    monkeypatch.setattr(
        Manifest, "__init__", lambda self, *args, **settings: made(self, *args, **{**settings, "version": version})
    )
    path = shown_cache(tmp_path, crops=crops)
    monkeypatch.undo()
    assert open_cache(path).snapshot.manifest.version == version
    if crops:
        for video in tmp_path.glob("*.mp4"):
            video.unlink()  # the stored ones are shown
    found = views(path)
    assert len(found) == 8
    for view in found:
        assert view.trouble == ""
        assert {frame: (corner_names(crop), number_of(crop)) for frame, crop in view.crops.items()} == {
            frame: ("rgbw", frame) for frame in (0, 1, 2, 4)
        }


def test_stored_crops_of_earlier_caches_are_shown_as_they_are(earlier):
    for name in ("pictures.zarr", "pictures.h5"):
        cache = open_cache(earlier / name)
        for view in views(earlier / name, Sampling(every=2))[:4]:
            kept = cache.crops(view.id)
            assert list(view.frames) == list(range(0, len(kept), 2))
            for frame, crop in view.crops.items():
                np.testing.assert_array_equal(crop, decode_crop(kept[frame]))


def test_faces_of_earlier_caches_have_their_eyes_above_their_mouths(earlier):
    """Landmarks are of the upright frame: crops along them cannot be turned."""
    cache = open_cache(earlier / "faces.zarr")
    points = cache.load_column("landmarks")
    assert len(points) == 257
    assert (points[:, :2, 1].max(axis=1) < points[:, 3:, 1].min(axis=1)).all()
    assert (points[:, 0, 0] < points[:, 1, 0]).all()


def test_a_cache_with_neither_crops_nor_sources_says_what_mends_it(earlier):
    with pytest.raises(CacheError, match=r"keeps no crops, and they cannot be cut .* cannot be read") as refused:
        show_clips(open_cache(earlier / "faces.zarr"), earlier / "out")
    assert "--crops" in refused.value.remedy
    assert not (earlier / "out").exists()


def pixel(sheet, clip, tile, x, y):
    """Return a pixel of a tile of the sheet, for clips of one row of tiles."""
    height = HEAD + STRIP + GAP + TILE + sheet_module.FOOT + GAP + MARGIN
    top = LEGEND + MARGIN + clip * height + HEAD + STRIP + GAP
    return tuple(sheet[top + y, MARGIN + tile * (TILE + GAP) + x].tolist())


def test_the_sheet_marks_each_frame_by_colour_and_line(tmp_path):
    path = shown_cache(tmp_path, orientations=TURNED)
    shown = show_clips(open_cache(path), tmp_path / "out")
    sheet = cv2.imread(str(shown.sheet))
    assert shown.on_sheet == 2
    for clip in range(2):
        for tile, state in enumerate((1, 2, 1, 0, 2)):
            edge = [pixel(sheet, clip, tile, x, 1) == bgr(MARKS[state].colour) for x in range(TILE)]
            drawn = sum(edge) / TILE
            assert drawn == 1 if state == 1 else 0.3 < drawn < 0.8, (tile, state)  # whole, dashed or dotted
        tiles = [pixel(sheet, clip, tile, TILE // 2, TILE // 2) for tile in range(5)]
        assert tiles[3] == sheet_module.EMPTY
        greys = [sum(tiles[tile]) / 3 for tile in (0, 1, 2, 4)]
        assert np.allclose(greys, [20, 36, 52, 84], atol=4)
        corner = TILE - EDGE - 3
        assert np.allclose(pixel(sheet, clip, 0, corner, corner), (255, 255, 255), atol=20)  # white: bottom right
        assert np.allclose(pixel(sheet, clip, 0, corner, EDGE + 3), (0, 255, 0), atol=40)  # green: top right


def test_a_sheet_is_as_tall_as_viewers_open(tmp_path, monkeypatch):
    monkeypatch.setattr(sheet_module, "TALLEST", 320)
    shown = show_clips(open_cache(shown_cache(tmp_path, orientations=TURNED)), tmp_path)
    assert (shown.on_sheet, len(shown.clips)) == (1, 2)
    assert len(cv2.imread(str(shown.sheet))) <= 320 + MARGIN


def test_the_page_says_in_words_what_it_shows(tmp_path):
    path = shown_cache(tmp_path, orientations=TURNED, crops=True, moved=0.25, tracks=2, identity_changes=1)
    shown = show_clips(open_cache(path), tmp_path / "out")
    page = HtmlPage(shown.page.read_text(encoding="utf-8"))
    page.expect_whole()
    pictures = page.attributes("img")
    names = ["frame 0, detected", "frame 1, interpolated", "frame 2, detected", "frame 4, interpolated"]
    assert [one["alt"] for one in pictures] == 2 * names
    first = base64.b64decode(pictures[0]["src"].partition(",")[2])
    assert corner_names(decode_crop(first)) == "rgbw"
    classes = [one.get("class") for one in page.attributes("li") if "class" in one][3:]
    assert classes[:5] == ["detected", "interpolated", "detected", "missing", "interpolated"]
    assert "label fear, subject s1, split train, frames 5, coverage 80.0 %" in page.text
    assert "tracks 2, identity changes 1" in page.text
    assert "● 0, 0.00 s ◇ 1, 0.04 s, step 0.000" in page.text  # none to the first frame
    assert "● 2, 0.08 s, step 0.354" in page.text  # a quarter of a side along both axes
    assert "✕ 3, 0.12 s ◇" in page.text  # no step without a face
    assert "2 detected, 2 interpolated, 1 missing" in page.text
    assert "They are personal data" in page.text
    widths = [float(one["width"]) for one in page.attributes("rect") if one.get("class") == "detected"]
    assert len(widths) == 4
    assert len(page.attributes("polyline")) == 2  # the box's steps, up to where the face is gone


def test_clips_without_a_source_are_shown_without_crops(tmp_path):
    path = shown_cache(tmp_path, orientations=TURNED)
    (tmp_path / "turned 90.mp4").unlink()
    shown = show_clips(open_cache(path), tmp_path / "out")
    assert list(shown.troubles) == ["turned 90"]
    page = HtmlPage(shown.page.read_text(encoding="utf-8"))
    assert len(page.attributes("img")) == 4
    assert "No crops are shown: its source" in page.text


def test_a_source_that_is_another_one_now_is_not_shown(tmp_path):
    path = shown_cache(tmp_path, orientations=TURNED[:1])
    video = tmp_path / "turned 90.mp4"
    video.write_bytes(video.read_bytes() + b"\0")
    with pytest.raises(CacheError, match=r"bytes, and had"):
        show_clips(open_cache(path), tmp_path / "out")


def test_damaged_crops_are_not_shown(tmp_path):
    path = shown_cache(tmp_path, orientations=TURNED[:1], crops=True)
    (chunk,) = (path / "crops" / "data").glob("c.*")
    data = bytearray(chunk.read_bytes())
    data[200] ^= 255
    chunk.write_bytes(data)
    with pytest.raises(CacheError, match="do not match their checksum") as refused:
        show_clips(open_cache(path), tmp_path / "out")
    assert "verify" in refused.value.remedy


@pytest.mark.parametrize(
    ("settings", "count", "frames"),
    [
        ({}, 30, [0, 3, 5, 8, 11, 13, 16, 18, 21, 24, 26, 29]),
        ({}, 5, [0, 1, 2, 3, 4]),
        ({"frames": 3}, 5, [0, 2, 4]),
        ({"frames": 1}, 5, [0]),
        ({"every": 4}, 10, [0, 4, 8]),
        ({"every": 4}, 0, []),
        ({}, 0, []),
    ],
)
def test_frames_are_spread_or_every_nth(settings, count, frames):
    assert Sampling(**settings).of(count) == frames


def test_clips_of_hours_are_condensed_and_not_shown_frame_by_frame():
    for settings in ({"every": 2}, {"frames": 5000}):
        with pytest.raises(UsageError, match=r"shows more than 1,000 frames of a clip of 270,000") as refused:
            Sampling(**settings).of(270_000)
        assert "--every 270" in refused.value.remedy
    assert len(Sampling(every=270).of(270_000)) == 1000
    assert Sampling(frames=5000).of(3) == [0, 1, 2]
    state = np.resize(np.array([1, 2, 2], np.uint8), 6800)
    state[3400] = 0
    assert condensed(state, 680).tolist() == [1] * 340 + [0] + [1] * 339
    assert condensed(state, 6800) is state
    row = {"id": "long", "count": 6800}
    steps = np.full(6799, 0.01)
    steps[5000], steps[100] = 0.5, np.nan
    view = ClipView(row=row, state=state, time=np.arange(6800) / 25, steps=steps, frames=[], crops={})
    svg = timeline(view)
    assert svg.count("<rect") == 1 + 3  # the paper and three runs
    assert "each column is 10 frames" in svg
    assert len(svg) < 20_000


@pytest.mark.parametrize("settings", [{"frames": 3, "every": 2}, {"frames": 0}, {"every": -1}])
def test_frames_that_make_no_sense_are_refused(settings):
    with pytest.raises(UsageError):
        Sampling(**settings)


def test_clips_are_chosen_by_id_by_condition_or_the_first(tmp_path, monkeypatch):
    cache = open_cache(shown_cache(tmp_path, crops=True))
    monkeypatch.setattr("est.report.cachepage.showing.LIMIT", 3)

    def shown(ids=None, **choice):
        return show_clips(cache, tmp_path / "out", ids=ids, choice=Choice(**choice), overwrite=True).clips

    assert shown() == ["turned 0", "turned 90", "turned 180"]
    assert shown(limit=1) == ["turned 0"]
    assert shown(ids=["turned 270", "turned 0"]) == ["turned 270", "turned 0"]
    assert shown(where="id ~ mirrored", sort="id", limit=2) == ["turned 0 mirrored", "turned 180 mirrored"]
    assert shown(ids=["turned 270", "turned 0"], sort="id") == ["turned 0", "turned 270"]
    some = ["turned 270", "turned 90", "turned 270", "turned 0"]  # conditions, order and limit are of these
    assert shown(ids=some) == ["turned 270", "turned 90", "turned 0"]
    every = [*some[:2], "turned 0", "turned 180"]
    assert shown(ids=every) == every  # more than are shown when nothing is said
    assert shown(ids=some, limit=2) == ["turned 270", "turned 90"]
    assert shown(ids=some, where="id != 'turned 270'", limit=1) == ["turned 90"]
    assert shown(ids=some, sort="id", reverse=True, limit=1) == ["turned 90"]
    assert shown(ids=["turned 270 mirrored"], sort="id", limit=1) == ["turned 270 mirrored"]
    with pytest.raises(UsageError, match="is chosen"):
        shown(ids=some, where="id ~ mirrored")
    for call in ({"where": "coverage > 2"}, {"ids": ["nobody"]}):
        with pytest.raises(UsageError):
            shown(**call)
    with pytest.raises(UsageError, match="exists already"):
        show_clips(cache, tmp_path / "out")


def test_marks_differ_in_word_symbol_and_line():
    assert len({mark.words for mark in MARKS.values()}) == len({mark.symbol for mark in MARKS.values()}) == 3
    assert len({mark.edge for mark in MARKS.values()}) == len({mark.dash for mark in MARKS.values()}) == 3
    assert all(re.fullmatch(r"#[0-9a-f]{6}", mark.colour) for mark in MARKS.values())
