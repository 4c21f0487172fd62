"""The bill of materials of a release, as CycloneDX JSON, and the known vulnerabilities of what it lists: `make sbom`.

    python docs/make_sbom.py --out sbom.json
    python docs/make_sbom.py --advisories all.zip      # of osv.dev, downloaded before: nothing here asks a network
    python docs/make_sbom.py --advisories vulns/       # of a clone of pypa/advisory-database

Components are the packages of constraints.txt, with the licence and the dependencies that their metadata state here, and the weights that
are shipped. The same environment gives the same file: it holds no time and no random number. Advisories are in the format of OSV, as
JSON or YAML files in a folder or a zip. The exit status is 1 if one of them is about a listed version, and 2 if they cannot be read, or
if there are none.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import json
import re
import sys
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = uuid.UUID("8d0d3a5e-7a7b-5d5c-9d3e-0b6d9d5f5a11")  # of serial numbers, which follow from the content
WEIGHTS = ("encoders/weights/*.safetensors", "extract/faces/*.safetensors")
ECOSYSTEM = "PyPI"
JSON, YAML = (".json",), (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class Package:
    """A line of constraints.txt."""

    name: str
    version: str
    marker: str = ""  # of the environments that need it; empty: all

    @property
    def purl(self) -> str:
        """Name it as other tools do."""
        return f"pkg:pypi/{canonicalize_name(self.name)}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An advisory about a listed version."""

    package: Package
    id: str
    summary: str
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        fixed = f"; fixed in {', '.join(self.fixed)}" if self.fixed else "; no version is said to fix it"
        return f"{self.package.name} {self.package.version}: {self.id} {self.summary}{fixed}"


def read_constraints(text: str) -> list[Package]:
    """Return the packages of constraints.txt."""
    found = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            one = Requirement(line)
            (pin,) = one.specifier
            found.append(Package(name=one.name, version=pin.version, marker=str(one.marker or "")))
    return found


def bill_of(packages: Sequence[Package]) -> dict[str, Any]:
    """Return the bill of materials."""
    own = _own_version()
    listed = _by_name(packages)

    def needed(name: str) -> list[str]:
        return sorted(one.purl for needs in _needs(name) for one in listed.get(needs, ()))

    components = [_component(one) for one in packages] + [_weights(path) for path in _shipped()]
    bill: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component(own, licence="MIT", kind="application")},
        "components": sorted(components, key=lambda one: one["bom-ref"]),
        "dependencies": [{"ref": one.purl, "dependsOn": needed(one.name)} for one in (own, *packages)],
    }
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMESPACE, json.dumps(bill, sort_keys=True))}"
    return bill


def find_vulnerable(packages: Sequence[Package], advisories: Iterator[Mapping[str, Any]]) -> tuple[int, list[Finding]]:
    """Return how many advisories were read, and what they say of listed versions."""
    listed = _by_name(packages)
    count, found = 0, []
    for advisory in advisories:
        count += 1
        if "withdrawn" in advisory:
            continue
        for affected in advisory.get("affected", ()):
            about = affected.get("package", {})
            if about.get("ecosystem") != ECOSYSTEM:
                continue
            found += [
                Finding(package=one, id=advisory["id"], summary=_line(advisory), fixed=_fixed(affected))
                for one in listed.get(canonicalize_name(about["name"]), ())
                if _is_affected(one.version, affected)
            ]
    return count, list(dict.fromkeys(found))


def read_advisories(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the advisories of a file, a folder or a zip; nothing of a zip is extracted to the disk."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.name.endswith((*JSON, *YAML)):
                yield _parse(file.name, file.read_bytes())
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith((*JSON, *YAML)):
                    yield _parse(name, archive.read(name))
    else:
        yield _parse(path.name, path.read_bytes())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the bill, and name what is vulnerable."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt")
    reader.add_argument("--out", type=Path, default=None, help="where the bill is written")
    reader.add_argument(
        "--advisories", type=Path, default=None, help="a file, a folder or a zip of advisories in the format of OSV"
    )
    asked = reader.parse_args(arguments)
    packages = read_constraints(asked.constraints.read_text(encoding="utf-8"))
    if asked.out is not None:
        bill = bill_of(packages)
        asked.out.write_text(json.dumps(bill, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        unknown = sum("licenses" not in one for one in bill["components"])
        print(
            f"{asked.out}: {len(bill['components'])} components, {unknown} of unknown licence (not installed here, or not stated)"
        )
    if asked.advisories is None:
        return 0
    try:
        count, found = find_vulnerable(packages, read_advisories(asked.advisories))
        if not count:
            raise ValueError(f"no file ends in {', '.join((*JSON, *YAML))}")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        print(
            f"{asked.advisories} cannot be read as advisories of OSV: {error}.\n"
            "try: PyPI/all.zip of osv.dev, or the folder vulns of pypa/advisory-database",
            file=sys.stderr,
        )
        return 2
    print(f"{len(packages)} packages, {count} advisories read, {len(found)} about a listed version")
    for one in found:
        print(one)
    return 1 if found else 0


def _by_name(packages: Sequence[Package]) -> dict[str, list[Package]]:
    """Return packages by their names as indexes write them; two versions of one are for different environments."""
    found: dict[str, list[Package]] = {}
    for one in packages:
        found.setdefault(canonicalize_name(one.name), []).append(one)
    return found


def _component(package: Package, *, licence: str = "", kind: str = "library") -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": kind,
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
    }
    if licence := licence or _licence(package.name):
        is_expression = re.fullmatch(r"[A-Za-z0-9.+() -]+", licence) and " OR " not in licence and len(licence) < 40
        found["licenses"] = [{"license": {"name": licence}}] if not is_expression else [{"expression": licence}]
    if package.marker:
        found["properties"] = [{"name": "est:marker", "value": package.marker}]
    return found


def _weights(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "type": "machine-learning-model",
        "bom-ref": f"file:{path.relative_to(ROOT).as_posix()}",
        "name": path.relative_to(ROOT).as_posix(),
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "licenses": [{"expression": "MIT"}],
    }


def _shipped() -> list[Path]:
    return sorted(path for pattern in WEIGHTS for path in ROOT.glob(pattern))


def _own_version() -> Package:
    body = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8")).body
    version = next(
        ast.literal_eval(one.value)
        for one in body
        if isinstance(one, ast.Assign) and "__version__" in ast.unparse(one.targets[0])
    )
    return Package(name="est-fer", version=version)


def _licence(name: str) -> str:
    """Return what a package's metadata say of its licence; empty where it is not installed or says nothing in a line."""
    try:
        told = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
    classifiers = [
        one.rpartition(" :: ")[2] for one in told.get_all("Classifier") or () if one.startswith("License ::")
    ]
    found = told.get("License-Expression") or told.get("License") or ""
    return found if found and "\n" not in found and len(found) < 80 else ", ".join(classifiers)


def _needs(name: str) -> set[str]:
    """Return the packages that a package says it needs, those of its extras left out."""
    try:
        told = importlib.metadata.requires(name) or ()
    except importlib.metadata.PackageNotFoundError:
        return set()
    needs = (Requirement(text) for text in told)
    return {canonicalize_name(one.name) for one in needs if one.marker is None or "extra" not in str(one.marker)}


def _parse(name: str, content: bytes) -> Mapping[str, Any]:
    """Read an advisory; of YAML every value stays text, as 1.10 is a version and no number."""
    if not name.endswith(YAML):
        return json.loads(content)
    try:
        return yaml.load(content, yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is no YAML: {error}") from error


def _is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """Say whether a version is listed, in whichever spelling, or lies in one of the ranges."""
    if any(_is_same(version, one) for one in affected.get("versions", ())):
        return True
    return any(
        _is_within(Version(version), one["events"])
        for one in affected.get("ranges", ())
        if one.get("type") == "ECOSYSTEM"
    )


def _is_same(version: str, listed: str) -> bool:
    try:
        return Version(version) == Version(listed)
    except InvalidVersion:
        return version == listed


def _is_within(version: Version, events: Sequence[Mapping[str, str]]) -> bool:
    """Follow the events of a range in the order of their versions."""
    inside = False
    for event in sorted(events, key=lambda one: _version(next(iter(one.values())))):
        (kind, text), *_ = event.items()
        at = _version(text)
        if kind == "introduced" and version >= at:
            inside = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")


def _fixed(affected: Mapping[str, Any]) -> tuple[str, ...]:
    events = (event for one in affected.get("ranges", ()) if one.get("type") == "ECOSYSTEM" for event in one["events"])
    return tuple(dict.fromkeys(event["fixed"] for event in events if "fixed" in event))


def _line(advisory: Mapping[str, Any]) -> str:
    text = str(advisory.get("summary") or advisory.get("details") or "")
    return f"({', '.join(advisory['aliases'])}) {text}".strip()[:160] if advisory.get("aliases") else text[:160]


if __name__ == "__main__":
    sys.exit(main())
