"""`extract_on_ray`: one extraction on the machines of a cluster of Ray."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache.interrupt import listening
from ...cache.watch import Watch
from ...errors import EstError
from ...extract.config import ExtractConfig
from ...extract.report import Report
from ...extract.workers.clip_worker import STOPPING
from ...inputs.input import FoundInputs
from ...inputs.pathrule import NONE
from .connection import connected, nodes_of
from .crew import why_died
from .package import import_ray
from .sizes import sizes_for
from .writer import Writer

if TYPE_CHECKING:
    from ...inputs.tablelist import Given

STEP = 0.25  # seconds between two looks at the work


def extract_on_ray(
    inputs: Given | FoundInputs,
    out: Path | str,
    config: ExtractConfig | None = None,
    *,
    address: str = "auto",
    actors: int | None = None,
    num_gpus: float | None = None,
    labels: str = NONE,
    subjects: str = NONE,
    retry_failed: bool = False,
    watch: Watch | None = None,
) -> Report:
    """Extract as `extract_videos` does, on the machines of a cluster; the same call resumes, after the death of any process or node.

    `address` is "auto" for the cluster that this machine belongs to, HOST:PORT, ray://HOST:PORT, or "local", which starts one here. Each of
    `actors` decodes with `config.workers` processes and encodes on `num_gpus` of a GPU; by default they fill the cluster. Every node has
    to see the videos under the same paths, and the node of this process the cache.
    """
    ray = import_ray()
    config, watch = config or ExtractConfig(), watch or Watch()
    options = {"labels": labels, "subjects": subjects, "retry_failed": retry_failed}
    with connected(ray, address):
        sizes = sizes_for(nodes_of(ray), device=config.device, actors=actors, num_gpus=num_gpus, workers=config.workers)
        watch.say(sizes.line())
        return _followed(ray, (inputs, Path(out), config, sizes, options), watch)


def _followed(ray: Any, work: tuple[Any, ...], watch: Watch) -> Report:
    """Start the writer here, hand on its news, and return its report; the first signal stops it in order, the second at once."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    kind = ray.remote(num_cpus=0, max_concurrency=3, scheduling_strategy=here)(Writer)
    writer = kind.remote(Path.cwd())
    try:
        with listening(STOPPING, patient=False) as stop:
            report, is_told = writer.run.remote(*work), False
            while not ray.wait([report], timeout=STEP)[0]:
                _tell(ray, writer, watch)
                if stop.wanted and not is_told:
                    writer.stop.remote(stop.signal)
                    is_told = True
            result = ray.get(report)
            _tell(ray, writer, watch)
            return result
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, EstError):
            raise error.cause from None
        raise
    except ray.exceptions.RayActorError as error:
        raise EstError(
            f"The actor that writes the cache died: {why_died(error)}",
            remedy="the same command resumes: what was committed is kept",
        ) from error
    finally:
        ray.kill(writer)


def _tell(ray: Any, writer: Any, watch: Watch) -> None:
    """Hand on the news."""
    for method, what in ray.get(writer.news.remote()):
        getattr(watch, method)(what)
