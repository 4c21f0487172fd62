"""Many small trainings at once, as one stacked model, beside the same one after another: benchmarks/many.py on a GPU."""

from __future__ import annotations

import statistics

from many import Order, Trainings
from measured import Context, Measured


def stacked(context: Context, model: str) -> Measured:
    """Measure both in turns."""
    sizes = context.sizes
    order = Order(model=model, first=0, trainings=sizes.trainings, device=str(context.device))
    trainings = Trainings(order, context.work)
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(min(sizes.rounds, 3)):
        for together, found in times.items():
            seconds = trainings.seconds(sizes.training_steps, stacked=together)
            found.append(seconds / sizes.training_steps / sizes.trainings)
    ratio = statistics.median(one / many for one, many in zip(times[False], times[True], strict=True))
    alone, together = (1000 * statistics.median(found) for found in times.values())
    note = f"{model}, {sizes.trainings} trainings, fp32: {alone:.2f} ms a step alone, {together:.3f} ms in the stack"
    return Measured(value=ratio, text=f"{ratio:.1f} ×", note=note)


MEASURES = {
    "gru": lambda context: stacked(context, "GRU, 64"),
    "est": lambda context: stacked(context, "EST, width 128, 1 layer"),
}
