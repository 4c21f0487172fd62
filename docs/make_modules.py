"""Write docs/modules.md: every module of the package with the first sentence of its docstring.

`--check` compares instead of writing, and fails when the page is out of date.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).parent / "modules.md"
PACKAGES = (
    "cache",
    "inputs",
    "crops",
    "encoders",
    "extract",
    "train",
    "tune",
    "sweep",
    "infer",
    "report",
    "doctor",
    "demo",
    "recipes",
    "commands",
)
HEAD = """# Modules

What each module is for, in the first sentence of its docstring. This page is generated: `make docs` writes it again. Packages are
ordered by dependence, the most basic ones first.
"""


def main() -> None:
    """Write the page, or check it."""
    page = build()
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        sys.exit("docs/modules.md is out of date: python docs/make_modules.py")


def build() -> str:
    """Return the page."""
    folders = [path.parent for name in PACKAGES for path in sorted((ROOT / name).rglob("__init__.py"))]
    return "\n".join([HEAD, *map(section, folders)])


def section(folder: Path) -> str:
    """Return what one package holds."""
    name = "est." + ".".join(folder.relative_to(ROOT).parts)
    lines = [f"## {name}", "", sentence(folder / "__init__.py"), "", "| module | |", "|---|---|"]
    modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    lines += [f"| `{path.stem}` | {sentence(path)} |" for path in modules]
    return "\n".join(lines if modules else lines[:3]) + "\n"


def sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring, which may run over several lines."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split())
    end = first.find(". ")
    return (first if end < 0 else first[: end + 1]).replace("|", "\\|")


if __name__ == "__main__":
    main()
