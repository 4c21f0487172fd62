"""Prediction on videos beside extraction of the same, each a whole call in a process of its own: benchmarks/predict.py on a GPU."""

from __future__ import annotations

import shutil

from material import copies, rendered
from measured import Context, Measured
from predict import EXTRACT, PREDICT, speed, timed

from est.train import fit
from est.train.config.configfile import resolve


def videos(context: Context) -> Measured:
    """Measure both, after a run was trained."""
    rendered(context)
    work, run = context.work, context.work / "run"
    shutil.rmtree(run, ignore_errors=True)
    timed(EXTRACT, work / "set", work / "small.zarr")
    settings = {"protocol.kind": "kfold", "protocol.folds": 2, "loop.batch": 2, "loop.epochs": context.sizes.epochs}
    fit(work / "small.zarr", run, resolve("small", None, (), settings))
    source = copies(context, context.sizes.few_copies)
    extracted = timed(EXTRACT, source, work / "again.zarr")
    predicted = timed(PREDICT, source, work / "predicted", run)
    ratio = speed(predicted) / speed(extracted)
    rates = f"{speed(predicted):,.0f} frames/s, extraction {speed(extracted):,.0f}"
    return Measured(value=ratio, text=f"{ratio:.2f} × ({rates})", note=f"{predicted['frames']:,} frames, one face each")


MEASURES = {"videos": videos}
