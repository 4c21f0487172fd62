"""The source archive: it has every file of the repository, so that whoever unpacks it can run the tests and build the docs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MADE = {"PKG-INFO", "setup.cfg"}  # by the build, besides the folder est_fer.egg-info
TOOLS = ".browser/"  # of other people: `make browser` downloads them


@pytest.mark.slow
@pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="git lists the files, and an unpacked archive has no repository"
)
def test_the_source_archive_has_every_file(tmp_path):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = {name for name in listed.split("\0") if not name.startswith(TOOLS) and (ROOT / name).is_file()}
    export = tmp_path / "export"  # never the checkout: what is built there stays
    for name in files:
        (export / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, export / name)
    (export / "tests" / "made.pyc").touch()
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(export)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {one.name.partition("/")[2] for one in archive.getmembers() if one.isfile()}
    assert {name for name in names - MADE if ".egg-info/" not in name} == files
