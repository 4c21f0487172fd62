"""EST in float64 NumPy, written from the formulas: the independent reference of the model's tests. It knows arrays and their names.

B clips, n snippets, J frames, d width, h heads. All of it is evaluation: no dropout, batch norm by its running statistics.
"""

from __future__ import annotations

import numpy as np

OWN = {
    "attention": "snippets.attention",
    "norm": "snippets.norm",
    "transformer": "transformer",
    "query": "query",
    "positions": "position.table",
    "order": "order_head.layers.{}",
    "expression": ("expression_head.layers.0", "expression_head.layers.2", "expression_head.layers.5"),
}
OFFICIAL = {
    "attention": "attn",
    "norm": "norm1",
    "transformer": "transformer",
    "query": "query_embed.weight",
    "positions": "pos_enc.pos_enc.weight",
    "order": "per_branch.classifier.{}",
    "expression": ("classifier.0", "classifier.2", "classifier.5.0"),
}


def linear(a, name, x):
    return x @ a[f"{name}.weight"].T + a[f"{name}.bias"]


def relu(x):
    return np.where(x > 0, x, 0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(a, name, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * a[f"{name}.weight"] + a[f"{name}.bias"]


def batch_norm(a, name, x):
    scaled = (x - a[f"{name}.running_mean"]) / np.sqrt(a[f"{name}.running_var"] + 1e-5)
    return scaled * a[f"{name}.weight"] + a[f"{name}.bias"]


def attention(a, name, x, y, heads):
    """Eq. 1 with h heads: tokens x (S, d) attend to tokens y (K, d). Returns (S, d) and the weights (h, S, K)."""
    d = x.shape[-1]
    W, b = a[f"{name}.in_proj_weight"], a[f"{name}.in_proj_bias"]
    Q, K, V = x @ W[:d].T + b[:d], y @ W[d : 2 * d].T + b[d : 2 * d], y @ W[2 * d :].T + b[2 * d :]
    parts, rows = [], []
    for head in np.split(np.arange(d), heads):
        weights = softmax(Q[:, head] @ K[:, head].T / np.sqrt(d / heads))
        parts.append(weights @ V[:, head])
        rows.append(weights)
    return linear(a, f"{name}.out_proj", np.concatenate(parts, axis=1)), np.stack(rows)


def cosines(refined):
    """Eq. 2, without the clamp.  # (J, d) → (J,)"""
    general = refined.max(0)
    lengths = np.sqrt((refined**2).sum(1)) * np.sqrt((general**2).sum())
    return refined @ general / lengths


def snippet(a, names, frames, heads, kind):
    """One snippet's R, and α.  # (J, d) → (d,), (J,)"""
    if kind == "mean":
        return frames.mean(0), None
    refined = layer_norm(a, names["norm"], frames + attention(a, names["attention"], frames, frames, heads)[0])
    if kind == "self-attention":
        return refined.mean(0), None
    if kind == "se":
        gate = linear(a, "snippets.excite", relu(linear(a, "snippets.squeeze", refined.mean(0))))
        return (refined / (1 + np.exp(-gate))).mean(0), None
    alpha = np.maximum(cosines(refined), 1e-8)
    return (alpha[:, None] * refined).sum(0) / alpha.sum(), alpha


def feed(a, name, x):
    return linear(a, f"{name}.linear2", relu(linear(a, f"{name}.linear1", x)))


def transformer(a, name, tokens, query, heads):
    """Tokens with positions (n, d) and the query (1, d) → T (d,), and the last cross-attention (h, n)."""
    layers = 1 + max(int(key.split(".layers.")[1].split(".")[0]) for key in a if key.startswith(f"{name}.encoder.lay"))
    x = tokens
    for layer in (f"{name}.encoder.layers.{k}" for k in range(layers)):
        x = layer_norm(a, f"{layer}.norm1", x + attention(a, f"{layer}.self_attn", x, x, heads)[0])
        x = layer_norm(a, f"{layer}.norm2", x + feed(a, layer, x))
    memory = layer_norm(a, f"{name}.encoder.norm", x)
    x, weights = query, None
    for layer in (f"{name}.decoder.layers.{k}" for k in range(layers)):
        x = layer_norm(a, f"{layer}.norm1", x + attention(a, f"{layer}.self_attn", x, x, heads)[0])
        attended, weights = attention(a, f"{layer}.multihead_attn", x, memory, heads)
        x = layer_norm(a, f"{layer}.norm2", x + attended)
        x = layer_norm(a, f"{layer}.norm3", x + feed(a, layer, x))
    return layer_norm(a, f"{name}.decoder.norm", x)[0], weights[:, 0]


def order_head(a, name, x):
    x = relu(batch_norm(a, name.format(1), linear(a, name.format(0), x)))
    x = relu(batch_norm(a, name.format(4), linear(a, name.format(3), x)))
    return linear(a, name.format(6), x)


def est(
    arrays,
    features,
    order=None,
    *,
    names=OWN,
    position="snippet",
    aggregation="hierarchical",
    order_input="fused",
    heads=4,
):
    """Return expression (B, C), order (B, orders) or None, attention (B, h, n), alpha (B, n, J) or None.  # (B, n, J, D), (B, n)"""
    a = {key: np.asarray(value, np.float64) for key, value in arrays.items()}
    features = np.asarray(features, np.float64)
    if "scaling.mean" in a:
        features = (features - a["scaling.mean"]) / a["scaling.std"]
    if "projection.weight" in a:
        features = linear(a, "projection", features)
    found = {"expression": [], "order": [], "attention": [], "alpha": []}
    for b, clip in enumerate(features):
        n = len(clip)
        parts = [snippet(a, names, frames, heads, aggregation) for frames in clip]
        R = np.stack([part for part, _ in parts])
        places = range(n) if order is None or position == "slot" else order[b]
        tokens = np.stack([R[slot] + a[names["positions"]][place] for slot, place in enumerate(places)])
        T, weights = transformer(a, names["transformer"], tokens, a[names["query"]], heads)
        first, second, third = names["expression"]
        found["expression"].append(linear(a, third, relu(linear(a, second, relu(linear(a, first, T))))))
        found["attention"].append(weights)
        found["alpha"].append([alpha for _, alpha in parts])
        if f"{names['order'].format(0)}.weight" in a:
            O = {"fused": R + T, "query": np.stack([T] * n), "snippets": R}[order_input]  # noqa: E741
            found["order"].append(order_head(a, names["order"], O.reshape(-1)))
    return (
        np.stack(found["expression"]),
        np.stack(found["order"]) if found["order"] else None,
        np.stack(found["attention"]),
        np.asarray(found["alpha"], np.float64) if aggregation == "hierarchical" else None,
    )


def positions(n, d):
    """The table of sines and cosines, entry by entry."""
    table = np.zeros((n, d))
    for p in range(n):
        for c in range(d):
            angle = p / 10000 ** (2 * (c // 2) / d)
            table[p, c] = np.cos(angle) if c % 2 else np.sin(angle)
    return table


def random_arrays(shapes, rng):
    """Fill shapes with values of which none is a default: norms and running statistics too."""
    found = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            found[name] = np.asarray(rng.integers(1, 1000))
        elif name.endswith(("running_var", "std")):
            found[name] = rng.uniform(0.5, 2, shape).astype(np.float32)
        elif len(shape) > 1:
            found[name] = (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        elif name.endswith("weight"):
            found[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            found[name] = rng.normal(0, 0.1, shape).astype(np.float32)
    return found


def contrary_frames(rng, clips, snippets, frames, width):
    """Features whose last frame of each snippet is the opposite of the others, and skewed: its cosine is negative."""
    x = rng.exponential(size=(clips, snippets, 1, width)) - 1
    signs = np.where(np.arange(frames) == frames - 1, -1, 1)[:, None]
    return (3 * x * signs + 0.05 * rng.normal(size=(clips, snippets, frames, width))).astype(np.float32)
