"""What numpy raises of an .npy or .npz file that is damaged or forged, in one place: every reader of arrays turns it into an error of est.

Nothing pickled is ever loaded: `np.load` refuses arrays of Python objects unless it is asked to unpickle, and nothing here asks.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib

UNREADABLE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    OverflowError,
    MemoryError,  # a head that promises more numbers than there is room for
    RuntimeError,  # an encrypted archive, a method of compression that Python does not know, or a head that is nested too deeply
    SyntaxError,
    SystemError,
    tokenize.TokenError,  # of a head that is not closed, which numpy reads as one of Python 2
    zipfile.BadZipFile,
    zlib.error,
)
