"""Points of a search space, drawn by Optuna without a word."""

from __future__ import annotations

from typing import Any

import optuna

from est.sweep.space.space import Space


def drawn(space: Space, trials: int | None, sampler: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the parameters and the values of trials."""
    found = []

    def objective(trial):
        values = space.suggest(trial)
        found.append((trial.params, values))
        return float(len(found) % 7)

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        optuna.create_study(sampler=sampler).optimize(objective, n_trials=trials)
    finally:
        optuna.logging.set_verbosity(before)
    return found
