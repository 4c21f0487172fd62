"""Whether the pictures of a folder are named like the frames of one clip: by numbers in otherwise equal names.

Frames are called `00001.jpg`, `frame_12.png`, `S005_001_00000011.png`, `img46.jpg`, with gaps and from any number on; a cover picture may
lie beside them. Pictures of different things mostly are not. Names are all that is looked at: frames that are face crops differ in size.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from ..cache.schema import MOMENTS


def is_sequence(names: Sequence[str]) -> bool:
    """Return whether most names differ in their numbers alone; a single picture is a sequence, and so are onset, apex and offset."""
    stems = [PurePath(name).stem.casefold() for name in names]
    if len(stems) < 2 or set(stems) <= set(MOMENTS):
        return True
    forms = Counter(re.sub(r"[0-9]+", "0", stem) for stem in stems if re.search("[0-9]", stem))
    return bool(forms) and 2 * max(forms.values()) >= len(stems)
