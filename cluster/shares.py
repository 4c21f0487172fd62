"""Dividing a row of things among shards: neighbours stay together, so that the shards in order are the row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def shares(weights: Sequence[int], number: int) -> list[range]:
    """Return at most `number` ranges, none of them empty, that follow each other and weigh about the same."""
    total = len(weights)
    number = max(1, min(number, total))
    until = list(accumulate(max(weight, 1) for weight in weights))
    ends: list[int] = []
    for share in range(1, number):
        goal = until[-1] * share / number
        first, last = (ends[-1] if ends else 0) + 1, total - (number - share)  # each has one at least
        end = first
        while end < last and until[end] - goal <= goal - until[end - 1]:
            end += 1
        ends.append(end)
    return [range(begin, end) for begin, end in zip([0, *ends], [*ends, total], strict=True)]
