"""What computes rows where that is left to the machine: the first shard that begins chooses, and all others take the same.

`--precision auto` would be bf16 on one machine and fp32 on another, and their shards could not be merged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from ..cache.stores.disk import Disk, writing
from ..encoders.device import parse_device
from ..encoders.engines.engine import EncoderPrecision, EngineName
from ..errors import quoted
from ..extract.begun import computation_for
from ..extract.config import ExtractConfig
from .place import Place, named, read_json, write_json
from .reading import expect_types, reading

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Computing:
    """What computes the rows of all shards."""

    precision: EncoderPrecision
    engine: EngineName


def agreed(place: Place, number: int, config: ExtractConfig) -> ExtractConfig:
    """Return settings in which precision and engine are those of the shard that began first."""
    if not config.encoded or "auto" not in (config.precision, config.engine):
        return config
    devices = [parse_device(text) for text in config.device.split(",")]

    def choose() -> Computing:
        chosen = computation_for(config, None, devices)
        return Computing(precision=chosen.precision, engine=chosen.engine)

    first = of_first(place, number, Computing, choose)
    if config.precision == "auto":
        config = replace(config, precision=first.precision)
    if config.engine == "auto" and computation_for(config, None, devices).engine != first.engine:
        config = replace(config, engine=first.engine)
    return config


def of_first(place: Place, number: int, kind: type[T], choose: Callable[[], T]) -> T:
    """Return what the part that began first has chosen: a dataclass of that kind."""
    if not place.computation.exists():
        _offer(place, number, choose())
    return read_computation(place, kind)


def read_computation(place: Place, kind: type[T]) -> T:
    """Read what the part that began first has chosen."""
    path = place.computation
    remedy = f"rm -r {quoted(path.parent)}, then est submit retry {quoted(place.out)}: the next part chooses again"
    with reading(path, remedy):
        known: dict[str, Any] = {**read_json(path, remedy=remedy)}
        return expect_types(kind(**known))


def _offer(place: Place, number: int, chosen: Any) -> None:
    """Write what a part has chosen, whole, where no other part was faster.

    A folder never takes the place of one that has a file in it, on any file system; hard links, which do the same for files, some have not.
    """
    path, disk = place.computation, Disk()
    own = path.parent.with_name(f"{path.parent.name}.{named(number)}")
    with writing(path):
        try:
            disk.remove(own)  # of an attempt that was killed
            own.mkdir()
            write_json(own / path.name, asdict(chosen))
            disk.rename(own, path.parent)
        except OSError:
            if not path.exists():  # else another part was faster, whatever a file system calls it
                raise
        finally:
            disk.remove(own)
