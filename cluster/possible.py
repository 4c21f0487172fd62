"""What is refused of an extraction before it is submitted: by the same checks, and in the same words, as in one process.

Weights are loaded once: a hundred jobs that begin together would each download what is missing. The device is that of the jobs, and is not
looked for here.
"""

from __future__ import annotations

from ..cache.watch import Watch
from ..encoders.weights import load_weights
from ..errors import UsageError
from ..extract.config import ExtractConfig
from ..extract.faces.detect import expect_detector
from ..extract.modality import modality_of
from ..extract.planning.output import expect_out
from ..extract.planning.preparation import describe, expect_features
from ..extract.video.source import expect_decoder
from ..inputs.input import FoundInputs
from .merging import is_in_place
from .place import Place


def expect_possible(place: Place, found: FoundInputs, config: ExtractConfig, watch: Watch) -> None:
    """Refuse what no shard could do, and a cache that was made otherwise."""
    expect_out(place.out)
    if place.out.exists() and not is_in_place(place):
        raise UsageError(
            f"{place.out} exists already, and shards become a new cache.",
            remedy=f"est extract … --out {place.out} adds to it; or another --out",
        )
    for line in modality_of(config).expect_inputs(found.inputs):
        watch.warn(line)
    expect_decoder(config.decoder)
    expect_features(config)
    expect_detector(config.detector, score_threshold=config.score_threshold, models_dir=config.models_dir)
    if config.encoded:
        weights = load_weights(config.weights, normalize=config.normalize, models_dir=config.models_dir)
        for tap in config.encoded:
            weights.backbone.shape_of(tap, config.size)
        for line in describe(weights):
            watch.say(line)
