"""Folders are left out of a page's paths, and of nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path

import pytest

from est.report.privacy import by_name, without_folders


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("/data/ann/c.zarr", "c.zarr"),
        ("Trained on /data/ann/c.zarr, features gap.", "Trained on c.zarr, features gap."),
        ("cannot read '/data/ann lee/b c.mp4': gone", "cannot read 'b c.mp4': gone"),
        ('path = "/data/ann lee/x"', 'path = "x"'),
        ("est train --cache=/data/ann/c.zarr", "est train --cache=c.zarr"),
        (r"C:\Users\ann\c.zarr and D:/films/a.mp4", "c.zarr and a.mp4"),
        ("/data/Ann & Bo's runs/a/config.toml", "a/config.toml"),
        ("12 / 30 clips, and/or 3/4, https://example.org/a/b, runs/a/b", None),
        ("it's 1/2 of 'a/b' and \"c/d\"", None),
        ("/", None),
    ],
)
def test_words(words, left):
    html = f"<dd>{escape(words)}</dd>"
    found = without_folders(html, [Path("/data/Ann & Bo's runs"), Path("/"), Path("runs")])
    assert found == f"<dd>{escape(words if left is None else left)}</dd>"


def test_data_and_pictures():
    html = '<script type="application/json">{"values":["/data/ann lee/a","b"]}</script><img src="data:image/jpeg;base64,/9j/4A/Q/=="/>'
    assert without_folders(html) == html.replace("/data/ann lee/", "")


def test_a_file_by_its_name():
    assert by_name("/a b/c d.mp4 is gone", "/a b/c d.mp4") == "c d.mp4 is gone"
    assert by_name("gone", "") == "gone"
