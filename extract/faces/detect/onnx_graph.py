"""The nodes and arrays of an ONNX graph, read without the package `onnx`: a detector then needs nothing but its weights.

An ONNX file is a protocol buffer: numbered fields, each a whole number, fixed bytes, or a length and so many bytes. Only what a network of
convolutions is made of is read here; a test compares it with what `onnx` reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

GRAPH = 7  # fields of a model
NODE, INITIALIZER = 1, 5  # of a graph
INPUT, OUTPUT, NODE_NAME, OPERATOR, ATTRIBUTE = 1, 2, 3, 4, 5  # of a node
ATTRIBUTE_NAME, INTEGER, INTEGERS = 1, 3, 8  # of an attribute
DIMS, DATA_TYPE, TENSOR_NAME, RAW_DATA = 1, 2, 8, 9  # of a tensor
FLOAT = 1  # the data type

Fields = dict[int, list[int | bytes]]


@dataclass(frozen=True, kw_only=True)
class Node:
    """An operator with its inputs and outputs, by name, and its whole numbers."""

    name: str
    operator: str
    inputs: list[str]
    outputs: list[str]
    integers: dict[str, list[int]] = field(default_factory=dict)


def read_graph(model: bytes) -> tuple[list[Node], dict[str, np.ndarray]]:
    """Return the nodes of a model's graph, in order, and its float32 arrays by name."""
    graph = _fields(_bytes(_fields(model), GRAPH))
    arrays = {}
    for item in graph[INITIALIZER]:
        tensor = _fields(item)
        if tensor[DATA_TYPE] == [FLOAT] and tensor[RAW_DATA]:
            shape = _integers(tensor[DIMS])
            arrays[_text(tensor, TENSOR_NAME)] = np.frombuffer(_bytes(tensor, RAW_DATA), "<f4").reshape(shape)
    return [_node(_fields(item)) for item in graph[NODE]], arrays


def _node(fields: Fields) -> Node:
    integers = {}
    for item in fields[ATTRIBUTE]:
        attribute = _fields(item)
        integers[_text(attribute, ATTRIBUTE_NAME)] = _integers(attribute[INTEGERS] or attribute[INTEGER])
    return Node(
        name=_text(fields, NODE_NAME),
        operator=_text(fields, OPERATOR),
        inputs=[_decoded(name) for name in fields[INPUT]],
        outputs=[_decoded(name) for name in fields[OUTPUT]],
        integers=integers,
    )


def _fields(message: int | bytes) -> Fields:
    """Return the values of a message, by the number of their field."""
    assert isinstance(message, bytes)
    found: Fields = defaultdict(list)
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 0:  # a whole number
                value, at = _varint(message, at)
                found[key >> 3].append(value)
                continue
            case 1:
                end = at + 8
            case 2:  # as many bytes as the number before them says
                length, at = _varint(message, at)
                end = at + length
            case 5:
                end = at + 4
            case kind:
                raise ValueError(f"no ONNX model: a field of kind {kind} at byte {at}")
        if end > len(message):
            raise ValueError(f"an incomplete ONNX model: {len(message)} bytes, expected {end} or more")
        found[key >> 3].append(message[at:end])
        at = end
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return a whole number, seven bits a byte, and where it ends."""
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value - (1 << 64) if value >> 63 else value, at
    raise ValueError(f"an incomplete ONNX model: {len(message)} bytes")


def _integers(values: list[int | bytes]) -> list[int]:
    """Return whole numbers, which stand one by one or packed in bytes."""
    return [number for value in values for number in ([value] if isinstance(value, int) else _packed(value))]


def _packed(values: bytes) -> Iterator[int]:
    at = 0
    while at < len(values):
        value, at = _varint(values, at)
        yield value


def _bytes(fields: Fields, number: int) -> bytes:
    """Return the bytes of a field that is there once."""
    values = fields[number]
    if len(values) != 1 or not isinstance(values[0], bytes):
        raise ValueError(f"no ONNX model: expected field {number} once, found it {len(values)} times")
    return values[0]


def _text(fields: Fields, number: int) -> str:
    return _decoded(fields[number][0]) if fields[number] else ""


def _decoded(value: int | bytes) -> str:
    assert isinstance(value, bytes)
    return value.decode()
