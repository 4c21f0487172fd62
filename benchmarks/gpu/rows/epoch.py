"""An epoch of published EST on a cache of DFEW's size, as it is and recorded, and what of it is spent outside of the model's step."""

from __future__ import annotations

import statistics

from material import random_cache
from measured import Context, LeftOut, Measured
from training import clips_of, trainer_of

from est.cache.interrupt import Stop
from est.train.data.clipset import ClipSet
from est.train.loop.watch import TrainingWatch

PRECISION = "bf16"
EPOCHS = 3


def clips(context: Context) -> ClipSet:
    """Return the clips of the cache, loaded."""
    return clips_of(context, random_cache(context, context.sizes.clips, context.sizes.mean_frames))


def epoch(context: Context, *, graph: bool) -> Measured:
    """Measure epochs."""
    expect_recordable(context, graph)
    loaded = clips(context)
    trainer = trainer_of(context, loaded, precision=PRECISION, graph=graph)
    watch, stop = TrainingWatch(), Stop()
    times = [
        context.seconds(lambda number=number: trainer.run_epoch(number, stop=stop, watch=watch))
        for number in range(EPOCHS)
    ]
    seconds = statistics.median(times[1:])
    context.keep(**{f"epoch_{graph}": seconds, "epoch_steps": trainer.num_steps})
    plan = context.seconds(lambda: trainer.planner.draw(0), 3)
    return Measured(
        value=seconds,
        text=f"{seconds:.2f} s",
        note=f"{len(loaded):,} clips, {trainer.num_steps:,} steps of {1000 * seconds / trainer.num_steps:.2f} ms, planned in {plan:.3f} s; "
        f"first epoch {times[0]:.2f} s; {loaded.residency}",
    )


def outside(context: Context, *, graph: bool) -> Measured:
    """Compare an epoch with as many steps on a batch that is there already."""
    expect_recordable(context, graph)
    whole, steps = context.kept(f"epoch_{graph}", "the epoch"), context.kept("epoch_steps", "the epoch")
    trainer = trainer_of(context, clips(context), precision=PRECISION, graph=graph, bare=True)
    plan = trainer.begin_epoch(0)
    trainer.step(plan, 0)
    inputs = [plan.index[0], plan.target[0], *(values[0] for values in plan.extras.values())]
    for _ in range(5 if graph else 1):
        trainer._learn(*inputs)

    def bare() -> None:
        for _ in range(context.sizes.steps):
            trainer._learn(*inputs)

    step = context.median(bare) / context.sizes.steps
    share = 1 - step * steps / whole
    return Measured(value=share, text=f"{share:.1%}", note=f"the bare step: {1000 * step:.2f} ms")


def expect_recordable(context: Context, graph: bool) -> None:
    """Leave out what needs a GPU."""
    if graph and context.device.type != "cuda":
        raise LeftOut(f"steps are recorded on a GPU; this is {context.device}")


MEASURES = {
    "eager": lambda context: epoch(context, graph=False),
    "graph": lambda context: epoch(context, graph=True),
    "outside": lambda context: outside(context, graph=False),
    "outside_graph": lambda context: outside(context, graph=True),
}
