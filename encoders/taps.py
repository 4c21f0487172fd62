"""What a frame encoder gives besides its pooled features, by name. No torch."""

from __future__ import annotations

from ..errors import UsageError

STAGES = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}  # name → channels
PYRAMID = "pyramid4x4"  # the maps of all stages, pooled to 4 × 4, one behind the other
TAPS = ("gap", *STAGES, PYRAMID)
CLASS_TOKEN = "cls"  # of vision transformers: the class token before the final norm
MAPS = "layer3"  # the feature that the last stage of a backbone sees


def stages_of_pyramid(channels: int) -> tuple[int, ...]:
    """Divide the channels of `pyramid4x4` into those of the stages: each has twice as many as the one before, as in every ResNet."""
    shares = [width // STAGES["layer1"] for width in STAGES.values()]
    if channels % sum(shares):
        raise UsageError(
            f"{PYRAMID} has the channels of {len(STAGES)} stages, each with twice as many as the one before "
            f"(ResNet-18: {' + '.join(map(str, STAGES.values()))} = {sum(STAGES.values())}); found {channels}, which cannot be divided so.",
            remedy=f"est extract … --features {PYRAMID} with a ResNet-18",
        )
    return tuple(channels // sum(shares) * share for share in shares)
