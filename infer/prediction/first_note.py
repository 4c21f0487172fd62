"""The note on consent and law that is shown once before predicting. A marker in the user's state folder says that it was told."""

from __future__ import annotations

import os
from pathlib import Path

MARKER = "predict-note-shown"
TEXT = (
    "Predict only people who agreed to it: labels are apparent expressions, not feelings, and the EU forbids "
    "inferring emotions at work and in education (AI Act, Art. 5(1)(f)). This is shown once; more in "
    "docs/responsible-use.md."
)


def state_folder() -> Path:
    """Return where this user's state of est is kept."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state") / "est"


def told_before() -> bool:
    """Return whether the note was shown before, and record that it is; if that cannot be recorded, the note is shown again."""
    marker = state_folder() / MARKER
    try:
        if marker.exists():
            return True
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    except (OSError, RuntimeError):  # no rights, or the home folder is unknown
        return False
    return False
