"""What each part of EST adds: Tables 6 to 9 of the paper, §3.3, and the position code, in which its text and its code differ."""

from __future__ import annotations

from ..table import Row, Table

FULL = {"model.aggregation": "hierarchical", "model.ssop": True}
NO_ORDER = {"model.aggregation": "hierarchical", "model.ssop": False}
PLAIN = {"model.aggregation": "mean", "model.ssop": False}
MEAN_ORDER = {"model.aggregation": "mean", "model.ssop": True}

ABLATION = Table(
    name="ablation",
    number="Table 6",
    title="what AA-SFE and SSOP add to the Transformer",
    measure="scores",
    rows=(
        Row(label="Transformer", settings=PLAIN, paper="transformer"),
        Row(label="with AA-SFE", settings=NO_ORDER, paper="aa-sfe"),
        Row(label="with SSOP", settings=MEAN_ORDER),
        Row(label="with both (EST)", settings=FULL, paper="est"),
    ),
    baseline="Transformer",
    pairs=(("with both (EST)", "with AA-SFE"), ("with both (EST)", "with SSOP")),
    order=True,
    sizes=True,
    notes=(
        "Transformer: the mean of a snippet's frames is its token, and there is no SSOP; the paper does not say how its baseline comes "
        "to the 7 tokens that its MACs allow.",
        "The row with SSOP alone is not in the paper.",
    ),
    paper_notes=(
        "The 34.37 M parameters of the paper's baseline count an AA-SFE that it does not use; without it there are 33.32 M.",
    ),
)

ATTENTION = Table(
    name="attention",
    number="Table 7",
    title="how the frames of a snippet are summed up, with and without SSOP",
    measure="scores",
    rows=tuple(
        Row(
            label=f"{words}, {'with' if ssop else 'without'} SSOP",
            settings={"model.aggregation": kind, "model.ssop": ssop},
            against=f"no attention, {'with' if ssop else 'without'} SSOP",
            paper=kind if ssop == (kind != "mean") else "",
        )
        for ssop in (False, True)
        for kind, words in (
            ("mean", "no attention"),
            ("self-attention", "self-attention"),
            ("se", "SE-like"),
            ("hierarchical", "hierarchical (AA-SFE)"),
        )
    ),
    baseline="no attention, without SSOP",
    pairs=(
        ("hierarchical (AA-SFE), with SSOP", "self-attention, with SSOP"),
        ("hierarchical (AA-SFE), with SSOP", "SE-like, with SSOP"),
    ),
    sizes=True,
    order=True,
    notes=(
        "SE-like and self-attention are reconstructions: the paper does not specify them. Each row is compared with no attention "
        "under the same SSOP.",
    ),
    paper_notes=(
        "The paper's row without attention has no SSOP (34.37 M parameters) and its others have it: its comparison mixes two changes.",
    ),
)

ORDER_ACCURACY = Table(
    name="order-accuracy",
    number="Table 8",
    title="how often SSOP recognises the order of shuffled snippets",
    measure="scores",
    rows=(
        Row(
            label="EST, code of the snippet's own place", settings={**FULL, "model.position": "snippet"}, paper="order"
        ),
        Row(label="EST, code of the new slot", settings={**FULL, "model.position": "slot"}, paper="order"),
    ),
    baseline="EST, code of the snippet's own place",
    order=True,
    notes=(
        "Each clip of the test halves is shown once in one of the orders, in turns. The authors' code keeps the code of a snippet's "
        "own place, the paper's text gives it that of its new slot.",
    ),
)

ZERO_MIDDLE = Table(
    name="zero-middle",
    number="Table 9",
    title="recognition when the middle of the clip is black",
    measure="zero_middle",
    rows=(
        Row(label="without SSOP", settings=NO_ORDER, paper="without"),
        Row(label="with SSOP", settings={**FULL, "model.position": "snippet"}, paper="with"),
        Row(label="with SSOP, slot positions", settings={**FULL, "model.position": "slot"}, paper="with"),
    ),
    baseline="without SSOP",
    needs="what a black crop is in the features (est extract records it)",
    notes=(
        "The unified frames that the middle snippet spans show a black crop, in the test alone. With the code of a "
        "snippet's own place the class does not depend on the shuffle at all; slot positions are the paper's text.",
    ),
)

FUSION = Table(
    name="fusion",
    number="§3.3",
    title="what the order head reads: T and R together, T alone, or R alone",
    measure="scores",
    rows=(
        Row(label="T alone", settings={**FULL, "model.order_input": "query"}, paper="query"),
        Row(label="R + T (EST)", settings={**FULL, "model.order_input": "fused"}, paper="fused"),
        Row(label="R alone", settings={**FULL, "model.order_input": "snippets"}),
        Row(label="R + T, R attached", settings={**FULL, "model.order_input": "fused", "model.detach_snippets": False}),
    ),
    baseline="T alone",
    order=True,
    notes=(
        "R is detached, as in Algorithm 1, line 6, unless the row says attached: R alone then teaches the order head and nothing else.",
    ),
    paper_notes=("The paper gives a relative gain of 6.8 % on AFEW for R + T against T alone, and no two accuracies.",),
)

POSITION = Table(
    name="position",
    number="§3.3, text and code",
    title="position codes of shuffled snippets: of the new slot (text) or of their own place (code)",
    measure="scores",
    rows=(
        Row(label="without SSOP", settings={**NO_ORDER, "model.position": "snippet"}),
        Row(label="SSOP, code of the own place", settings={**FULL, "model.position": "snippet"}),
        Row(
            label="SSOP, code of the new slot",
            settings={**FULL, "model.position": "slot"},
            against="SSOP, code of the own place",
        ),
    ),
    baseline="without SSOP",
    order=True,
    notes=("Without SSOP nothing is shuffled, and both codes are the same.",),
)
