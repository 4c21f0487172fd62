"""The documentation is true: every command is in it and exists, links resolve, the changelog knows the version."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer

from est import __version__
from est.cli import app

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
# Command lines that are wrong on purpose: test_troubleshooting.py runs them.
WRONG = re.compile(r"```text\n\$ est .*?\nexit status [12]\n```", re.DOTALL)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def command_names() -> set[str]:
    """Return every command as it is typed, groups included."""

    def walk(node, path):
        yield " ".join(path)
        for name, child in getattr(node, "commands", {}).items():
            yield from walk(child, (*path, name))

    return set(walk(typer.main.get_command(app), ("est",)))


def test_every_command_is_documented():
    reference = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^## (est.*)$", reference, re.MULTILINE))
    assert documented == command_names()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_documented_command_and_option_exists(page):
    root = typer.main.get_command(app)
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    text = WRONG.sub("", text)
    code = "\n".join(re.findall(r"^ *```\w*\n(.*?)```", text, re.DOTALL | re.MULTILINE))
    calls = re.findall(r"^(?:\$ )?est ([a-z].*)$", code, re.MULTILINE) + re.findall(r"`est ([a-z][^`]*)`", text)
    for call in calls:
        words = call.split("#")[0].split()
        command = root
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert command is not root, f"{page.name}: est {call}"
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        options |= {"--help", "-h"}
        used = {word.split("=")[0] for word in words if word.startswith("-")}
        assert used <= options, f"{page.name}: est {call}"


def test_the_tree_is_the_disk():
    """A line a package on the first floor, no path twice; docs/modules.md, which is generated, has the folders and modules below."""
    tree = re.search(r"```text\nest/\n(.*?)```", CONTRIBUTING, re.DOTALL)
    assert tree, "CONTRIBUTING has no tree"
    lines = tree[1].splitlines()
    assert len(lines) <= 32
    listed, folder = [], []
    for line in lines:
        indent, names = re.match(r"( *)(\S+(?:  ?\S+\.py)*)", line).groups()
        for name in names.split():
            folder[len(indent) // 4 - 1 :] = [name]
            listed.append("".join(folder).rstrip("/"))
    assert len(set(listed)) == len(listed), "a path stands twice"
    missing = {path for path in listed if not (ROOT / path).exists()}
    assert not missing, f"in the tree, not on the disk: {missing}"
    packages = {
        str(path.parent.relative_to(ROOT))
        for path in ROOT.glob("*/__init__.py")
        if path.parts[len(ROOT.parts)][0] != "."
    }
    assert packages, "no package found"
    assert not packages - set(listed), f"on the disk, not in the tree: {packages - set(listed)}"


def test_links_between_pages_resolve():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} → {target}"


def test_the_changelog_has_the_version():
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="git lists the files, and an unpacked archive has no repository"
)
def test_the_docs_name_no_place_of_ours():
    """No package-registry hosts and no absolute paths of a machine, in any file."""
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org"]
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        path = ROOT / name
        if path.suffix in {".md", ".py", ".toml", ".txt", ".svg", ""} and path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not [host for host in hosts if host in text], name
            assert not re.search(r"/(?:home|root|Users)/\w+", text), name
