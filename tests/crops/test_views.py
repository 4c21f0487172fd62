"""Views of clips: the same clip looks the same, each change does what it says, and nothing else touches a pixel."""

from __future__ import annotations

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from est.crops.views import GREY, View, ViewConfig, draw_view, show
from est.errors import UsageError

SIDE = 48
STILL = ViewConfig(shift=0, zoom=0, brightness=0, blur=0, occlusion=0, flip=False)
NAMES = [f"subject{n}/clip{m}" for n in range(20) for m in range(20)]


@pytest.fixture
def crop() -> np.ndarray:
    """A smooth picture, so that moving it by parts of a pixel is exact enough to compare."""
    noise = np.random.default_rng(4).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def views(config=ViewConfig()):  # noqa: B008
    return [draw_view(name, 1, config) for name in NAMES]


def test_a_look_follows_from_the_clip_and_the_number_alone():
    assert draw_view("a/b", 3, ViewConfig()) == draw_view("a/b", 3, ViewConfig())
    drawn = {(name, number): draw_view(name, number, ViewConfig()) for name in NAMES[:20] for number in range(1, 6)}
    assert len(set(drawn.values())) == len(drawn)
    # Written down once: a cache that is gone on with next year gets the same views.
    view = draw_view("clip", 1, ViewConfig())
    assert (round(view.right, 9), round(view.zoom, 9), view.mirrored) == (0.057060191, 1.017909236, True)


def test_names_that_run_together_are_different_clips():
    assert draw_view("clip 1", 2, ViewConfig()) != draw_view("clip", 12, ViewConfig())
    assert draw_view("clip1", 2, ViewConfig()) != draw_view("clip", 12, ViewConfig())
    assert draw_view("ü – 顔", 1, ViewConfig()) != draw_view("u – 顔", 1, ViewConfig())


def test_number_0_is_the_clip_as_it_is(crop):
    assert draw_view("clip", 0, ViewConfig()) == View()
    assert show(crop, View()) is crop


def test_views_reach_their_limits_and_stay_within():
    config = ViewConfig()
    drawn = views(config)
    for found, limit in ((("right", "down"), config.shift), (("blur",), config.blur / 100)):
        values = np.array([[getattr(view, name) for name in found] for view in drawn])
        assert np.abs(values).max() <= limit
        assert np.abs(values).max() > 0.95 * limit
    for name, limit in (("zoom", config.zoom), ("gain", config.brightness)):
        values = np.log([getattr(view, name) for view in drawn]) / np.log1p(limit)
        assert np.abs(values).max() <= 1 + 1e-9
        assert values.min() < -0.95
        assert values.max() > 0.95
        assert abs(values.mean()) < 0.15
    hidden = [view.occluded for view in drawn if view.occluded is not None]
    assert 0.4 < len(hidden) / len(drawn) < 0.6
    assert 0.4 < np.mean([view.mirrored for view in drawn]) < 0.6
    left, top, side = np.array(hidden).T
    assert side.min() >= config.occlusion / 2
    assert side.max() <= config.occlusion
    assert min(left.min(), top.min()) >= 0
    assert max((left + side).max(), (top + side).max()) <= 1


def test_one_setting_changes_its_part_of_a_look_alone():
    whole = draw_view("clip", 1, ViewConfig())
    for name, parts in {
        "shift": {"right": 0.0, "down": 0.0},
        "zoom": {"zoom": 1.0},
        "brightness": {"gain": 1.0},
        "blur": {"blur": 0.0},
        "occlusion": {"occluded": None},
        "flip": {"mirrored": False},
    }.items():
        assert draw_view("clip", 1, replace(ViewConfig(), **{name: 0})) == replace(whole, **parts), name


def test_all_changes_together_keep_size_and_type_and_the_crop_itself(crop):
    before = crop.copy()
    for view in views()[:50]:
        seen = show(crop, view)
        assert (seen.shape, seen.dtype) == (crop.shape, np.uint8)
        assert np.array_equal(show(crop, view), seen)
        assert not np.array_equal(seen, crop)
    assert np.array_equal(crop, before)


def test_moved_by_whole_pixels_with_the_border_going_on(crop):
    seen = show(crop, View(right=6 / SIDE, down=-3 / SIDE))
    assert np.array_equal(seen[:-3, 6:], crop[3:, :-6])
    assert np.array_equal(seen[:-3, :6], np.repeat(crop[3:, :1], 6, 1))
    assert np.array_equal(seen[-3:, 6:], np.repeat(crop[-1:, :-6], 3, 0))


def test_zoomed_about_the_middle(crop):
    large = show(crop, View(zoom=2.0))
    # A pixel's centre lies at its number: the four in the middle keep the middle between them.
    middle = SIDE // 2
    mean = crop[middle - 1 : middle + 1, middle - 1 : middle + 1].astype(float).mean((0, 1))
    seen = large[middle - 1 : middle + 1, middle - 1 : middle + 1].astype(float).mean((0, 1))
    assert np.abs(mean - seen).max() <= 1
    whole = cv2.resize(crop[middle // 2 : -(middle // 2), middle // 2 : -(middle // 2)], (SIDE, SIDE))
    assert np.abs(large[4:-4, 4:-4].astype(int) - whole[4:-4, 4:-4]).max() <= 2
    small = show(crop, View(zoom=0.5))
    assert np.abs(small[:4].astype(int) - small[:1]).max() <= 1  # the border that goes on


def test_mirrored_alone_and_while_it_is_moved(crop):
    assert np.array_equal(show(crop, View(mirrored=True)), crop[:, ::-1])
    moved = View(right=4 / SIDE, zoom=1.0)
    assert np.array_equal(show(crop, replace(moved, mirrored=True)), show(crop[:, ::-1].copy(), moved))


def test_lit_blurred_and_hidden(crop):
    lit = show(crop, View(gain=1.25))
    assert np.abs(lit - np.minimum(crop * 1.25, 255)).max() <= 0.5
    assert show(np.full_like(crop, 250), View(gain=1.25)).min() == 255
    noise = np.random.default_rng(1).integers(0, 256, crop.shape, np.uint8)
    spread = [show(noise, View(blur=sigma / SIDE)).astype(float).std() for sigma in (0, 0.5, 1, 2)]
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < spread[0] / 4
    assert np.array_equal(show(np.full_like(crop, 90), View(blur=0.05)), np.full_like(crop, 90))  # no dark rim
    hidden = show(crop, View(occluded=(0.25, 0.5, 0.25)))
    assert (hidden[24:36, 12:24] == GREY).all()
    outside = np.ones((SIDE, SIDE), bool)
    outside[24:36, 12:24] = False
    assert np.array_equal(hidden[outside], crop[outside])


def test_a_look_is_described_by_every_setting_that_changes_a_pixel():
    crop = np.random.default_rng(1).integers(0, 256, (112, 112, 3), np.uint8)
    assert STILL.describe() == ""
    assert all(np.array_equal(show(crop, view), crop) for view in views(STILL)[:20])
    told = ViewConfig().describe()
    assert told == "shift 0.06, zoom 0.1, brightness 0.25, blur 1, occlusion 0.25, flip"
    for item in fields(ViewConfig):
        one = replace(STILL, **{item.name: getattr(ViewConfig(), item.name)})
        assert one.describe()
        assert one.describe() in told
        assert not all(np.array_equal(show(crop, view), crop) for view in views(one)[:20]), item.name


@pytest.mark.parametrize(
    "wrong", [{"shift": -0.1}, {"shift": 0.6}, {"zoom": 2}, {"blur": float("nan")}, {"occlusion": 1.5}]
)
def test_what_is_no_face_any_more_is_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ViewConfig(**wrong)
