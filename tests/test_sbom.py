"""The bill of materials, and vulnerable versions by advisories that somebody has downloaded."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONSTRAINTS = "drawn-things==1.4.2\nOther.Thing==2.0 ; python_full_version < '3.12'\n"


@pytest.fixture(scope="module")
def sbom():
    spec = importlib.util.spec_from_file_location("make_sbom", ROOT / "docs" / "make_sbom.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "make_sbom", module)  # its data classes look there for their types
        spec.loader.exec_module(module)
    return module


def test_it_lists_every_package_and_the_shipped_weights(sbom, tmp_path, capsys):
    assert sbom.main(["--out", str(tmp_path / "one.json")]) == 0
    assert "components" in capsys.readouterr().out
    bill = json.loads((tmp_path / "one.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"], bill["metadata"]["component"]["name"]) == (
        "CycloneDX",
        "1.6",
        "est-fer",
    )
    lines = [
        line.split(" ")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
    ]
    names = {f"{one['name']}=={one['version']}" for one in bill["components"] if one["type"] == "library"}
    assert set(lines) == names
    assert {one["name"] for one in bill["components"] if one["type"] != "library"} == {
        "encoders/weights/synface.safetensors", "extract/faces/looks.safetensors",
    }  # fmt: skip
    refs = [one["bom-ref"] for one in bill["components"]]
    assert len(refs) == len(set(refs))
    known = {*refs, bill["metadata"]["component"]["bom-ref"]}
    assert all({one["ref"], *one["dependsOn"]} <= known for one in bill["dependencies"])
    numpy = next(one for one in bill["components"] if one["name"] == "numpy")
    assert "BSD" in json.dumps(numpy["licenses"])
    sbom.main(["--out", str(tmp_path / "two.json")])
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def advisory(name="Drawn.Things", *, events=None, versions=(), **more):
    affected = {"package": {"ecosystem": "PyPI", "name": name}, "versions": list(versions)}
    if events is not None:
        affected["ranges"] = [{"type": "ECOSYSTEM", "events": events}, {"type": "GIT", "events": [{"introduced": "0"}]}]
    return {"id": "MADE-UP-1", "summary": "of a test", "affected": [affected], **more}


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (advisory(events=[{"introduced": "0"}, {"fixed": "1.4.3"}]), 1),
        (advisory(events=[{"introduced": "0"}, {"fixed": "1.4.2"}]), 0),
        (advisory(events=[{"introduced": "1.4.3"}]), 0),
        (advisory(events=[{"introduced": "0"}, {"last_affected": "1.4.2"}]), 1),
        (advisory(events=[{"introduced": "0"}, {"last_affected": "1.4.1"}]), 0),
        (advisory(events=[{"fixed": "1.10"}, {"introduced": "1.3"}, {"fixed": "1.2"}, {"introduced": "0"}]), 1),
        (advisory(versions=["1.4.2"]), 1),
        (advisory(versions=["1.4.20"]), 0),
        (advisory(versions=["1.4.2.0"]), 1),
        (advisory(versions=["some old one", "v1.4.2"]), 1),
        (advisory("another", events=[{"introduced": "0"}]), 0),
        (advisory(events=[{"introduced": "0"}], withdrawn="2026-01-01T00:00:00Z"), 0),
    ],
)
def test_which_versions_an_advisory_is_about(sbom, told, found):
    assert [one.id for one in sbom.find_vulnerable(sbom.read_constraints(CONSTRAINTS), iter([told]))[1]] == [
        "MADE-UP-1"
    ] * found


def test_advisories_are_read_from_files_folders_and_zips(sbom, tmp_path, capsys):
    (tmp_path / "constraints.txt").write_text(CONSTRAINTS)
    bad, good = (
        advisory(events=[{"introduced": "0"}, {"fixed": "1.5"}]),
        advisory("another", events=[{"introduced": "0"}]),
    )
    (tmp_path / "all").mkdir()
    for number, one in enumerate((bad, good)):
        (tmp_path / "all" / f"{number}.json").write_text(json.dumps(one))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("../0.json", json.dumps(bad))
        archive.writestr("1.json", json.dumps(good))
    for name, count in (("all", 2), ("all.zip", 2), ("all/0.json", 1)):
        status = sbom.main(["--constraints", str(tmp_path / "constraints.txt"), "--advisories", str(tmp_path / name)])
        out = capsys.readouterr().out
        assert status == 1
        assert f"2 packages, {count} advisories read, 1 about a listed version" in out
        assert "drawn-things 1.4.2: MADE-UP-1 of a test; fixed in 1.5" in out
    assert not (tmp_path.parent / "0.json").exists()
    (tmp_path / "all" / "0.json").unlink()
    assert sbom.main(["--constraints", str(tmp_path / "constraints.txt"), "--advisories", str(tmp_path / "all")]) == 0
    (tmp_path / "all" / "1.json").write_text('{"affected": 1}')
    assert sbom.main(["--constraints", str(tmp_path / "constraints.txt"), "--advisories", str(tmp_path / "all")]) == 2
    assert "osv.dev" in capsys.readouterr().err


WRITTEN = """\
id: MADE-UP-2
details: A version
  of a test.
affected:
- package:
    name: drawn-things
    ecosystem: PyPI
  ranges:
  - type: ECOSYSTEM
    events:
    - introduced: "0"
    - fixed: 1.10
  versions:
  - 1.9
aliases:
- MADE-UP-3
modified: 2026-01-01T00:00:00Z
"""


def test_advisories_are_read_from_yaml(sbom, tmp_path, capsys):
    """As pypa/advisory-database has them; 1.10 is no number."""
    (tmp_path / "constraints.txt").write_text(CONSTRAINTS)
    (tmp_path / "vulns" / "drawn-things").mkdir(parents=True)
    words = ["--constraints", str(tmp_path / "constraints.txt"), "--advisories", str(tmp_path / "vulns")]
    assert sbom.main(words) == 2
    assert "no file ends in .json, .yaml, .yml" in capsys.readouterr().err
    (tmp_path / "vulns" / "drawn-things" / "MADE-UP-2.yaml").write_text(WRITTEN)
    assert sbom.main(words) == 1
    assert "drawn-things 1.4.2: MADE-UP-2 (MADE-UP-3) A version of a test.; fixed in 1.10" in capsys.readouterr().out
    (tmp_path / "vulns" / "drawn-things" / "MADE-UP-4.yml").write_text("affected: [")
    assert sbom.main(words) == 2
    assert "MADE-UP-4.yml is no YAML" in capsys.readouterr().err
