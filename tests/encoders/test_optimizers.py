"""Optimisers without torch's compiler: nothing of a training imports it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn
from train_samples import learning_cache

from est.encoders.optimizers import MARKED, without_compiler

TRAINING = """
import sys
from est.cli import main
from est.train.models.description import usual_shape
from est.train.models.registry import MODELS, config_class, describe_model

try:
    main(sys.argv[1:])
except SystemExit as error:
    assert not error.code, error.code
for name in MODELS:
    config = config_class(name)()
    width, *sides = usual_shape(config.reads)
    describe_model(config, width, 7, tuple(sides))
print(*sorted({"torch._dynamo", "torch._inductor", "sympy", "torchvision", "sklearn", "pandas"} & set(sys.modules)))
"""


def test_a_training_imports_no_compiler(tmp_path):
    """Nor what else takes longer than a small training; models of all kinds are counted without it."""
    cache = learning_cache(tmp_path / "cache.zarr")
    sizes = [part for key in ("dim=16", "heads=2", "ffn=32", "layers=1") for part in ("--set", f"model.{key}")]
    call = ["train", "--cache", str(cache), "--device", "cpu", "--epochs", "1", "--out", str(tmp_path / "run"), *sizes]
    done = subprocess.run([sys.executable, "-c", TRAINING, *call], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "summary.md").exists()
    assert done.stdout.splitlines()[-1] == "", done.stdout


def test_what_is_behind_the_marks_is_there():
    """A torch that marks its methods in another way would be called as it is; state is under torch's names."""
    weight = nn.Parameter(torch.ones(3))
    optimizer = without_compiler(torch.optim.AdamW)([weight], lr=0.1, fused=True)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert all(name in vars(type(optimizer)) for name in (*MARKED, "step"))
    weight.grad = torch.tensor([1.0, 0.0, -1.0])
    optimizer.step()
    assert set(optimizer.state_dict()["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}
    torch.testing.assert_close(weight.detach(), torch.tensor([0.899, 0.999, 1.099]))  # 1 − 0.1 · 0.01, then ± 0.1
