"""The hardening campaigns, a few kills, faults and flips of each: they run, they count, and they see what is wrong."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # eight seconds of processor time
ROOT = Path(__file__).resolve().parents[2]
CAMPAIGNS = """
import dataclasses, json, os, random, shutil, sys
from collections import Counter
from pathlib import Path
root, home = Path(sys.argv[1]), Path(sys.argv[2])
sys.path[:0] = [str(root / "benchmarks" / "hardening"), str(root / "benchmarks"), str(root / "tests" / "support")]
import _cases, _warm, faults, flips, kills
import cache_samples

_warm.warm_up(("est.cli", "est.commands.caches.cache"))
(home / _cases.INPUTS).mkdir()
_warm.ask(cache_samples.make_cache, home / _cases.INPUTS / "all.h5", (1, 2))
sound = _cases.CASES["convert zarr"]

def looks_wrong(path, finished):
    raise AssertionError("planted")

def leaves(path):
    (path.parent / "stray").touch()
    return _cases.states.cache_rows(path)

found = {"kills": {}, "faults": {}, "flips": {}}
_cases.CASES |= {"unsound": dataclasses.replace(sound, so_far=looks_wrong)}
for name, count in (("convert zarr", 2), ("unsound", 1)):
    tallies = {name: kills.Tally()}
    kills.kill_all([name], count, random.Random(1), home, tallies)
    found["kills"][name] = dataclasses.asdict(tallies[name])
outcome, files, _ = _cases.undisturbed(sound, home)
(home / "undisturbed" / "stray").touch()
found["strays"] = kills.differences(sound, outcome, files, home / "undisturbed")
found["other"] = kills.differences(sound, outcome | {"clips/id": []}, [*files, "gone"], home / "undisturbed")

if sys.argv[3] == "filters":
    tally, said = faults.Tally(), Counter()
    faults.fail_everywhere(sound, 20, 300, home, tally, said)
    found["faults"] = dataclasses.asdict(tally) | {"said": list(said)}

def refuses(path):
    raise flips.EstError("no")

def breaks(path):
    assert path.read_bytes() == b"ab"

def dies(path):
    if path.read_bytes() != b"ab":
        os.abort()

def made(folder):
    (folder / "two").write_bytes(b"ab")
    return folder / "two"

for name, target in {
    "silent": flips.Target(make=made, read=Path.read_bytes),
    "found": flips.Target(make=made, read=Path.read_bytes, is_found=lambda path: True),
    "harmless": flips.Target(make=made, read=lambda path: 0),
    "traceback": flips.Target(make=made, read=breaks),
    "crash": flips.Target(make=made, read=dies),
    "weights": flips.TARGETS["weights"],
    "zarr": flips.TARGETS["zarr"],
}.items():
    (home / name).mkdir()
    every = {"weights": 97, "zarr": 60_013}.get(name, 5)
    found["flips"][name] = dict(flips.flip_all(target, home / name, every)[0])
print(json.dumps(found))
"""


def can_filter():
    """Say whether faults can be injected here: some sandboxes allow no filter of system calls."""
    return (
        sys.platform == "linux" and platform.machine() == "x86_64" and Path("/proc/self/seccomp_cache").parent.exists()
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What small campaigns count, in a process of their own, which forks."""
    home = tmp_path_factory.mktemp("hardening")
    filters = "filters" if can_filter() else ""
    command = [sys.executable, "-c", CAMPAIGNS, str(ROOT), str(home), filters]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_kills_are_counted_and_rounds_are_finished(found):
    tally = found["kills"]["convert zarr"]
    assert (tally["kills"], tally["found"]) == (2, [])
    assert tally["nothing"] + tally["part"] == 2
    assert tally["finished"] >= 1


def test_a_result_that_is_wrong_after_a_kill_is_found(found):
    (told,) = found["kills"]["unsound"]["found"]
    assert "after kill 1" in told
    assert "planted" in told


def test_what_differs_from_an_undisturbed_result_is_named(found):
    assert found["strays"] == ["left behind: stray"]
    assert found["other"] == ["other content: clips/id", "left behind: stray", "missing: gone"]


@pytest.mark.skipif(not can_filter(), reason="needs filters of system calls")
def test_faults_end_in_a_sentence(found):
    tally = found["faults"]
    assert tally["changes"] > 300
    assert tally["faults"] == tally["told"] == len(range(20, tally["changes"] + 1, 300))
    assert tally["found"] == []
    assert any("No space is left to write" in said and "try: free some" in said for said in tally["said"]), tally[
        "said"
    ]


def test_flips_are_told_apart(found):
    for kind in ("silent", "found", "harmless", "traceback", "crash"):
        counts = {name: count for name, count in found["flips"][kind].items() if count}
        assert counts == {kind: 4}, kind


def test_flips_of_small_files_are_seen(found):
    assert found["flips"]["weights"]["refused"] >= 20
    zarr = found["flips"]["zarr"]
    assert sum(zarr.values()) > 5
    assert zarr["silent"] == zarr["traceback"] == zarr["crash"] == 0
