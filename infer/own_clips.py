"""The clips that a part of a run tested, loaded for its model: where a run is opened again to be exported or probed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ..cache import Cache
from ..encoders.precision import Precision
from ..errors import EstError, UsageError, quoted
from ..train.data.clipset import ClipSet
from ..train.data.data import Loaded, locate_rows
from ..train.data.pixels import choose_source
from ..train.data.sampler import Sampler
from ..train.data.sampling import sampler_of
from ..train.evaluation import load_clips, tested_rows
from ..train.folds.annotations import Annotations
from ..train.loop.checkpoint import load_model
from ..train.loop.watch import TrainingWatch
from ..train.models.model import Model
from ..train.provenance import arrays_for
from ..train.results.predictions import read_predictions
from ..train.runs.run import CHECKPOINT, Run


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnClips(Loaded):
    """The test clips of a part, and its model."""

    part: str
    model: Model
    rows: np.ndarray  # of the table
    truth: np.ndarray  # of the rows, places in the run's labels
    sampler: Sampler
    precision: Precision
    feature: str | None  # that is read; none where a backbone looks at frames

    @cached_property
    def ids(self) -> np.ndarray:
        """Name the clips."""
        return self.table.ids[self.rows]


def open_complete(path: Run | Path | str) -> Run:
    """Open a run whose parts are all trained and scored."""
    run = path if isinstance(path, Run) else Run.open(path)
    if not run.complete:
        raise UsageError(f"{run.path} is not complete.", remedy=f"est train --resume --out {quoted(run.path)}")
    return run


def own_clips(
    run: Run,
    part: str,
    cache: Cache,
    table: Annotations,
    *,
    device: torch.device,
    watch: TrainingWatch,
    most: int | None = None,
    model: Model | None = None,
    pictures: bool = False,
) -> OwnClips:
    """Load the clips that a part tested and its model; with `pictures` their crops, whatever it reads.

    `most` is for a look: the first so many of those that the run has a prediction for.
    """
    rows = tested_rows(run, part, table)
    if most is not None:
        predicted = {row["id"] for row in read_predictions(run, part) if row["prediction"]}
        rows = np.array([row for row in rows.tolist() if table.ids[row] in predicted][:most], int)
        if not len(rows):
            raise EstError(f"No clip that {part} of {run.path} tested shows a face.", remedy="another --part")
    feature = arrays_for(run, cache, watch).get(part)
    if pictures:
        which, place = locate_rows(table, rows)
        source = choose_source(cache, "auto", "all")
        assert source != "maps", "these are for a last stage alone"
        told, no_face = run.config.model.told, run.config.sampling.no_face
        clips = ClipSet.for_tuning(cache, which, source, device, no_face=no_face, workers=1, told=told)
    else:
        clips, place = load_clips(run, cache, table, rows, device, feature)
    return OwnClips(
        table=table,
        clips=clips,
        place=place,
        part=part,
        model=model or load_model(run.part(part) / CHECKPOINT)[0].to(device),
        rows=rows,
        truth=np.array([run.labels.index(table.labels[code]) for code in table.label[rows].tolist()]),
        sampler=sampler_of(run.config.sampling, run.config.model.shown),
        precision=run.facts["precision"],
        feature=feature,
    )
