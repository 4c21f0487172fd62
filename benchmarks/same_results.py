"""Whether two states of the code give the same results: same seed → same cache bytes, losses, predictions and weights.

    python benchmarks/same_results.py            # the working tree against HEAD
    python benchmarks/same_results.py REVISION   # against another commit

Both states run the same commands of `est`, each in processes of its own, on the same small rendered videos and drawn pictures. Compared are
the contents of caches (arrays, not the time stamps beside them), the history, predictions and scores of runs, and every tensor of
checkpoints. A change of structure must leave no difference; the exit status is 1 where there is one. This file imports nothing of the
package; its processes use the command line and `est.cache`.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _machine import machine

ROOT = Path(__file__).parents[1]
VOLATILE = {"seconds", "clips_per_second", "waited", "environment", "created", "commit", "time", "path", "run"}
TINY = (
    "--set model.dim=16 --set model.ffn=32 --heads 2 --layers 1 --snippets 3 --frames 2 --orders 5 --batch 4 --threads 1 "
    "--precision fp32 --device cpu"
)
EXTRACT = "--weights random --size 32 --precision fp32 --device cpu --workers 1"
TRAIN = f"train --cache pictures.zarr {TINY}"

# Every command that makes results, in order: each reads what those before it have written.
COMMANDS = (
    "demo render --out videos --subjects 1 --clips-per-subject 2 --seed 5 --size 256x192",
    f"extract videos --out videos.zarr {EXTRACT} --features gap,layer3 --flip --crops",
    f"extract videos --out videos.h5 {EXTRACT} --features gap,pyramid4x4",
    f"extract pictures/list.csv --out pictures.zarr {EXTRACT} --detector none --features gap,layer3 --flip --crops",
    "extract --from pictures.zarr --out views.zarr --weights random --views 2 --precision fp32 --device cpu",
    "cache merge videos.zarr --out merged.zarr",
    "cache convert pictures.zarr pictures.h5",
    f"{TRAIN} --out official --preset official --epochs 4 --folds 2",
    f"{TRAIN} --out text --position slot --epochs 3 --holdout --select val --seeds 1,2",
    f"{TRAIN} --out tricks --epochs 3 --holdout --flip --balanced --label-smoothing 0.1 --set data.noise=0.1 "
    "--set data.mixup=0.4 --set data.scaling=true --set loop.average=0.9 --set loop.accumulate=2",
    f"{TRAIN} --out plain --epochs 2 --holdout --no-ssop --class-weights --set loop.optimizer=adamw --set loop.clip_norm=1",
    f"{TRAIN} --out maps --epochs 2 --holdout --finetune layer4",
    f"{TRAIN} --out whole --epochs 2 --holdout --finetune all --preset modern --set finetune.head_first=1",
    f"train --cache views.zarr {TINY} --out views --epochs 2 --holdout --views",
    "evaluate text --out text-again --shuffle-test",
    "evaluate official --cache pictures.h5 --out official-h5",
    "evaluate whole --out whole-again",
    "tune --cache pictures.zarr --out tuned.safetensors --epochs 2 --batch 8 --precision fp32 --device cpu --threads 1 --holdout",
    "recache pictures.zarr --out tuned.zarr --tune --epochs 1 --batch 8 --cross-fit 2 --holdout --precision fp32 --device cpu --threads 1",
)

READ_CACHE = """
import hashlib, json, sys
import numpy as np
from est.cache import open_cache
cache = open_cache(sys.argv[1])
found = {}
for name in cache.schema.frame_arrays():
    rows = np.ascontiguousarray(cache.snapshot.rows(cache.schema.frame_arrays()[name], 0, cache.num_frames))
    found[name] = hashlib.sha256(rows.tobytes()).hexdigest()
if cache.has_crops:
    data, offset = cache.crop_rows(0, cache.num_frames)
    found["crops"] = hashlib.sha256(np.asarray(data).tobytes() + np.asarray(offset).tobytes()).hexdigest()
for name, column in cache.clips.columns.items():
    if name not in ("source_mtime_ns", "path"):
        found["clips/" + name] = hashlib.sha256(repr(np.asarray(column).tolist()).encode()).hexdigest()
recipes = {name: recipe.fingerprint for name, recipe in {"frames": cache.recipes.frames, **cache.recipes.features}.items()}
found |= {"recipe " + name: value for name, value in recipes.items()}
print(json.dumps(found))
"""
DRAW = """
import sys
from pathlib import Path
import cv2, numpy as np
folder = Path(sys.argv[1]); folder.mkdir()
generator, lines = np.random.default_rng(0), ["path,label,subject"]
for number in range(24):
    home, label = folder / f"clip{number:02}", number % 2
    home.mkdir()
    for frame in range(5 + number % 3):
        picture = generator.integers(60, 130, (32, 32, 3), np.uint8)
        picture[:, slice(None, 16) if label else slice(16, None)] += np.uint8(40 + 5 * frame)
        cv2.imwrite(str(home / f"{frame}.png"), picture)
    lines.append(f"clip{number:02},{('left', 'right')[label]},P{number // 2 % 6}")
(folder / "list.csv").write_text("\\n".join(lines) + "\\n")
"""


def main() -> None:
    """Run everything in both states, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", nargs="?", default="HEAD")
    parser.add_argument("--keep", type=Path, help="a folder for what both states write; by default it is removed")
    parser.add_argument(
        "--baseline", type=Path, help="a file for the results of that commit: written, or read where it is there"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="est-same-") as scratch:
        folder = options.keep or Path(scratch)
        if options.baseline and options.baseline.exists():
            then = json.loads(options.baseline.read_text(encoding="utf-8"))
        else:
            then = results_of_commit(options.revision, folder, Path(scratch) / "base")
            if options.baseline:
                options.baseline.write_text(json.dumps(then, indent=1), encoding="utf-8")
        now = results("now", ROOT, folder)
    different = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    print(machine("torch", "numpy"))
    print(
        f"{len(COMMANDS)} commands, {len(then)} results of {options.revision}, {len(now)} of the working tree: {len(different)} differences"
    )
    for name in different:
        print(f"  {name}: {'missing then' if name not in then else 'missing now' if name not in now else 'other'}")
    sys.exit(1 if different else 0)


def results_of_commit(revision: str, folder: Path, tree: Path) -> dict[str, str]:
    """Run all commands in a work tree of a commit."""
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), revision], cwd=ROOT, check=True)
    try:
        return results("then", tree, folder)
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def results(name: str, tree: Path, folder: Path) -> dict[str, str]:
    """Run all commands with the package of a tree, and return a digest of everything they made."""
    home, link = folder / name, folder / f"{name}-package"
    home.mkdir(parents=True)
    link.mkdir()
    (link / "est").symlink_to(tree, target_is_directory=True)
    environment = os.environ | {"PYTHONPATH": str(link), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*call: str) -> str:
        done = subprocess.run(
            [sys.executable, *call], cwd=home, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{name}: {' '.join(call[-12:])} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    place = run("-c", "import est; print(est.__path__[0])").strip()
    assert Path(place).resolve() == tree.resolve(), f"imported {place}, expected {tree}"
    run("-c", DRAW, "pictures")
    for command in COMMANDS:
        print(f"{name}: est {command}", file=sys.stderr)
        run("-m", "est", *command.split())
    found = {}
    for path in sorted(home.iterdir()):
        if path.suffix in (".zarr", ".h5"):
            found |= {
                f"{path.name}: {array}": value for array, value in json.loads(run("-c", READ_CACHE, path.name)).items()
            }
    for path in sorted(home.rglob("*")):
        if any(part.endswith(".zarr") for part in path.parts):
            continue
        if path.is_file() and (digest := digest_of(path)):
            found[str(path.relative_to(home))] = digest
    return found


def digest_of(path: Path) -> str | None:
    """Return a digest of what a file says, without times and places; none of files that hold nothing else."""
    if path.suffix == ".safetensors":
        return tensors_of(path)
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return hashlib.sha256(json.dumps(timeless(list(csv.DictReader(file)))).encode()).hexdigest()
    if path.suffix in (".mp4", ".png"):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix in (".json", ".jsonl"):
        lines = path.read_text(encoding="utf-8")
        values = [json.loads(line) for line in (lines.splitlines() if path.suffix == ".jsonl" else [lines])]
        if path.name == "run.json":  # digests are of files with times
            values = [{key: value for key, value in values[0].items() if key not in ("digest", "files")}]
        return hashlib.sha256(json.dumps(timeless(values), sort_keys=True).encode()).hexdigest()
    return None


def timeless(value: object) -> object:
    """Leave out what differs from run to run."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [timeless(inner) for inner in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name  # both states write to folders of their own
    return value


def tensors_of(path: Path) -> str:
    """Return a digest of the tensors of a safetensors file, in the order of their names: not of the text beside them."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    digest = hashlib.sha256()
    for name in sorted(name for name in header if name != "__metadata__"):
        begin, end = header[name]["data_offsets"]
        digest.update(f"{name} {header[name]['dtype']} {header[name]['shape']}".encode())
        digest.update(data[8 + length + begin : 8 + length + end])
    return digest.hexdigest()


if __name__ == "__main__":
    main()
