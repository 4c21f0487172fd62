"""The house: what may import what, what lies where, and how large a file may grow."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from rooms import MAY_IMPORT, PACKAGES

from est.train.models.registry import MODELS, config_class, folder_of

ROOT = Path(__file__).parents[1]
HEAVY = ("numpy", "torch", "torchvision", "cv2", "av", "zarr", "h5py", "onnxruntime")

FREE = {"errors", "packages", "__version__", "lazy_names", "cli"}


def modules(room: str) -> list[Path]:
    """Return the modules of a room."""
    return sorted(ROOT.joinpath(*room.split(".")).glob("*.py"))


def rooms() -> set[str]:
    """Return the package's folders, as `train.loop`."""
    return {
        ".".join(path.parent.relative_to(ROOT).parts)
        for name in PACKAGES
        for path in (ROOT / name).rglob("__init__.py")
    }


def room_of(names: list[str]) -> str:
    """Return the room in which something lies that is imported by these names: the deepest folder on the way."""
    known, found = rooms(), ""
    for length in range(1, len(names) + 1):
        if ".".join(names[:length]) in known:
            found = ".".join(names[:length])
    return found or names[0]


def imported_from_est(path: Path) -> set[str]:
    """Return the rooms that a module imports from, however it writes it."""
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
        found |= {room_of(name.split(".")[1:]) for name in names if name.startswith("est.")}
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_down(room):
    allowed = MAY_IMPORT[room] | FREE | {room}
    below = {
        name for name in rooms() if name.startswith(f"{room}.") or not room
    }  # a package's face names what its folders hold
    for path in modules(room):
        wrong = imported_from_est(path) - allowed - (below if path.name == "__init__.py" else set())
        assert not wrong, f"{path.relative_to(ROOT)} imports from {wrong}"


# Fields that single models have: nothing outside of train/models may look at them. Words that others use too are left out.
COMMON = {"frames", "layers", "dim", "dropout", "position", "heads", "name", "hidden"}
ALL_OF_MODELS = {item.name for name in MODELS for item in fields(config_class(name))}
OF_MODELS = {item.name for name in MODELS for item in fields(config_class(name))} - COMMON | {
    "weight_of_order",
    "order_head",
}


def known_of_models(text: str) -> set[str]:
    """Return what a module knows of single models: imports from their folders or of what they offer, and their fields."""
    found = set()
    folder = re.compile(rf"models\.({'|'.join(map(folder_of, MODELS))})\b")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
            faces = (node.module or "").rpartition(".")[2] in ("models", "train")
            found |= {name for name in names if folder.search(name)}
            found |= {alias.name for alias in node.names if faces and alias.name in offered_by_models()}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if folder.search(alias.name)}
        elif (
            isinstance(node, ast.Constant) and node.value in OF_MODELS | {"orders"} and not isinstance(node.value, bool)
        ):
            found.add(node.value)
        elif isinstance(node, ast.Attribute) and is_of_a_model(node):
            found.add(node.attr)
        elif isinstance(node, ast.Attribute) and node.attr in OF_MODELS:
            is_samplers = isinstance(node.value, ast.Name) and node.value.id in (
                "sampler",
                "self",
            )  # it has snippets, too
            found |= set() if is_samplers and node.attr == "snippets" else {node.attr}
    return found


def is_of_a_model(node: ast.Attribute) -> bool:
    """Say whether it is a class of a model, or a field of something's `model`, or of that one's `config`."""
    if node.attr in offered_by_models() and node.attr[0].isupper():
        return True
    owner = node.value
    if isinstance(owner, ast.Attribute) and owner.attr == "config":
        owner = owner.value
    return node.attr in ALL_OF_MODELS and isinstance(owner, ast.Attribute) and owner.attr == "model"


@functools.cache
def offered_by_models() -> set[str]:
    """Return the names that the face of train/models takes from the folders of models."""
    tree = ast.parse((ROOT / "train" / "models" / "__init__.py").read_text(encoding="utf-8"))
    homes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1]
    return {alias.asname or alias.name for node in homes if node.module.split(".")[0] in MODELS for alias in node.names}


def test_nothing_outside_knows_a_model():
    """Nor do the modules that lie beside the folders of models."""
    for room in MAY_IMPORT:
        if room.startswith("train.models.") or room == "sweep.reproduce.tables":  # the tables of one model's paper
            continue
        for path in modules(room):
            place = path.relative_to(ROOT).as_posix()
            found = known_of_models(path.read_text(encoding="utf-8"))
            assert not found or place in ("train/__init__.py", "train/models/__init__.py"), f"{place} knows {found}"


@pytest.mark.parametrize(
    "planted",
    [
        "from .models.est.config import Config",
        "from ..train.models import EST",
        "from ..train.models.gru import model",
        "from est.train.models import est",
        "from est.train import EstConfig",
        "import est.train.models.est.config",
        "x = config.model.orders",
        "x = config.model.snippets",
        "if model.config.ssop: pass",
        "x = config.model.bidirectional",
        "x = config.model.heads",
        "x = self.model.config.position",
        "x = getattr(config.model, 'ssop')",
        "x = run.facts['orders']",
        "x = models.EST",
    ],
)
def test_planted_knowledge_of_a_model_is_seen(planted):
    assert known_of_models(planted)


def test_every_room_is_in_the_table():
    assert rooms() | {""} == set(MAY_IMPORT)


def test_the_import_reader_sees_every_form():
    sample = ROOT / "extract" / "sample.py"
    forms = {
        "from ..train import x": {"train"},
        "from .. import train": {"train"},
        "import est.train.loop.trainer": {"train.loop"},
        "from est.train.loop.trainer import fit": {"train.loop"},
        "from est.train import loop": {"train.loop"},
        "from .video.source import x": {"extract.video"},
        "from .config import x": {"extract"},
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
    knowing = {"pipeline.py", "report.py"}  # the pipeline knows the stages, and its report reads runs
    for path in modules("demo"):
        if path.name not in knowing:
            assert not imported_from_est(path) - FREE - {"demo", "cache"}, path.name
            assert set(re.findall(r"^from \.\.cache(.*) import", path.read_text(), re.MULTILINE)) <= {
                ".processes",
                ".watch",
            }, path.name


def test_inside_the_package_imports_are_relative():
    for room in MAY_IMPORT:
        for path in modules(room):
            absolute = re.findall(r"^\s*(?:from|import) est\b.*", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert not absolute, f"{path.relative_to(ROOT)}: {absolute}"


@pytest.mark.parametrize("package", ["cache", "inputs", "crops", "report", "train.config", "train.results"])
def test_it_works_without_torch(package):
    script = f"import sys, pkgutil, importlib, est.{package}\n"
    script += (
        f"for m in pkgutil.walk_packages(est.{package}.__path__, 'est.{package}.'): importlib.import_module(m.name)\n"
    )
    script += "print(sorted(m for m in sys.modules if m.split('.')[0] in ('torch', 'onnxruntime')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("call", [["--help"], ["demo", "--help"], ["demo", "render", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(call):
    script = f"import sys\nsys.argv = ['est', *{call!r}]\nfrom est.cli import main\n"
    script += "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
    script += f"print(sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_workers_take_only_a_leaf_of_the_stage_above_them():
    for path in modules("extract.workers"):
        found = set(re.findall(r"^from \.\.(\w+) import", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert found <= {"config", "faces", "flow", "video"}, path.name


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
    assert {path.name for path in ROOT.glob("*.py")} == {
        "__init__.py",
        "__main__.py",
        "cli.py",
        "errors.py",
        "packages.py",
    }
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_no_module_outgrows_its_noun():
    for folder in (*PACKAGES, "tests", "benchmarks", "docs"):
        for path in (*ROOT.glob("*.py"), *(ROOT / folder).rglob("*.py")):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines"


LARGE = {"demo", "inputs.published"}  # folders of many small things of one kind


def test_folders_are_short_enough_to_read():
    large = {room for room in MAY_IMPORT if len([path for path in modules(room) if path.name != "__init__.py"]) > 15}
    assert large == LARGE


def test_no_catch_all_modules():
    names = {path.stem for room in MAY_IMPORT for path in modules(room)}
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
