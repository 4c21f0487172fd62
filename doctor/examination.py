"""`examine`: all checks of `est doctor`, as one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import EstError
from .check import Check, Examination
from .libraries import check_libraries


def examine(
    *,
    folder: Path | str | None = None,
    device: str = "auto",
    weights: Sequence[str] = (),
    detectors: Sequence[str] = (),
    models_dir: Path | str | None = None,
    fetch: bool = False,
    source: str | None = None,
    speed: bool = False,
    hear: Callable[[str], None] = lambda name: None,
) -> Examination:
    """Check libraries, machine, codecs, weights and folders; `hear` is called with the name of the next check.

    Where libraries cannot be imported, only they are looked at: all else needs them.

    >>> found = est.examine_machine()
    >>> found.to_json()["healthy"] == (not found.problems)
    True
    """
    folder, models_dir = Path(folder or Path.cwd()), None if models_dir is None else Path(models_dir)
    hear("libraries")
    found = list(check_libraries())
    if any(check.state == "problem" for check in found):
        rest = "machine, codecs, weights and folders are checked once the libraries can be imported"
        note = Check(group="libraries", name="the rest", state="note", found=rest)
        return Examination(checks=(*found, note))
    from .codecs import check_codecs
    from .folders import check_folders
    from .machine import check_machine
    from .speed import check_speed
    from .weights import check_weights, expect_names

    expect_names(weights, detectors, fetch=fetch, source=source)
    looks: dict[str, Callable[[], Iterable[Check]]] = {
        "machine": lambda: check_machine(device),
        "codecs": check_codecs,
        "weights": lambda: check_weights(weights, detectors, models_dir=models_dir, fetch=fetch, source=source),
        "folders": lambda: check_folders(folder, models_dir),
    }
    if speed:
        looks["speed"] = lambda: check_speed(device)
    for name, look in looks.items():
        hear(name)
        try:
            found += look()
        except EstError as error:
            found.append(Check(group=name, name=name, state="problem", found=error.message, remedy=error.remedy or ""))
    return Examination(checks=tuple(found))
