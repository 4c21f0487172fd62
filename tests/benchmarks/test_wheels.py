"""The folder of wheels for a machine without a package index: which of them are taken, and that they are enough."""

from __future__ import annotations

import importlib
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def wheels(monkeypatch):
    """The module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "gpu")
    monkeypatch.delitem(sys.modules, "wheels", raising=False)
    yield importlib.import_module("wheels")
    sys.modules.pop("wheels")


def make_wheel(folder, name, version="1.0", module=None, tag="py3-none-any", needs=""):
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{module or name}/__init__.py", f"VERSION = {version!r}\n")
        file.writestr(f"{name}.libs/x.so", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        file.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n")
        file.writestr(f"{info}/RECORD", "")
    return path


def test_only_what_is_missing_or_too_old_is_taken(wheels, tmp_path, monkeypatch):
    absent = make_wheel(tmp_path, "no_such_thing")
    make_wheel(tmp_path, "numpy")
    assert wheels.top_level(absent) == ["no_such_thing"]
    assert wheels.lacking_wheels(tmp_path, sys.executable) == [absent]
    monkeypatch.setattr(wheels, "minimum_versions", lambda _: {"numpy": "999.0"})
    assert [path.name for path in wheels.lacking_wheels(tmp_path, sys.executable)] == [
        "no_such_thing-1.0-py3-none-any.whl",
        "numpy-1.0-py3-none-any.whl",
    ]


def test_what_a_wheel_needs_at_least_counts_too(wheels, tmp_path):
    needs = "Requires-Dist: numpy (>=998.1)\nRequires-Dist: rich>=999.0\nRequires-Dist: xxhash >=9999; extra == 'x'\n"
    wheel = make_wheel(tmp_path, "no_such_thing", needs=needs)
    least = wheels.minimum_versions([wheel])
    assert (least["numpy"], least["rich"]) == ("998.1", "999.0")
    assert least["xxhash"] == wheels.minimum_versions()["xxhash"]


def test_what_the_wheels_need_and_nobody_has_is_named(wheels, tmp_path):
    needs = "Requires-Dist: other_thing>=2\nRequires-Dist: numpy\nRequires-Dist: colorama; sys_platform == 'win32'\n"
    made = [make_wheel(tmp_path, "no_such_thing", needs=needs)]
    assert wheels.unmet_by(made, "3.12") == {"other-thing"}
    assert wheels.unmet_by([*made, make_wheel(tmp_path, "other_thing")], "3.12") == set()


@pytest.mark.slow
def test_a_wheel_of_another_python_keeps_no_other_out(wheels, tmp_path):
    good = make_wheel(tmp_path, "no_such_thing")
    other = make_wheel(tmp_path, "another", tag="cp27-cp27m-manylinux1_x86_64")
    taken, refused = wheels.install([other, good], tmp_path / "packages", sys.executable)
    assert taken == [good.name]
    assert [line.split(":")[0] for line in refused] == [other.name]
    assert (tmp_path / "packages" / "no_such_thing" / "__init__.py").exists()


def test_versions_are_those_of_the_constraints_for_that_python(wheels):
    assert wheels.pins("3.11")["zarr"] != wheels.pins("3.12")["zarr"]
    assert all(name in wheels.pins("3.12") for name in wheels.WANTED)


def test_what_is_needed_and_missing_is_named(wheels, tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "NEEDED", ("json", "no_such_thing"))
    assert wheels.lacking_modules(sys.executable, tmp_path) == ["no_such_thing"]
