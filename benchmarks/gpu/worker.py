"""The process in which the rows of a group are measured: it says on stdout which row it begins, and how it ended, a line of JSON each.

    python worker.py GROUP DEVICE SIZES WORK NAME...

What a row raises is its result, and the next one is measured. Everything else that is printed goes to stderr.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import time
import traceback
from pathlib import Path


def main() -> None:
    """Measure rows."""
    group, device, size, work, *names = sys.argv[1:]
    said = sys.stdout

    def say(**fields: object) -> None:
        print(json.dumps(fields), file=said, flush=True)

    with contextlib.redirect_stdout(sys.stderr):
        say(begin=names[0])  # importing counts, too
        sys.path.append(
            str(Path(__file__).resolve().parents[1])
        )  # last: coverage.py there is not the package of that name
        import sizes
        from measured import Context, LeftOut

        from est.encoders.device import parse_device

        measures = importlib.import_module(f"rows.{group}").MEASURES
        context = Context(device=parse_device(device), sizes=getattr(sizes, size), work=Path(work))
        for name in names:
            say(begin=name)
            start = time.perf_counter()
            try:
                found = measures[name](context)
                result = {"value": found.value, "text": found.text, "note": found.note}
            except LeftOut as reason:
                result = {"left_out": str(reason)}
            except BaseException as error:  # noqa: BLE001 (a row that fails is a row that says why)
                traceback.print_exc()
                result = {"failed": one_line(error)}
            say(end=name, seconds=round(time.perf_counter() - start, 1), **result)


def one_line(error: BaseException) -> str:
    """Say what was raised, in one line that is not long."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


if __name__ == "__main__":
    main()
