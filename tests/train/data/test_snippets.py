"""Snippet sampling against a literal reference, its draws against uniform ones, and configurations that make no sense."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling_reference import median_distinct, native_view, snippet_starts, test_window

from est.errors import UsageError
from est.train.config.sampling import SamplingConfig
from est.train.data import memory
from est.train.data.snippets import SnippetSampler

STABLE = {"derandomize": True, "max_examples": 60}
UNIFY = ("resample", "clip", "native")
SIZES = [(7, 5), (1, 5), (1, 1), (2, 3), (7, 15), (7, 16), (4, 33), (1, 75), (3, 75), (9, 1), (12, 7), (61, 2)]

sizes = st.tuples(st.integers(1, 12), st.integers(1, 75))
counts_lists = st.lists(st.integers(1, 400), min_size=1, max_size=8)


@st.composite
def configs(draw):
    """Return any configuration that is allowed."""
    unified = draw(st.integers(1, 140))
    window = draw(st.integers(1, unified))
    return SamplingConfig(
        unify=draw(st.sampled_from(UNIFY)),
        unified=unified,
        window=window,
        start_range=draw(st.integers(1, unified - window + 1)),
        test_start=draw(st.integers(0, unified - window)),
        snippet_window=draw(st.integers(1, window)),
    )


def lengths(number, seed):
    """Return random lengths of clips."""
    return torch.randint(1, 401, (number,), generator=torch.Generator().manual_seed(seed))


def draw_views(config, size, counts, seed):
    return SnippetSampler(config, *size).train(counts, torch.Generator().manual_seed(seed))


def drawn_starts(config, num_clips, seed):
    """Return the starts that a seed draws: a snippet of the whole window, in a clip as long as the unified one, begins there."""
    return draw_views(config, (1, config.window), torch.full((num_clips,), config.unified), seed)[:, 0, 0]


@pytest.mark.parametrize("unify", UNIFY)
def test_blocks_of_clips_draw_what_all_of_them_draw(unify, monkeypatch):
    config, counts = SamplingConfig(unify=unify), lengths(50, 0)
    whole, sampler = draw_views(config, (7, 5), counts, 3), SnippetSampler(config, 7, 5)
    said = sampler.describe(counts)
    monkeypatch.setattr(memory, "BLOCK", 7)
    assert torch.equal(draw_views(config, (7, 5), counts, 3), whole)
    assert sampler.describe(counts) == said


def test_the_papers_numbers():
    sampler = SnippetSampler(SamplingConfig(), 7, 5)
    assert sampler.starts == [0, 10, 20, 30, 40, 50, 60]
    assert sampler.test_offsets == [0, 3, 6, 9, 12]
    expected = [[15 + 10 * i + k for k in (0, 3, 6, 9, 12)] for i in range(7)]
    assert sampler.test(torch.tensor([105, 210])).tolist()[0] == expected
    assert sampler.test(torch.tensor([105, 210]))[1].tolist() == [[2 * u + 1 for u in row] for row in expected]


@pytest.mark.parametrize("unify", UNIFY)
@pytest.mark.parametrize("size", SIZES)
def test_the_test_view_is_the_references(unify, size):
    config = SamplingConfig(unify=unify)
    counts = torch.cat([torch.tensor([1, 2, 74, 75, 76, 104, 105, 106, 400]), lengths(40, seed=sum(size))])
    window = test_window(config, *size)
    for start in (None, 0, 7, 30):
        begin = config.test_start if start is None else start
        found = SnippetSampler(config, *size).test(counts, start=start)
        assert found.dtype == torch.long
        expected = [
            native_view(config, window, start=begin, count=count, cut=max(0, count - 105) // 2)
            for count in counts.tolist()
        ]
        assert found.tolist() == expected


@pytest.mark.parametrize("unify", UNIFY)
@pytest.mark.parametrize("size", SIZES)
def test_a_training_view_is_the_references_of_what_was_drawn(unify, size):
    config = SamplingConfig(unify=unify)
    counts = lengths(60, seed=sum(size))
    starts = drawn_starts(config, len(counts), seed=5)
    shown = draw_views(config, size, torch.full_like(counts, 105), seed=5) - starts[:, None, None]  # in the window
    found = draw_views(config, size, counts, seed=5)
    for clip, count in enumerate(counts.tolist()):
        start = int(starts[clip])
        cut = int(found[clip, 0, 0] - start - shown[clip, 0, 0]) if unify == "clip" and count > 105 else 0
        assert 0 <= cut <= max(0, count - 105)
        assert found[clip].tolist() == native_view(config, shown[clip].tolist(), start=start, count=count, cut=cut)


@given(config=configs(), size=sizes, counts=counts_lists, seed=st.integers(0, 2**40))
@settings(**STABLE)
def test_any_view_lies_in_its_clip_and_shows_different_unified_frames(config, size, counts, seed):
    snippets, frames = size[0], min(size[1], config.window)
    counts = torch.tensor(counts)
    sampler = SnippetSampler(config, snippets, frames)
    views = {"train": draw_views(config, (snippets, frames), counts, seed), "test": sampler.test(counts)}
    for view in views.values():
        assert view.shape == (len(counts), snippets, frames)
        assert (view >= 0).all()
        assert (view < counts[:, None, None]).all()
        assert (view.diff(dim=2) >= 0).all()
    unified = torch.full_like(counts, config.unified)
    starts = drawn_starts(config, len(counts), seed)
    assert ((starts >= 0) & (starts < config.start_range)).all()
    begin = starts[:, None, None] + torch.tensor(snippet_starts(config, snippets, frames))[:, None]
    drawn = draw_views(config, (snippets, frames), unified, seed) - begin
    assert ((drawn >= 0) & (drawn < max(config.snippet_window, frames))).all()
    assert (drawn.diff(dim=2) > 0).all()


@given(config=configs(), counts=counts_lists, seed=st.integers(0, 2**40))
@settings(**STABLE)
def test_a_seed_decides_a_training_view_and_nothing_the_test_view(config, counts, seed):
    counts, frames = torch.tensor(counts), min(5, config.window)
    first = draw_views(config, (7, frames), counts, seed)
    torch.rand(3)
    assert torch.equal(first, draw_views(config, (7, frames), counts, seed))
    sampler = SnippetSampler(config, 7, frames)
    together = sampler.test(counts)
    assert torch.equal(together, sampler.test(counts))
    assert torch.equal(together, torch.cat([sampler.test(count[None]) for count in counts]))


def test_sampling_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    draw_views(SamplingConfig(unify="clip"), (7, 5), torch.tensor([400, 30]), seed=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_starts_and_sets_of_frames_are_uniform():
    config = SamplingConfig(unified=20, window=10, start_range=8, test_start=0, snippet_window=5)
    clips = 24_000
    starts = drawn_starts(config, clips, seed=11)
    view = draw_views(config, (2, 3), torch.full((clips,), 20), seed=11) - starts[:, None, None]
    assert_uniform([(start,) for start in starts.tolist()], [(start,) for start in range(8)])
    subsets = list(itertools.combinations(range(5), 3))
    first, second = [tuple(row) for row in view[:, 0].tolist()], [tuple(row) for row in (view[:, 1] - 5).tolist()]
    assert_uniform(first, subsets)
    assert_uniform(second, subsets)
    assert_uniform(list(zip(first, second, strict=True)), list(itertools.product(subsets, subsets)))


def test_a_cut_is_uniform_and_reaches_both_ends():
    config = SamplingConfig(unify="clip")
    counts = torch.full((20_000,), 124)
    starts = drawn_starts(config, len(counts), seed=3)
    cuts = draw_views(config, (1, 75), counts, seed=3)[:, 0, 0] - starts
    assert_uniform([(cut,) for cut in cuts.tolist()], [(cut,) for cut in range(20)])


def assert_uniform(found, possible):
    """Every possible outcome came up, and none beyond five standard deviations of its expected number; nothing else did."""
    number = dict.fromkeys(possible, 0)
    for outcome in found:
        number[outcome] += 1
    expected = len(found) / len(possible)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in number.values()), number


@given(config=configs(), size=sizes, counts=counts_lists)
@settings(**STABLE)
def test_distinct_frames_are_the_references(config, size, counts):
    snippets, frames = size[0], min(size[1], config.window)
    window = test_window(config, snippets, frames)
    expected = [
        median_distinct(
            native_view(config, window, start=config.test_start, count=count, cut=max(0, count - config.unified) // 2)
        )
        for count in counts
    ]
    assert SnippetSampler(config, snippets, frames).distinct(torch.tensor(counts)).tolist() == expected


def test_few_distinct_frames_are_warned_about():
    sampler = SnippetSampler(SamplingConfig(), 7, 5)
    line, warning = sampler.describe(torch.tensor([105, 200, 16]))
    assert line == "source frames: a snippet of 5 shows 5 different ones (median over clips)"
    assert warning is None
    line, warning = sampler.describe(torch.tensor([105, 16, 18]))
    assert "shows 3 different ones" in line
    assert "only 3 different ones" in warning
    assert "with 18 frames in the median" in warning
    assert SnippetSampler(SamplingConfig(), 7, 2).describe(torch.tensor([105]))[1] is None  # 2 of 2 are all


@given(config=configs(), size=sizes, data=st.data())
@settings(**STABLE)
def test_slots_are_those_that_show_the_frames(config, size, data):
    snippets, frames = size[0], min(size[1], config.window)
    first = data.draw(st.integers(0, config.unified - 1))
    stop = data.draw(st.integers(first + 1, config.unified))
    start = data.draw(st.none() | st.integers(0, config.unified - config.window))
    begin = config.test_start if start is None else start
    expected = [[first <= begin + place < stop for place in row] for row in test_window(config, snippets, frames)]
    assert SnippetSampler(config, snippets, frames).slots(first, stop, start=start).tolist() == expected


@pytest.mark.parametrize("size", [(1, 5), (2, 3)])
def test_fewer_than_three_snippets_have_no_middle(size):
    sampler = SnippetSampler(SamplingConfig(), *size)
    with pytest.raises(UsageError, match="of which none is in the middle") as refused:
        sampler.middle()
    first, stop = map(int, refused.value.remedy.removeprefix("--zero-middle ").split(":"))
    assert sampler.slots(first, stop).any()


@pytest.mark.parametrize("size", [(3, 5), (4, 5), (7, 5), (8, 4), (9, 5), (11, 3), (20, 5)])
def test_the_middle_is_all_that_the_middle_snippets_span(size):
    config = SamplingConfig()
    sampler, span = SnippetSampler(config, *size), max(15, size[1])
    first, stop = sampler.middle()
    middle = {(size[0] - 1) // 2, size[0] // 2}
    spans = [set(range(15 + begin, 15 + begin + span)) for begin in snippet_starts(config, *size)]
    spanned = set().union(*(spans[place] for place in middle))
    assert (first, stop) == (min(spanned), max(spanned) + 1)
    black = sampler.slots(first, stop)
    assert black[sorted(middle)].all(), "every frame that they show"
    assert black.sum() >= len(middle) * size[1]
    assert not black.all()


def test_the_middle_of_the_papers_view():
    sampler = SnippetSampler(SamplingConfig(), 7, 5)
    assert sampler.middle() == (45, 60)
    assert sampler.middle(start=0) == (30, 45)
    assert int(sampler.slots(45, 60).sum()) == 8  # all of the fourth snippet, 47 of the third, 55 and 58 of the fifth


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"unify": "interpolate"}, "sampling.unify is resample, clip or native, found 'interpolate'"),
        ({"no_face": "drop"}, "sampling.no_face is nearest or keep, found 'drop'"),
        ({"window": 106}, r"A window has 1 to 105 frames .* found sampling.window = 106"),
        ({"window": 0}, "A window has 1 to 105 frames"),
        ({"snippet_window": 76}, "A snippet spans 1 to 75 frames .* found sampling.snippet_window = 76"),
        ({"start_range": 32}, "starts at one of the first 1 to 31 of 105, found sampling.start_range = 32"),
        ({"start_range": 0}, "starts at one of the first 1 to 31"),
        ({"test_start": 31}, "sampling.test_start goes from 0 to 30"),
        ({"unified": -1}, "sampling.unified goes from 1 to 100000, found -1"),
        ({"window": 70.0}, r"sampling.window is a whole number, found 70\.0"),
        ({"start_range": True}, "sampling.start_range is a whole number, found True"),
    ],
)
def test_configurations_that_make_no_sense(fields, message):
    with pytest.raises(UsageError, match=message):
        SamplingConfig(**fields)


def test_calls_that_make_no_sense():
    for size in [(0, 5), (7, 0)]:
        with pytest.raises(UsageError, match="at least one snippet of one frame"):
            SnippetSampler(SamplingConfig(), *size)
    with pytest.raises(
        UsageError, match="Clips are shown as 76 frames, and the window that they lie in has 75"
    ) as raised:
        SnippetSampler(SamplingConfig(), 1, 76)
    assert "--frames 75" in raised.value.remedy
    sampler = SnippetSampler(SamplingConfig(), 7, 5)
    for start in (-1, 31):
        with pytest.raises(UsageError, match=f"A start goes from 0 to 30: .* found {start}"):
            sampler.test(torch.tensor([105]), start=start)
    for first, stop in [(50, 50), (-1, 5), (100, 106)]:
        with pytest.raises(UsageError, match=f"0 ≤ A < B ≤ 105, found {first}:{stop}"):
            sampler.slots(first, stop)


@pytest.mark.gpu
@pytest.mark.parametrize("unify", UNIFY)
def test_on_a_gpu_nothing_is_read_back(unify):
    config = SamplingConfig(unify=unify)
    sampler, counts = SnippetSampler(config, 7, 5), lengths(50, seed=0)
    there, generator = counts.cuda(), torch.Generator("cuda").manual_seed(1)
    sampler.train(there, generator)  # the constants are there now
    torch.cuda.set_sync_debug_mode("error")
    try:
        train, test = sampler.train(there, generator), sampler.test(there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(test.cpu(), sampler.test(counts))
    assert ((train >= 0) & (train < there[:, None, None])).all()
