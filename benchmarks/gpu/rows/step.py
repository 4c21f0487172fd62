"""A step of EST on cached features beside the floor that Adam's bytes set, as it is and recorded (loop.graph)."""

from __future__ import annotations

import torch
from material import random_cache
from measured import Context, LeftOut, Measured

BYTES = 28  # of a parameter: Adam reads weight, gradient and two means, and writes all but the gradient
CLIPS, FRAMES = 64, 77


def copy(context: Context) -> Measured:
    """Measure how many bytes a copy moves."""
    source = torch.ones(context.sizes.copied // 4, device=context.device)
    target = torch.empty_like(source)
    rate = 2 * context.sizes.copied / context.median(lambda: target.copy_(source), 5)
    context.keep(bandwidth=rate)
    return Measured(value=rate / 1e9, text=f"{rate / 1e9:,.0f} GB/s")


def step(context: Context, name: str, *, precision: str, graph: bool) -> Measured:
    """Measure a step of the training loop on features that are on the device."""
    from training import trainer_of  # here: a copy needs no training

    cache = random_cache(context, CLIPS, FRAMES)
    trainer = trainer_of(context, cache, precision=precision, graph=graph)
    plan = trainer.begin_epoch(0)
    for number in range(5 if graph else 1):
        trainer.step(plan, number % trainer.num_steps)

    def steps() -> None:
        for number in range(context.sizes.steps):
            trainer.step(plan, number % trainer.num_steps)

    seconds = context.median(steps) / context.sizes.steps
    context.keep(**{f"step_{name}": seconds})
    number = sum(parameter.numel() for parameter in trainer.model.parameters())
    floor = BYTES * number / context.kept("bandwidth", "a copy")
    text = f"{seconds / floor:.2f} × ({1000 * seconds:.2f} ms, floor {1000 * floor:.3f} ms)"
    return Measured(value=seconds / floor, text=text, note=f"{number:,} parameters, {precision}")


def graph_gain(context: Context) -> Measured:
    """Compare the two."""
    eager, graph = (context.kept(f"step_{name}", f"the step, {name}") for name in ("eager", "graph"))
    note = f"{1000 * eager:.2f} ms without, {1000 * graph:.2f} ms with it"
    return Measured(value=eager / graph, text=f"{eager / graph:.2f} ×", note=note)


def recorded(context: Context, name: str, precision: str) -> Measured:
    """Measure a recorded step, where steps can be recorded."""
    if context.device.type != "cuda":
        raise LeftOut(f"steps are recorded on a GPU; this is {context.device}")
    return step(context, name, precision=precision, graph=True)


MEASURES = {
    "copy": copy,
    "eager": lambda context: step(context, "eager", precision="bf16", graph=False),
    "graph": lambda context: recorded(context, "graph", "bf16"),
    "graph_gain": graph_gain,
    "graph_fp32": lambda context: recorded(context, "graph_fp32", "fp32"),
}
