"""Labelled images as their releases lie on disks: one file a layout; `find_stills` recognises which it is.

Nothing is downloaded: the user has the copy, under its licence, which is shown.
"""

from .finder import LAYOUTS, find_stills

__all__ = ["LAYOUTS", "find_stills"]
