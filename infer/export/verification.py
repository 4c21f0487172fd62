"""Whether a file computes what the run's model does: on random inputs and on clips of the run's cache, in batches of several sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import EstError
from ...train.models.batch_frames import BatchFrames
from ..own_clips import OwnClips
from .formats import FORMATS, TITLES, Format, Runner
from .graph import CROPS, FEATURES, Graph

TOLERANCE = 1e-4  # of the largest logit, at least of 1
AGAINST_RUN = 0.1  # of a probability: rows in bf16, and crops that passed through JPEG, move it by some hundredths
BATCHES = {FEATURES: (1, 2, 5), CROPS: (1, 2)}
CLIPS = {FEATURES: 16, CROPS: 3}  # of the cache


@dataclass(frozen=True, kw_only=True)
class Check:
    """Inputs of one kind, and by how much the file's logits differ from the model's at most."""

    what: str
    logits: float
    probabilities: float

    def line(self) -> str:
        """Say it."""
        return f"{self.what}: logits differ by at most {self.logits:.1e}, probabilities by {self.probabilities:.1e}"


@dataclass(frozen=True, kw_only=True)
class AgainstRun:
    """What the file says of test clips, beside what the run's predictions.csv says."""

    clips: int
    alike: int  # the same class
    probabilities: float  # largest difference

    def line(self) -> str:
        """Say it."""
        return (
            f"predictions.csv of the run: the same class for {self.alike} of {self.clips} clips, probabilities differ by "
            f"at most {self.probabilities:.1e}"
        )


def check_random(
    graph: Graph, runner: Runner, example: Sequence[Tensor], form: Format, generator: torch.Generator
) -> Check:
    """Compare on random inputs like the example, in batches of several sizes."""
    kind = graph.inputs[0]
    worst = np.zeros(2)
    for batch in BATCHES[kind]:
        tensors = [_drawn(one, batch, generator) for one in example]
        worst = np.maximum(worst, _compare(graph, runner, tensors, form))
    sizes = ", ".join(map(str, BATCHES[kind]))
    return Check(what=f"random {kind} in batches of {sizes}", logits=float(worst[0]), probabilities=float(worst[1]))


def check_clips(
    graph: Graph,
    runner: Runner,
    clips: OwnClips,
    form: Format,
    said: Mapping[str, Mapping[str, str]],
    labels: Sequence[str],
) -> tuple[Check, AgainstRun]:
    """Compare on clips of the run's cache, one at a time and all at once; and with what the run said of them."""
    rows = clips.rows[clips.visible(clips.rows)]
    which = torch.from_numpy(clips.place[rows])
    positions = clips.sampler.test(clips.clips.count[which])
    index = clips.clips.index(which, positions)
    frames = clips.clips.take(index)
    if graph.inputs[0] == CROPS:
        assert isinstance(frames, BatchFrames)
        shown = frames.rows[frames.place]
    else:
        with torch.no_grad():
            shown = clips.model.features(frames)
    told = clips.clips.told(clips.model.on_features.config.told, which, positions)
    tensors = [shown, *told.values()]
    worst = np.maximum(
        _compare(graph, runner, tensors, form), _compare(graph, runner, [one[:1] for one in tensors], form)
    )
    check = Check(
        what=f"{len(rows)} test clips of the run's cache", logits=float(worst[0]), probabilities=float(worst[1])
    )
    probabilities = runner(tensors)[1]
    known = [said[name] for name in clips.table.ids[rows].tolist()]
    then = np.array([[float(row[f"p_{label}"]) for label in labels] for row in known])
    alike = int((probabilities.argmax(1) == then.argmax(1)).sum())
    return check, AgainstRun(clips=len(rows), alike=alike, probabilities=float(np.abs(probabilities - then).max()))


def expect_like_the_run(found: AgainstRun, form: Format) -> None:
    """Refuse a file that says something else of test clips than the run did, beyond what the precision of their rows explains."""
    if not found.probabilities <= AGAINST_RUN:
        raise _unlike(
            form,
            f"of {found.clips} test clips its probabilities differ from predictions.csv of the run by up to {found.probabilities:.2f}, "
            f"allowed are {AGAINST_RUN:g}",
        )


def _drawn(example: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """Draw a batch of the shape and the range of an example."""
    shape = (batch, *example.shape[1:])
    if example.dtype == torch.bool:
        return torch.rand(shape, generator=generator) < 0.8
    if example.dtype == torch.uint8:
        return torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    return example[torch.randint(len(example), (batch,), generator=generator)] + torch.randn(shape, generator=generator)


def _compare(graph: Graph, runner: Runner, tensors: Sequence[Tensor], form: Format) -> np.ndarray:
    """Return by how much logits and probabilities differ at most; refuse too much.  # → (2,)"""
    with torch.no_grad():
        wanted = [one.numpy() for one in graph(*tensors)]
    try:
        found = runner(tensors)
    except Exception as error:
        raise _unlike(form, f"it does not run on {len(tensors[0])} clips: {str(error).splitlines()[0]}") from error
    if any(one.shape != other.shape for one, other in zip(found, wanted, strict=True)):
        raise _unlike(form, f"of {len(tensors[0])} clips it gives logits of the shape {found[0].shape}")
    apart = np.array([np.abs(one - other).max() for one, other in zip(found, wanted, strict=True)])
    allowed = TOLERANCE * max(1.0, float(np.abs(wanted[0]).max()))
    for what, difference, most in (("logits", apart[0], allowed), ("probabilities", apart[1], TOLERANCE)):
        if not difference <= most:
            raise _unlike(form, f"its {what} differ by {difference:.1e}, allowed are {most:.1e}")
    return apart


def _unlike(form: Format, why: str) -> EstError:
    other = next(one for one in FORMATS if one != form)
    return EstError(
        f"The {TITLES[form]} file does not give the outputs of the run's model, and was not kept: {why}.",
        remedy=f"--format {other}",
    )
