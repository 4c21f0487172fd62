"""What everybody is told once before predicting: consent, and law. A marker in the user's state folder says that it was told."""

from __future__ import annotations

import os
from pathlib import Path

MARKER = "predict-note-shown"
TEXT = (
    "Predict only people who agreed to it: labels are apparent expressions, not feelings, and the EU forbids inferring emotions at work "
    "and in education (AI Act, Art. 5(1)(f)). Once told; more in docs/responsible-use.md."
)


def state_folder() -> Path:
    """Return where this user's state of est is kept."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state") / "est"


def told_before() -> bool:
    """Say whether this user has been told, and from now on say yes; where nothing can be kept it is told again."""
    marker = state_folder() / MARKER
    try:
        if marker.exists():
            return True
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    except (OSError, RuntimeError):  # no rights, or the home folder is unknown
        return False
    return False
