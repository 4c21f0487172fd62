"""The top of the package: lazy, typed, documented by examples that run; docs/python.md and the notebook, which run in order."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from train_samples import learning_cache

import est

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
FUNCTIONS = [name for name in est.__all__ if name[0].islower()]
# Their examples are of the cache of numbers below: they train many times.
OF_NUMBERS = ("sweep_cache", "submit_sweep", "audit_cache", "reproduce")
SLOW = ("examine_machine", "submit_sweep", "recache", "tune_cache", "recache_tuned", "audit_cache", "reproduce")
HUB = ("push_cache", "pull_cache", "push_export", "push_weights")
STORES = ("upload_cache", "download_cache")
WITHOUT = (
    "extract_on_ray",
    "tune_stills",
    "find_stills",
    "read_space",
    *HUB,
    *STORES,
)  # they read what no example here has


@pytest.fixture(scope="module")
def path_gone(tmp_path_factory):
    """The folder that the blocks of docs/python.md leave, run in order; and the names that they define."""
    folder, names = tmp_path_factory.mktemp("python"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "docs/python.md", "exec"), names)
    return folder, names


def test_the_page_goes_the_whole_path(path_gone):
    folder, names = path_gone
    assert len(names["cache"]) == 4
    assert names["results"].scores.total == 4
    assert {"cache.zarr", "cache.html", "videos", "runs"} <= {path.name for path in folder.iterdir()}
    assert est.open_cache(folder / "cache.zarr").clips.fold.tolist() == [0, 0, 1, 1], "relabelled by a data frame"


def test_the_notebook_runs(path_gone, tmp_path, monkeypatch):
    """Its code cells, in one namespace, without Jupyter. Outputs are not committed: they would differ between machines."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(path_gone[0] / "videos", "videos")
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict = {}
    for cell in cells:
        assert cell["outputs"] == []
        exec(compile("".join(cell["source"]), f"docs/notebook.ipynb, {cell['id']}", "exec"), names)
    assert names["clips"]["id"].tolist() == path_gone[1]["cache"].clips.ids, "the clips of docs/python.md"
    assert names["tested"]["id"].nunique() == names["results"].scores.total == 4
    assert len(names["timeline"]) == names["predicted"].frames
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", json.dumps(notebook))
    assert pictures, "the notebook shows a picture"
    assert all(Path(name).is_file() for name in pictures)


def examples(name: str) -> doctest.DocTest:
    """Return the examples in a docstring."""
    found = doctest.DocTestParser().get_doctest(
        inspect.getdoc(getattr(est, name)), {"est": est}, name, filename=None, lineno=0
    )
    assert found.examples, f"est.{name} has no example"
    return found


def failures(name: str) -> str:
    """Run the examples of a function, and return what fails."""
    told = []
    doctest.DocTestRunner(verbose=False).run(examples(name), out=told.append)
    return "".join(told)


def marked(names: Iterable[str]) -> list:
    """Return parameters, those of slow examples marked."""
    return [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in names]


@pytest.mark.parametrize("name", marked(name for name in FUNCTIONS if name not in (*OF_NUMBERS, *WITHOUT)))
def test_examples_of_the_path_run(name, path_gone, monkeypatch):
    monkeypatch.chdir(path_gone[0])
    assert failures(name) == ""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A folder with a cache of numbers, of twelve people."""
    folder = tmp_path_factory.mktemp("numbers")
    learning_cache(folder / "cache.zarr", clips=90, subjects=12)
    return folder


@pytest.mark.parametrize("name", marked(OF_NUMBERS))
def test_examples_of_many_trainings_run(name, numbers, monkeypatch):
    monkeypatch.chdir(numbers)
    assert failures(name) == ""


def test_every_function_says_what_it_does():
    """With an example where it can run here, and its arguments by their names."""
    for name in FUNCTIONS:
        text = inspect.getdoc(getattr(est, name))
        assert text, name
        assert (">>>" in text) == (name not in WITHOUT), name


def test_what_is_offered_is_listed_once():
    """`__all__` is written out for type checkers: the same names as the lazy imports, each of which is there."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = [
        alias.asname or alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert sorted(est.__all__) == sorted(imported)
    assert len(set(est.__all__)) == len(est.__all__)
    assert dir(est) == sorted(est.__all__)
    assert all(getattr(est, name) is not None for name in est.__all__)
    assert not {name for name in FUNCTIONS if f"`{name}`" not in PAGE} - {"train_config"}


def test_importing_it_imports_nothing():
    script = (
        "import sys, est; dir(est); print(sorted({name.split('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    )
    heavy = ["torch", "numpy", "pandas", "cv2", "zarr", "h5py", "onnxruntime", "typer", "rich"]
    done = subprocess.run([sys.executable, "-c", script, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_is_none_is_told_the_function():
    """est.extract and est.train are packages; in a fresh process, where nothing has imported them."""
    script = "import sys, est\nfor name in sys.argv[1:]:\n    try: getattr(est, name)\n    except AttributeError as error: print(error)"
    names = ["train", "extract", "doctor", "hub", "report", "evaluate", "evaluat_run", "cache", "nonsense", "_hidden"]
    done = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "est.train is a package (import est.train); the function is est.fit",
        "est.extract is a package (import est.extract); the function is est.extract_videos",
        "est.doctor is a package (import est.doctor); the function is est.examine_machine",
        "est.hub is a package (import est.hub); the function is est.push_cache and est.pull_cache",
        "est.report is a package (import est.report); the function is est.cache_page and est.run_page",
        "est has no 'evaluate'; the function is est.evaluate_run",
        "est has no 'evaluat_run'; the nearest is est.evaluate_run",
        "est.cache is a package (import est.cache)",
        "est has no 'nonsense'",
        "module 'est' has no attribute '_hidden'",
    ]
    assert all(hasattr(est, one) for function in est.FUNCTIONS.values() for one in function.split(" and est."))
