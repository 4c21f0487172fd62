"""The keys that a search space does not have: what they decide is the same for every trial of a sweep."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import UsageError

STACKED = "every trial is computed alike, many of them as one stacked model"
SCORED = "scores of trials with other clips or epochs cannot be compared"
WRITTEN = "it decides what is written, and no score"

# key, or section with its dot → why, and what sets it
UNVARIED: Mapping[str, tuple[str, str]] = {
    "preset": ("a preset is a starting point, and the space is laid over it", "--preset NAME"),
    "protocol.": (SCORED, "--protocol, --folds, --loso or --holdout"),
    "select": (SCORED, "--select last or --select val"),
    "seeds": ("the best of several seeds says nothing about a configuration", "--seeds N,N…"),
    "device": (STACKED, "--device NAME"),
    "control": ("the baseline beside the model does not depend on its settings", "--control or --no-control"),
    "eval_every": (WRITTEN, "--set eval_every=N of est train"),
    "keep_epochs": (WRITTEN, "--set keep_epochs=true of est train"),
    "tensorboard": (WRITTEN, "--tensorboard of est train"),
    "allow_leak": ("it decides which clips may be scored", "--allow-leak of est train"),
    "finetune.": ("a sweep trains on cached features, and the backbone does not learn", "--finetune of est train"),
    "loop.threads": (STACKED, "--threads N"),
    "loop.precision": (STACKED, "--precision NAME"),
    "loop.graph": (STACKED, "--set loop.graph=true of est train"),
    "loop.stack": (STACKED, "--stack auto, on or off"),
    "loop.accumulate": (STACKED, "--set loop.accumulate=N of est train"),
    "data.votes": ("votes are read with the cache", "--set data.votes=FILE"),
    "data.residency": ("it decides where features lie, and no score", "--set data.residency=NAME"),
}


def expect_variable(key: str) -> None:
    """Refuse a key that a search space cannot have."""
    for name, (why, option) in UNVARIED.items():
        if key == name or (name.endswith(".") and key.startswith(name)):
            raise UsageError(f"{key} cannot be in a search space: {why}.", remedy=f"leave it out; {option} sets it")
