"""The house: what may import what, what lies where, and how large a file may grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cache", "commands", "demo", "extract", "train", "tune")
HEAVY = ("numpy", "torch", "torchvision", "cv2", "zarr", "h5py", "onnxruntime")

# package → the packages below `est` that it may import from; `errors` and the version are everybody's
MAY_IMPORT = {
    "cache": set(),
    "extract": {"cache"},
    "train": {"cache", "extract"},
    "tune": {"cache", "extract", "train"},
    "demo": {"cache", "extract", "train"},
    "commands": {"cache", "demo", "extract", "train", "tune"},
    "": {"cli", "commands"},  # cli.py and __main__.py
}
FREE = {"errors", "__version__"}


def modules(package: str) -> list[Path]:
    folder = ROOT / package
    return sorted(folder.rglob("*.py") if package else folder.glob("*.py"))


def imported_from_est(path: Path) -> set[str]:
    """Return the first names below `est` that a module imports, however it writes it."""
    parents = path.relative_to(ROOT).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            if node.level == 0:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                base = [*parents[: len(parents) - node.level + 1], *(node.module.split(".") if node.module else [])]
                names = [".".join(["est", *base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("est.")}
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_down(package):
    for path in modules(package):
        wrong = imported_from_est(path) - MAY_IMPORT[package] - FREE - {package}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_the_import_reader_sees_every_form():
    sample = ROOT / "extract" / "sample.py"
    forms = {
        "from ..train import x": {"train"},
        "from .. import train": {"train"},
        "import est.train.loop": {"train"},
        "from est.train.loop import fit": {"train"},
        "from .video import x": {"extract"},
        "import numpy": set(),
    }
    for text, expected in forms.items():
        tree = ast.parse(text)
        assert tree.body
        path = _Text(sample, text)
        assert imported_from_est(path) == expected, text


class _Text:
    """A module that exists only here."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text

    def relative_to(self, root: Path) -> Path:
        return self.path.relative_to(root)

    def read_text(self, encoding: str) -> str:
        return self.text


def test_the_renderer_imports_no_other_stage():
    pipeline = {"pipeline.py"}  # the one file of the demo that knows the stages
    for path in modules("demo"):
        if path.name not in pipeline:
            assert not imported_from_est(path) - FREE - {"demo"}, path.name


def test_inside_the_package_imports_are_relative():
    for package in (*PACKAGES, ""):
        for path in modules(package):
            absolute = re.findall(r"^\s*(?:from|import) est\b.*", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert not absolute, f"{path.relative_to(ROOT)}: {absolute}"


def test_the_cache_works_without_torch():
    script = "import sys, pkgutil, importlib, est.cache\n"
    script += "for m in pkgutil.walk_packages(est.cache.__path__, 'est.cache.'): importlib.import_module(m.name)\n"
    script += "print(sorted(m for m in sys.modules if m.split('.')[0] in ('torch', 'cv2', 'onnxruntime')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("call", [["--help"], ["demo", "--help"], ["demo", "render", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(call):
    script = f"import sys\nsys.argv = ['est', *{call!r}]\nfrom est.cli import main\n"
    script += "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
    script += f"print(sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_packages_are_the_folders():
    with open(ROOT / "pyproject.toml", "rb") as file:
        packages = tomllib.load(file)["tool"]["setuptools"]["packages"]
    folders = {
        ".".join(("est", *path.parent.relative_to(ROOT).parts))
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert set(packages) == folders | {"est"}
    assert len(packages) == len(set(packages))


def test_the_root_holds_no_stray_module():
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py", "cli.py", "errors.py"}
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_no_module_outgrows_its_noun():
    for folder in (*PACKAGES, "", "tests", "benchmarks", "docs"):
        for path in modules(folder):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines"


def test_no_catch_all_modules():
    names = {path.stem for package in PACKAGES for path in modules(package)}
    assert not names & {"utils", "util", "misc", "common", "helpers"}


def test_constraints_pin_names_and_versions_only():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[\w.+!]+( ; .+)?", line) for line in lines)
    pinned = {line.split("==")[0].lower() for line in lines}
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    names = {re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower() for requirement in wanted}
    assert names <= pinned, names - pinned
