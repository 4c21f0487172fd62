"""How refusals to go on say what differs: a sentence of one setting, a table of several."""

from __future__ import annotations

import re


def differs(name: str, here: object, asked: object) -> str:
    """Return the pattern that finds a setting, what there is and what was asked for, in either form; words are taken literally."""
    name, here, asked = (re.escape(str(one)) for one in (name, here, asked))
    return rf"has {name} {here}, you asked for {asked}\.|\n  {name} +{here} +{asked}(\n|$)"
