"""`est submit extract --engine ray`: which options go with it, and what reaches the library; without Ray."""

from __future__ import annotations

import pytest

from est.cluster.rayengine import extracting
from est.errors import EstError


@pytest.mark.parametrize(
    ("options", "told", "remedy"),
    [
        (["--engine", "ray", "--shards", 3], "without shards and jobs: --shards has no meaning", "--actors says"),
        (["--engine", "ray", "--keep-shards"], "--keep-shards has no meaning", "leave out --keep-shards"),
        (
            ["--engine", "ray", "--partition", "gpu"],
            "--partition is an option of Slurm, and --engine ray",
            "--engine slurm",
        ),
        (
            ["--actors", 2, "--num-gpus", 1],
            "--actors, --num-gpus are options of Ray, and --engine slurm",
            "--engine ray",
        ),
        (["--engine", "local", "--address", "auto"], "--address is an option of Ray", "--engine ray"),
    ],
)
def test_options_that_do_not_go_together(est, options, told, remedy):
    status, out, err = est("submit", "extract", "videos", "--out", "c.zarr", *options)
    assert (status, out) == (2, "")
    assert told in err
    assert remedy in err


def test_the_command_is_the_call(est, tmp_path, monkeypatch):
    given = {}

    def extract_on_ray(found, out, config, *, watch, **options):
        given.update(options, ids=[one.id for one in found.inputs], out=out, weights=config.weights)
        raise EstError("nobody is there")

    monkeypatch.setattr(extracting, "extract_on_ray", extract_on_ray)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"")
    line = ["--weights", "random", "--engine", "ray", "--actors", 2, "--num-gpus", 0.5, "--address", "h:6379"]
    status, _, err = est("submit", "extract", tmp_path / "videos", "--out", tmp_path / "c.zarr", *line)
    assert (status, "nobody is there" in err) == (1, True)
    assert given.pop("out") == tmp_path / "c.zarr"
    assert given == {"ids": ["a"], "weights": "random", "actors": 2, "num_gpus": 0.5, "address": "h:6379"}
