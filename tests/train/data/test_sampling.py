"""Frames evenly over a clip, and all frames of it: positions against sums in plain Python, draws against their parts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from est.errors import UsageError
from est.train.config.sampling import SamplingConfig
from est.train.data.sampling import sampler_of
from est.train.data.snippets import SnippetSampler
from est.train.models.contract import AllFrames, Evenly, Snippets

STABLE = {"derandomize": True, "max_examples": 60}
evenly = st.builds(Evenly, parts=st.integers(1, 12), frames=st.integers(1, 20), views=st.integers(1, 4))
counts_lists = st.lists(st.integers(1, 400), min_size=1, max_size=8)


def made(shown):
    return sampler_of(SamplingConfig(), shown)


def test_what_a_model_wants_to_be_shown_names_the_sampler():
    found = made(Snippets(count=7, frames=5))
    assert isinstance(found, SnippetSampler)
    assert (found.snippets, found.frames, found.views) == (7, 5, 1)
    assert (made(Evenly(parts=8, frames=2, views=3)).views, made(AllFrames(most=9)).frames) == (3, 9)


@settings(**STABLE)
@given(evenly, counts_lists)
def test_the_test_shows_the_same_place_of_every_part(shown, counts):
    sampler = made(shown)
    for view in range(shown.views):
        expected = []
        for count in counts:
            room = max(count - shown.frames + 1, 1)
            begins = [
                (2 * (part * shown.views + view) + 1) * room / (2 * shown.views * shown.parts)
                for part in range(shown.parts)
            ]
            expected.append([[min(int(begin) + j, count - 1) for j in range(shown.frames)] for begin in begins])
        found = sampler.test(torch.tensor(counts), view=view)
        assert (found - torch.tensor(expected)).abs().max() <= 1, "a place between two frames is a matter of rounding"
        assert (found - torch.tensor(expected)).ne(0).float().mean() < 0.2


@settings(**STABLE)
@given(evenly, counts_lists, st.integers(0, 2**31))
def test_training_begins_anywhere_in_each_part(shown, counts, seed):
    found = made(shown).train(torch.tensor(counts), torch.Generator().manual_seed(seed))
    assert found.shape == (len(counts), shown.parts, shown.frames)
    for rows, count in zip(found.tolist(), counts, strict=True):
        room = max(count - shown.frames + 1, 1)
        for part, row in enumerate(rows):
            assert part * room // shown.parts <= row[0] <= (part + 1) * room // shown.parts
            assert row == [min(row[0] + j, count - 1) for j in range(shown.frames)]


def test_every_frame_of_a_part_is_drawn():
    sampler, generator = made(Evenly(parts=2)), torch.Generator().manual_seed(0)
    found = torch.cat([sampler.train(torch.tensor([10]), generator) for _ in range(200)])
    assert set(found[:, 0, 0].tolist()) == set(range(5))
    assert set(found[:, 1, 0].tolist()) == set(range(5, 10))


def test_all_frames_in_their_order_and_longer_clips_thinned():
    sampler = made(AllFrames(most=4))
    found = sampler.test(torch.tensor([1, 4, 9]))
    assert found[:, 0].tolist() == [[0, 1, 2, 3], [0, 1, 2, 3], [1, 3, 5, 7]]
    assert torch.equal(found, sampler.train(torch.tensor([1, 4, 9]), torch.Generator()))


def test_places_that_all_clips_leave_over_are_only_padded_to_where_the_model_wants_them():
    counts = torch.tensor([1, 3, 5])
    for most, padded, longest, places in (
        (9, True, 5, 9),
        (9, False, None, 9),
        (9, False, 5, 8),
        (8, False, 8, 8),
        (7, False, 5, 7),
        (4, False, 5, 4),
    ):
        shown = AllFrames(most=most, padded=padded)
        sampler = sampler_of(SamplingConfig(), shown, longest=longest)
        found = sampler.test(counts)
        assert found.shape == (3, 1, places)
        assert torch.equal(found, made(shown).test(counts)[..., :places])
        assert torch.equal(found, sampler.train(counts, torch.Generator()))
        assert sampler.rule() == made(shown).rule()
        assert sampler.describe(counts) == made(shown).describe(counts)


def test_they_say_what_is_shown():
    assert made(Evenly(parts=8, frames=2)).describe(torch.tensor([16, 90]))[1] is None
    line, warning = made(Evenly(parts=8, frames=2)).describe(torch.tensor([15, 15, 90]))
    assert line == "source frames: 16 of each clip, from 8 equal parts of it"
    assert warning == "2 of 3 clips have fewer than 16 frames, and show some of them twice."
    assert made(AllFrames(most=90)).describe(torch.tensor([15, 90])) == ("source frames: all of a clip, up to 90", None)
    assert made(AllFrames(most=89)).describe(torch.tensor([15, 90]))[1] == "1 of 2 clips are longer, and thinned."


@pytest.mark.parametrize("shown", [Evenly(parts=2), AllFrames(most=9)])
def test_there_is_no_window_to_move_or_blacken(shown):
    sampler = made(shown)
    for ask in (lambda: sampler.expect_start("--start", 3), sampler.middle, lambda: sampler.slots(3, 5)):
        with pytest.raises(UsageError, match=r"is for models that are shown a window of a clip") as refused:
            ask()
        assert refused.value.remedy.startswith("leave --")
