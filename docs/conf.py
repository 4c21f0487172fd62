"""Sphinx configuration: Markdown pages through MyST, the furo theme."""

project = "est"
author = "The est authors"
copyright = "2026, The est authors"

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "est"
html_static_path: list[str] = []
templates_path: list[str] = []
