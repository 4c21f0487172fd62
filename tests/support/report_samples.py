"""Runs for pages of reports: a small cache with crops, a run on it, and a reader of HTML that knows the structure of a page."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import cv2
import numpy as np
from train_samples import LABELS, learning_clip, learning_recipes, tiny_config

from est.cache import CacheWriter
from est.train import ProtocolConfig, evaluate, fit

CLIPS = 36
FACELESS = 4  # the clip that shows no face
KFOLD = ProtocolConfig(kind="kfold", folds=2)
VOID = {"meta", "link", "img", "br", "input"}


def crop(index):
    """Return a small JPEG that shows no face."""
    picture = np.full((16, 16, 3), 40 + index % 200, np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def cache_with_crops(path, clips=CLIPS, **common):
    """Write a cache whose frames have crops; the clip `FACELESS` shows no face."""
    with CacheWriter.open(path, learning_recipes(frames={"crops": "jpeg 95"}), labels=LABELS, crops=True) as writer:
        for index in range(clips):
            clip = learning_clip(index, face=index != FACELESS, strength=0.15, **common)
            writer.add(replace(clip, crops=[crop(index) if state else b"" for state in clip.state]))
    return path


def reported_run(cache, path, *, details=True, **settings):
    """Train a run of two folds and two seeds in a moment, with what its models decide by."""
    run = fit(cache, path, tiny_config(**{"protocol": KFOLD, "seeds": (1, 2), "epochs": 2, **settings})).run
    if details:
        evaluate(run, cache).save_details()
    return path


@dataclass
class Element:
    """A tag of a page, with the text inside."""

    name: str
    attributes: dict
    text: str = ""
    inside: list = field(default_factory=list)  # names of the elements around it


class PageReader(HTMLParser):
    """Reads a page into its elements, in order, and fails where tags do not match."""

    def __init__(self, html):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(html)
        assert not self._open, [one.name for one in self._open]

    def handle_starttag(self, name, attributes):
        element = Element(name, dict(attributes), inside=[one.name for one in self._open])
        self.elements.append(element)
        if name not in VOID:
            self._open.append(element)

    def handle_startendtag(self, name, attributes):
        self.elements.append(Element(name, dict(attributes), inside=[one.name for one in self._open]))

    def handle_endtag(self, name):
        assert self._open, name
        assert self._open[-1].name == name, f"</{name}> closes <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element.text += data

    def all(self, name):
        """Return the elements of a name."""
        return [one for one in self.elements if one.name == name]

    def words(self):
        """Return the text of the page's body."""
        return " ".join(self.all("body")[0].text.split())


def expect_accessible(html):
    """Check what every page promises, without a browser; return its reader."""
    page = PageReader(html)
    levels = [int(one.name[1]) for one in page.elements if one.name in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert len(page.all("main")) == 1
    for table in page.all("table"):
        assert table.text
    assert len(page.all("caption")) == len(page.all("table"))
    pictures = list(page.all("svg"))
    assert all(one.attributes.get("role") == "img" for one in pictures)
    assert sum(one.inside[-1] == "svg" for one in page.all("title")) == len(pictures)
    assert all(one.attributes.get("alt") for one in page.all("img"))
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    for one in page.elements:  # nothing is loaded
        for name in ("src", "href"):
            assert one.attributes.get(name, "#").startswith(("#", "data:")), one
    assert page.all("html")[0].attributes["lang"] == "en"
    return page
