"""The parsers of text that stands on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from _reading import Parser

from est.cache.reading.where import where
from est.commands.demo import parse_size
from est.commands.results.evaluate import parse_range
from est.commands.results.probe import parse_pairs
from est.commands.training.trainoptions import parse_seeds
from est.encoders.backbone import Normalization
from est.encoders.device import parse_device
from est.hub.names import HubName
from est.inputs.given import parse_shard
from est.inputs.input import Input
from est.inputs.pathreading import read_paths
from est.inputs.pathrule import parse_rules
from est.train.config.configfile import resolve
from est.train.folds.labels import parse_aliases

COLUMNS = {
    "label": np.array(["happy", "", "sad"]),
    "coverage": np.array([0.5, np.nan, 1.0]),
    "count": np.array([3, -1, 40]),
}
CLIPS = ("S01/fold2_happy_3", "S02/fold11_sad_" + "1" * 30, "ü/ _" + "9" * 5000)
PATTERNS = (
    b"folders", b"none", rb"(?P<label>[a-z]+)", rb"S(?P<subject>\d+)_(?P<label>[a-z]+)", rb"(\w+)/",
    rb"fold(?P<fold>\d+)_(?P<label>\w+)",
)  # fmt: skip
SETTINGS = (
    b"model.layers=2", b"loop.epochs=5", b"seeds=[1,2]", b"loop.learning_rate=1e-4", b"model.name=gru", b"protocol.kind=loso",
    b"finetune.learns=layer4", b"protocol.folds=none", b"model.dropout=0.1",
)  # fmt: skip


def option_parsers() -> Iterator[Parser]:
    """Yield them."""
    yield Parser(
        name="conditions",
        what="`--where`",
        samples=(
            b"coverage < 0.5 and not (label = fear or label = none)",
            b"count >= 3",
            b"label ~ 'app'",
            b"coverage = none",
        ),
        words=(b"and", b"or", b"not ", b"(", b")", b"<=", b"~", b"coverage", b"label", b"none", b"not " * 100),
        read=of_text(lambda text: where(text, COLUMNS, 3)),
    )
    yield Parser(name="shards", what="`--shard`", samples=(b"1/4", b" 3 / 7 "), read=of_text(parse_shard))
    yield Parser(
        name="settings",
        what="`--set`",
        samples=SETTINGS,
        words=tuple(part for one in SETTINGS for part in one.split(b"=")),
        read=of_text(lambda text: resolve(settings=[text])),
    )
    yield Parser(
        name="path patterns",
        what="`--labels`, `--subjects`",
        samples=(
            b"folders",
            b"none",
            rb"(?P<label>[a-z]+)",
            rb"S(?P<subject>\d+)_(?P<label>[a-z]+)",
            rb"(\w+)/",
            rb"fold(?P<fold>\d+)_(?P<label>\w+)",
        ),
        words=(
            b"(?P<label>",
            b"(?P<fold>",
            b"(?P<split>",
            b"(?:",
            b"[a-",
            rb"\d",
            b"{1,3}",
            b"(?i)",
            b"(?<=a)",
            rb"\1",
        ),
        read=of_text(_read_pattern),
    )
    yield Parser(
        name="hub names",
        what="`hub:…`",
        samples=(b"hub:someone/encoder", b"hub:a/b/c.safetensors@main", b"hub:a/b@" + b"0" * 40),
        read=of_text(lambda text: str(HubName.parse(text))),
    )
    yield Parser(
        name="aliases", what="`--alias`", samples=(b"calm=neutral",), read=of_text(lambda text: parse_aliases([text]))
    )
    yield Parser(name="pairs", what="`--pair`", samples=(b"a=b",), read=of_text(lambda text: parse_pairs([text])))
    yield Parser(name="seeds", what="`--seeds`", samples=(b"1,2,3", b"7"), read=of_text(parse_seeds))
    yield Parser(name="ranges", what="`--zero-middle`", samples=(b"45:60", b"auto"), read=of_text(parse_range))
    yield Parser(name="sizes", what="`--size` of `est demo render`", samples=(b"640x360",), read=of_text(parse_size))
    yield Parser(
        name="devices", what="`--device`", samples=(b"cpu", b"cuda:1", b"auto", b"mps"), read=of_text(parse_device)
    )
    yield Parser(
        name="pixel scalings",
        what="`--normalize`",
        samples=(b"none", b"imagenet", b"0.5,0.5", b"1,2,3,4,5,6"),
        read=of_text(Normalization.named),
    )


def of_text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """Return a reader of bytes as the command line gives them: what is no UTF-8 as surrogates."""
    return lambda data: read(data.decode(errors="surrogateescape"))


def _read_pattern(text: str) -> object:
    clips = [Input(id=name, path=Path(f"/videos/{name}.mp4"), kind="video") for name in CLIPS]
    return read_paths(clips, parse_rules(text, "none"))
