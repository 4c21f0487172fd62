"""Words that releases use for the parts of a data set."""

from __future__ import annotations

SPLITS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "tst"),
}

SPLIT_OF = {word: name for name, words in SPLITS.items() for word in words}
