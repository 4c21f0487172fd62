"""What a line that cannot be parsed is told: in the words of every other error, and with the option or the value that mends it.

The parser names neither: its words for a value that is none of a list are those of the library that checks types.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import UsageError, wrong_choice
from .caches.cachenames import with_cache_option

if TYPE_CHECKING:
    from typer.exceptions import TyperException

NO_NUMBER = re.compile(r"Input should be a valid (number|integer)\b.*")  # the parser's words
NUMBERS = {"number": "it takes a number.", "integer": "it takes a whole number."}
NO_CHOICE = re.compile(r"Invalid value for '(-[^']+)'.*?: Value error, (.+) is not one of ('[^']*'(?:, '[^']*')+)\.")
CHOICE = re.compile(r"'([^']*)'")


def usage_error(error: TyperException, arguments: Sequence[str]) -> UsageError:
    """Return the parser's error as one of ours."""
    context, message = getattr(error, "ctx", None), error.format_message()
    if found := NO_CHOICE.match(message):
        return wrong_choice(found[1], ast.literal_eval(found[2]), CHOICE.findall(found[3]))
    message = NO_NUMBER.sub(lambda found: NUMBERS[found[1]], message)
    remedy = f"{context.command_path} --help" if context else "est --help"
    return UsageError(message, remedy=with_cache_option(message, context, arguments) or remedy)
