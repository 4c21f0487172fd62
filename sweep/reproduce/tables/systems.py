"""EST beside other systems, and looked into: Tables 1 to 5, 10 and 11, Figs. 4 to 7 and 12 of the paper."""

from __future__ import annotations

from ....train.models.registry import MODELS, config_class
from ..table import MODEL, Row, Table
from .components import FULL, MEAN_ORDER, NO_ORDER, PLAIN

CONTROL = (
    "control"  # the label of the row that is no model: pooled statistics and a linear classifier, beside each training
)
# The system of a model in the published tables of inputs/published.
PUBLISHED = {
    "est": "EST",
    "transformer": "Transformer baseline",
    "fan": "FAN",
    "former-dfer": "Former-DFER",
    "gru": "ResNet18+GRU",
    "lstm": "LSTM",
    "stt": "STT",
    "r3d18": "R3D-18",
}
EACH_EPOCH = {"eval_every": 1}  # the test half is scored
FIRST = ("transformer", "est")  # the order of the models in tables: these, then as the registry has them


def system_rows(*, control: bool) -> tuple[Row, ...]:
    """Return a row for every model of the registry, and one for the control."""
    names = [*(name for name in FIRST if name in MODELS), *(name for name in MODELS if name not in FIRST)]
    rows = []
    for name in names:
        settings = {MODEL: name, **(FULL if name == "est" else {})}
        rows.append(Row(label=config_class(name).title, settings=settings, paper=PUBLISHED.get(name, "")))
    if control:
        rows.append(Row(label=CONTROL, settings={MODEL: "pooled", "control": True}))
    return tuple(rows)


DATASETS = Table(
    name="datasets",
    number="Table 1",
    title="frame rates and lengths of the clips",
    measure="datasets",
    paper_notes=(
        "The paper's text counts 12,059 clips of DFEW; the public lists have 11,697. Its BU-3DFE, of 606 sequences, is BU-4DFE.",
    ),
)

OVERALL = Table(
    name="overall",
    number="Tables 2 to 5",
    title="every model on the same cache",
    measure="scores",
    rows=system_rows(control=True),
    baseline="Transformer",
    sizes=True,
    classes=True,
    notes=(
        "The control uses mean, deviation, minimum and maximum of a clip's features and ignores the order of frames; it has no seed.",
    ),
    paper_notes=(
        "The paper's EST and most systems beside it train their encoders on the data. EST and Former-DFER choose the epoch on the test "
        "half; of the others it is not known.",
        "On AFEW 54.26 and 49.72 are 191 and 175 of 352 clips; other works count 381 or 383. The gain over the "
        "baseline there, which the paper calls 8.37 %, is 9.13 %.",
        "The recalls that the paper prints for DFEW average 53.43, and not 53.94.",
    ),
)

COMPLEXITY = Table(
    name="complexity",
    number="Tables 6 and 10",
    printed="Table 6",
    title="parameters, MACs and speed",
    measure="complexity",
    rows=(
        Row(label="EST without AA-SFE and SSOP", settings=PLAIN, paper="transformer"),
        Row(label="EST without SSOP", settings=NO_ORDER, paper="aa-sfe"),
        *(
            Row(label=row.label, settings=row.settings, paper="est" if row.settings[MODEL] == "est" else "")
            for row in system_rows(control=False)
        ),
    ),
    notes=("Nothing is trained but a few steps, whose time is measured here, one training at a time.",),
    paper_notes=(
        "The row Our EST of the paper's Table 10 holds another method's numbers (VGG16 TPSA). Its text says 42.8 M parameters, "
        "63.89 G MACs, which are of pictures of 224 × 224, and 412 frames a second on an RTX 3090.",
    ),
)

CONFUSION = Table(
    name="confusion",
    number="Fig. 4",
    title="which classes EST takes for which",
    measure="confusion",
    rows=(Row(label="EST", settings=FULL),),
    baseline="EST",
    notes=("Counts are means over seeds; clips without a face are in the column no prediction.",),
)

CONVERGENCE = Table(
    name="convergence",
    number="Fig. 5",
    title="loss and test accuracy by epoch",
    measure="convergence",
    rows=(
        Row(label="Transformer", settings={**PLAIN, **EACH_EPOCH}),
        Row(label="with AA-SFE", settings={**NO_ORDER, **EACH_EPOCH}),
        Row(label="with both (EST)", settings={**FULL, **EACH_EPOCH}),
    ),
    baseline="Transformer",
    notes=(
        "The test half is scored after each epoch for the curves alone; nothing is chosen by it. The loss is that of the classes.",
    ),
)

START_FRAMES = Table(
    name="start-frames",
    number="Fig. 6",
    title="accuracy by the frame at which the test window starts",
    measure="starts",
    rows=(
        Row(label="without AA-SFE", settings=MEAN_ORDER, paper="without"),
        Row(label="with AA-SFE (EST)", settings=FULL, paper="with"),
    ),
    baseline="without AA-SFE",
    axis="first frame of the window",
    notes=("The same models, shown the clips from other starts. Variances are over starts, in points squared.",),
    paper_notes=("The paper's text gives the variances alone, and not which starts they are of.",),
)

ATTENTION_INDEX = Table(
    name="attention-index",
    number="Fig. 7",
    title="which snippet is attended to most",
    measure="attention_index",
    rows=(
        Row(label="without SSOP", settings=NO_ORDER),
        Row(label="with SSOP", settings={**FULL, "model.position": "snippet"}),
        Row(label="with SSOP, slot positions", settings={**FULL, "model.position": "slot"}),
    ),
    baseline="without SSOP",
    axis="snippet",
    notes=(
        "The last decoder layer's attention, the mean over heads. Attention shows what a model reads, not why it decides.",
    ),
    paper_notes=(
        "The paper's bars have no printed numbers: without SSOP the third of seven snippets has most of them.",
    ),
)

EMBEDDING = Table(
    name="embedding",
    number="Fig. 12",
    title="what classifiers read, as points",
    measure="embedding",
    rows=tuple(
        Row(label=config_class(name).title, settings={MODEL: name, **(FULL if name == "est" else {})})
        for name in ("fan", "lstm", "est")
    ),
    baseline="FAN",
    notes=(
        "Clips of a test half, by exact t-SNE, of the first fold and seed: distances between groups and sizes of "
        "groups mean nothing. The number is of the whole space and of all folds and seeds.",
    ),
)

CROSS_DATABASE = Table(
    name="cross-database",
    number="Table 11",
    title="trained on one cache, tested on another",
    measure="cross_database",
    rows=(
        Row(label="Transformer", settings={MODEL: "transformer"}, paper="transformer"),
        Row(label="EST", settings={MODEL: "est", **FULL}, paper="est"),
    ),
    baseline="Transformer",
    needs="a second cache with the same features: --test-cache OTHER",
    notes=(
        "Every model sees every clip of the other cache. Under a seed a clip's class is that of the mean probabilities of its folds' "
        "models; differences are of these, and include the variation between trainings. All as one: the mean over all folds and seeds. "
        "Classes are matched by name, and clips of classes that were not learnt are left out and counted.",
    ),
    paper_notes=(
        "The paper's numbers are not set beside these: whether the other cache is the half of AFEW that it tests cannot be known. "
        "DFEW to AFEW, of 352 clips: Transformer 48.86 %, EST 51.14 %. BU-3DFE to AFEW, of the 290 that are not neutral: Transformer "
        "19.66 %, EST 25.17 %.",
    ),
)
