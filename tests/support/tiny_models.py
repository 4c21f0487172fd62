"""Every model as small as it comes."""

from __future__ import annotations

from est.train.models.registry import model_config

TINY = {  # of each model, as small as it comes
    "est": {"dim": 16, "heads": 2, "ffn": 32, "layers": 1, "order_hidden": 32},
    "transformer": {"dim": 16, "heads": 2, "ffn": 32, "layers": 1},
    "gru": {"hidden": 8, "frames": 15},
    "lstm": {"hidden": 8, "frames": 15},
    "fan": {"most_frames": 30},
    "former-temporal": {"layers": 1, "heads": 2, "head_width": 8, "ffn": 32},
    "former-dfer": {
        "layers": 1,
        "heads": 2,
        "head_width": 8,
        "ffn": 32,
        "spatial_heads": 2,
        "spatial_head_width": 8,
        "spatial_ffn": 32,
    },
    "r3d18": {"channels": 2, "frames": 4},
    "slstt": {"hidden": 8, "layers": 2, "classifier_hidden": 8, "most_frames": 30},
    "stt": {"num_segments": 4, "dim": 16, "heads": 2, "ffn": 32, "layers": 2},
    "msstnet": {"num_segments": 4, "dim": 16, "heads": 2, "ffn": 32},
    "window-head": {
        "num_kinds": 2,
        "num_places": 16,
        "embed_width": 16,
        "mlp_width": 16,
        "stem_layers": 1,
        "att_heads": 2,
        "norm_groups": 4,
    },
    "clip-temporal": {"num_segments": 4, "dim": 16, "heads": 2, "ffn": 32},
    "pooled": {"most_frames": 30},
}
ORDER_BLIND = {"fan", "pooled"}


def tiny(name, **settings):
    return model_config(name, **{**TINY[name], **settings})
