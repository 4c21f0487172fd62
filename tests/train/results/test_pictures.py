"""The learning curves as a picture: every part, their mean, numbers at the axes, and nothing that was not measured."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from est.train.results.pages.pictures import SHOWN_PARTS, TESTED, curves_picture

SVG = "{http://www.w3.org/2000/svg}"
TEST_COLOUR = "#c0392b"


def history(epochs, *, scale=1.0, every=1, val=False):
    return [
        {
            "epoch": epoch,
            "loss": scale * 2 / epoch,
            "train_right": min(10, epoch),
            "train_clips": 10,
            **({"test_right": 3, "test_clips": 6, "test_uar": 0.5} if every and epoch % every == 0 else {}),
            **({"val_right": 1, "val_clips": 4} if val else {}),
        }
        for epoch in range(1, epochs + 1)
    ]


def drawn(*histories):
    root = ElementTree.fromstring(curves_picture(histories))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    return root, texts


def lines(root, width):
    return [one for one in root.iter(f"{SVG}polyline") if one.get("stroke-width") == width]


def test_a_thin_line_for_each_part_and_a_thick_mean():
    root, texts = drawn(history(8, val=True), history(8, scale=3.0, val=True))
    assert len(lines(root, "1")) == 2 * 4
    assert len(lines(root, "2.5")) == 4
    assert {"train", "validation", TESTED, "loss", "WAR, %", "epoch", "1", "8", "0", "100"} <= set(texts)
    one, two, mean = (
        [float(point.split(",")[1]) for point in line.get("points").split()]
        for line in (*lines(root, "1")[:2], lines(root, "2.5")[0])
    )
    assert mean == pytest.approx([(low + high) / 2 for low, high in zip(one, two, strict=True)], abs=0.1)
    bottom, top = 320, 60
    assert all(top <= y <= bottom for y in (*one, *two))


def test_the_test_half_may_be_scored_now_and_then_or_never():
    root, texts = drawn(history(6, every=3))
    (line,) = [one for one in lines(root, "2.5") if one.get("stroke") == TEST_COLOUR]
    assert len(line.get("points").split()) == 2
    root, texts = drawn(history(6, every=0))
    assert TESTED not in texts
    assert "validation" not in texts
    assert all(one.get("stroke") != TEST_COLOUR for one in root.iter(f"{SVG}polyline"))


def test_one_epoch_is_dots():
    root, texts = drawn(history(1))
    assert len(list(root.iter(f"{SVG}circle"))) == 3
    assert list(root.iter(f"{SVG}polyline")) == []
    assert {"by epoch", "loss", "epoch"} <= set(texts)


def test_of_many_parts_some_are_drawn_and_all_are_in_the_mean():
    root, texts = drawn(*[history(3) for _ in range(40)])
    assert len(lines(root, "1")) == 3 * SHOWN_PARTS
    assert f"thin: {SHOWN_PARTS} of 40 parts; thick: the mean of all" in texts


def test_an_encoder_without_records_spoils_nothing():
    assert drawn([], [])[1]
    assert drawn(history(160))[1].count("150") == 2, "round epochs have a number"
