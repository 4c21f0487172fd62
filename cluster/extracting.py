"""One shard: the inputs that the manifest names become a cache of their own. Run again it resumes."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from ..cache.watch import Watch
from ..extract.extraction import extract_videos
from .computing import agreed
from .manifest import ExtractManifest
from .place import Place
from .state import Ended


def extract_shard(place: Place, manifest: ExtractManifest, number: int, workers: int | None, watch: Watch) -> Ended:
    """Extract a shard; failures are kept where no clip is, because the other shards have some."""
    with contextlib.chdir(manifest.folder):
        config = replace(manifest.config, workers=workers or manifest.config.workers)
        config = agreed(place, number, config)
        found = manifest.found(place, number)
        report = extract_videos(found, place.shard(number), config, keep_empty=True, watch=watch)
    for failure in report.failures:
        watch.warn(f"failed {failure.id}: {failure.stage}: {failure.error}")
    failed = len(report.failures)
    result = {"clips": report.clips + report.unchanged, "frames": report.frames, "failures": failed}
    return Ended(left=report.left, signal=report.signal, failed=failed, result=result)
