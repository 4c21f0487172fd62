"""The wheel: built from a clean export, it holds exactly the package, installs, and runs somewhere else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from rooms import PACKAGES

ROOT = Path(__file__).parents[1]
ROOT_FILES = ("__init__.py", "__main__.py", "cli.py", "errors.py", "packages.py", "py.typed")
DATA = {".py", ".safetensors", ".png"}


def shipped() -> set[str]:
    """List what a wheel must hold, by the names it has there."""
    files = {f"est/{name}" for name in ROOT_FILES}
    for folder in PACKAGES:
        files |= {f"est/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob("*") if path.suffix in DATA}
    return files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    export = tmp_path_factory.mktemp("export")  # never the checkout: a stale build/lib would ship deleted modules
    for name in (*ROOT_FILES, "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, export / name)
    for folder in PACKAGES:
        shutil.copytree(ROOT / folder, export / folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(export / "dist"),
        str(export),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = (export / "dist").glob("*.whl")
    return path


def test_the_wheel_holds_exactly_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == shipped()


def test_the_wheel_installs_and_runs_elsewhere(wheel, tmp_path):
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"}
    where = [sys.executable, "-c", "import est; print(est.__file__, est.__version__)"]
    done = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    file, version = done.stdout.split()
    assert Path(file) == site / "est" / "__init__.py"
    done = subprocess.run(
        [str(site / "bin" / "est"), "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"est {version}\n"
    assert version in wheel.name
