"""The ranges of activations in int8: those that fixed pictures reach, rounded outwards so that processors agree on them.

Two processors compute fp32 with other last digits; steps of 1/32 swallow these, but for a number that lies at the edge of a step. The
digest of all ranges stands in the recipe, so that rows of two calibrations never come into one cache unseen.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...cache.recipe import canonical_json
from ...errors import EstError, counted
from .graph import CROPS
from .pictures import calibration_pictures
from .quantize import ROUNDING, Range, quantised_tensors
from .runtime import make_session

STEPS = 32  # between one half and one
BATCH = 4
SHOWN = 16  # hexadecimal digits
RANGES = ", ranges "  # in the name of a calibration, between how numbers are rounded and the digest of the ranges


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How activations and weights are rounded."""

    bits: int  # of weights: 8, or 7 where products of 8 saturate
    ranges: tuple[Range, ...]  # of activations, in the order of the graph
    tensors: tuple[str, ...] = ()  # their names; empty: of a file of earlier code, which holds the order alone

    @cached_property
    def digest(self) -> str:
        """Return a short name of all ranges."""
        text = canonical_json([list(one) for one in self.ranges])
        return hashlib.sha256(text.encode()).hexdigest()[:SHOWN]

    @property
    def name(self) -> str:
        """Return it as recipes have it."""
        rounding = f", rounding {ROUNDING}" if ROUNDING > 1 else ""
        return f"{self.bits}-bit weights{rounding}{RANGES}{self.digest}"

    def for_graph(self, tensors: Sequence[str], file: str) -> dict[str, Range]:
        """Return the range of each activation of a graph; refuse those of another one, with the file that holds them."""
        names = self.tensors or tuple(tensors)
        if len(names) != len(self.ranges) or list(names) != list(tensors):
            held = counted(len(self.ranges), "activation")
            raise EstError(
                f"{file} holds the ranges of {held}, which are not the {len(tensors)} of the encoder's graph.",
                remedy=f"delete {file}: the ranges are then measured again",
            )
        return dict(zip(names, self.ranges, strict=True))


def bits_of(name: str) -> int | None:
    """Return the bits of the weights that the name of a calibration tells."""
    digit = name[:1]
    return int(digit) if digit.isdecimal() else None


def rounding_of(name: str) -> str:
    """Return how numbers are rounded, whatever the ranges, as the name of a calibration tells it."""
    return name.partition(RANGES)[0]


def joined(names: list[str]) -> str:
    """Return the name of the calibrations of several encoders that make the rows of one array."""
    distinct = list(dict.fromkeys(names))
    if len(distinct) < 2:
        return distinct[0] if distinct else ""
    digest = hashlib.sha256(canonical_json(distinct).encode()).hexdigest()[:SHOWN]
    return f"{rounding_of(distinct[0])}{RANGES}{digest} of {len(distinct)} encoders"


def measure(graph: bytes, encoder: str, size: int) -> dict[str, Range]:
    """Return the ranges, by their names, that activations of an encoder's graph reach on the fixed pictures."""
    import onnx
    from onnx import helper

    model = onnx.load_from_string(graph)
    names = quantised_tensors(model.graph)
    del model.graph.output[:]
    model.graph.output.extend([helper.make_empty_tensor_value_info(name) for name in names])
    session = make_session(model.SerializeToString())
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    pictures = calibration_pictures(size)
    for start in range(0, len(pictures), BATCH):
        found = session.run(names, {CROPS: pictures[start : start + BATCH]})
        low = np.minimum(low, [np.min(np.asarray(rows)) for rows in found])
        high = np.maximum(high, [np.max(np.asarray(rows)) for rows in found])
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise EstError(
            f"{encoder} cannot be calibrated for int8: some of its activations are infinite or NaN.",
            remedy="check its weights, or --precision fp32",
        )
    return {
        name: (0.0 - rounded_up(-min(float(least), 0.0)), rounded_up(max(float(most), 0.0)))
        for name, least, most in zip(names, low, high, strict=True)
    }


def rounded_up(value: float) -> float:
    """Return the next number of few digits that is not smaller."""
    share, exponent = math.frexp(value)
    return math.ldexp(math.ceil(share * STEPS) / STEPS, exponent)


def write(ranges: Mapping[str, Range]) -> bytes:
    """Return ranges as a text."""
    return json.dumps(ranges).encode()


def read(data: bytes, bits: int) -> Calibration:
    """Return what `write` wrote, now or in earlier code, which wrote a list without names."""
    found = json.loads(data)
    named = isinstance(found, dict)
    ranges = tuple((low, high) for low, high in (found.values() if named else found))
    return Calibration(bits=bits, ranges=ranges, tensors=tuple(found) if named else ())
