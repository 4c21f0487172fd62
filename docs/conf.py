"""Sphinx configuration: Markdown pages through MyST, the furo theme."""

from pathlib import Path

project = "est"
author = "The est authors"
copyright = "2026, The est authors"

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "est"
html_search_scorer = str(Path(__file__).parent / "search_scorer.js")  # Sphinx opens it from the working directory
html_static_path: list[str] = []
templates_path: list[str] = []
