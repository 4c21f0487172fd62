"""What every model states about itself. This half is about settings and imports no torch.

A model's settings are a frozen dataclass: the section [model] of a run is read by it, `--set model.KEY` reaches its fields, and a field
made by `flag` is an option of `est train`, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...errors import UsageError, expect_values

CLASSES = "expression"  # the loss of the classes, which every model has; history and curves know it by this name
EMBEDDING, ATTENTION, ALPHA = "embedding", "attention", "alpha"
DETAILS = {  # what a model may say of its decision besides logits (Model.explain), of B clips, n snippets of J frames
    EMBEDDING: "what the classifier reads",  # (B, any width)
    ATTENTION: "how much each head of attention weighs each snippet",  # (B, heads, n), each head's sum 1
    ALPHA: "how much each frame of a snippet weighs in it",  # (B, n, J), positive, of any sum
}
MANY = (1, 2**31 - 1)  # ranges of settings: a number of something,
SHARE = (0, 0.999)  # and a share that leaves something
ARCHITECTURES = {  # how near a model is to the published one
    "parity-checked": "computes what the published formulas or code compute, tested against an independent reference",
    "counts-checked": "has the published sizes and number of parameters",
    "reconstruction": "follows a paper that leaves out what a number needs: the rest is assumed",
    "own": "a baseline of this project",
}
Architecture = Literal["parity-checked", "counts-checked", "reconstruction", "own"]
Training = Literal["end to end", "frozen encoder", ""]
CLIPS_FOR_SIZES = 1000  # clips of a training half from which on a sweep varies the size of a model


@dataclass(frozen=True, kw_only=True)
class Snippets:
    """Snippets of a window of the unified clip, as the section [sampling] cuts them: so many, each of so many frames."""

    count: int
    frames: int


@dataclass(frozen=True, kw_only=True)
class Evenly:
    """Frames from equal parts of the whole clip: of each part so many in a row, anywhere in training and at fixed places in the test."""

    parts: int
    frames: int = 1
    views: int = 1  # of the test, whose probabilities are averaged

    def __post_init__(self) -> None:
        expect_values(self, "shown.", parts=MANY, frames=MANY, views=MANY)


@dataclass(frozen=True, kw_only=True)
class AllFrames:
    """Every frame of a clip; of a longer one so many, evenly. The mask (`told`) says which places a shorter clip leaves over.

    A model that is not `padded` says the same without places that all clips leave over, on a processor to the last bit: in training
    and evaluation there are about as many as the longest clip has frames.
    """

    most: int
    padded: bool = True

    def __post_init__(self) -> None:
        expect_values(self, "shown.", most=MANY)


@dataclass(frozen=True, kw_only=True)
class EvenlyThenAll(Evenly):
    """Frames from equal parts in training; in the test every frame, of a longer clip so many."""

    most: int

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_values(self, "shown.", most=MANY)


@dataclass(frozen=True, kw_only=True)
class AllWindows:
    """The windows that a cache has of a clip in place of its frames, of each kind up to so many; the mask says which places are left over.

    Of a clip with more of a kind one from each of equal parts is shown: any in training, the middle one in the test.
    """

    each: tuple[int, ...]  # of each kind (one rate, length and step), in the order of the cache

    def __post_init__(self) -> None:
        assert self.each
        assert min(self.each) > 0


Shown = Snippets | Evenly | AllFrames | AllWindows


def places_of(shown: Shown) -> tuple[int, int]:
    """Return of how many parts of a clip a model is shown how many frames in the test: n and J."""
    match shown:
        case Snippets():
            return shown.count, shown.frames
        case EvenlyThenAll():
            return 1, shown.most
        case Evenly():
            return shown.parts, shown.frames
        case AllFrames():
            return 1, shown.most
        case AllWindows():
            return len(shown.each), max(shown.each)


CROPS = "crops"  # what a model reads that looks at pictures
WINDOWS = "windows"  # and one that reads windows, where tables say it

TOLD = (
    "mask",
    "time",
)  # of each frame: whether it is one of the clip's and shows a face; seconds since the clip's first


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How a video that is longer than the clips of the training is cut for prediction: into windows that are predicted as clips are."""

    seconds: float | None = None  # of a window; None: the median length of the clips that a run was trained on
    stride: float = 0.25  # from one window to the next, as a share of a window
    least: int = 1  # frames of a window, of a video at few frames a second

    def __post_init__(self) -> None:
        expect_values(self, "windows.", seconds=(0.01, MANY[1]), stride=(0.001, 1), least=MANY)


@dataclass(frozen=True, kw_only=True)
class ClassFile:
    """A file of class vectors, which a model takes over and does not train; each has so many numbers."""

    path: Path
    width: int


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The settings of a model."""

    name: ClassVar[str]  # the folder's, and the registry's
    title: ClassVar[str]  # in tables: EST
    paper: ClassVar[str] = ""  # to cite, where the model is one's
    source: ClassVar[str] = ""  # where the model is described, short
    architecture: ClassVar[Architecture] = "own"
    published_training: ClassVar[Training] = ""  # how it was trained for its published numbers; empty: there are none
    published_modality: ClassVar[str] = (
        ""  # of the features there, as FeatureRecipe.modality names it; empty: the crops
    )
    # What a preset of `est train` sets in this section; settings of other sections by their key, `loop.learning_rate`. The preset
    # `published` is the training of the model's authors, and is of those models alone that have it.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    # Settings in which models may differ that are trained as one stack (loop/stacks): those that change no shape. None: the model cannot
    # be stacked. What it draws in training it draws by F.dropout, or by the dropout of F.scaled_dot_product_attention, in calls that do not
    # depend on these settings: of dropout also where the rate is 0.
    own_in_stack: ClassVar[tuple[str, ...] | None] = None
    # Whether it holds the last stage of an encoder, which starts as that of the encoder that made the maps (Model.start_from).
    last_stage: ClassVar[bool] = False
    # Published weights that a model of crops can start from: its folder then has `weights.py` with `load`.
    published_weights: ClassVar[tuple[str, ...]] = ()

    @property
    def shown(self) -> Shown:
        """Return which frames of a clip the model is shown."""
        raise NotImplementedError

    @property
    def told(self) -> tuple[str, ...]:
        """Return what the model's batches hold of each frame besides its features, of `TOLD`."""
        return ()

    @property
    def windows(self) -> Windows:
        """Return how a long video is cut for prediction."""
        return Windows()

    @property
    def undivided(self) -> bool:
        """Return whether its losses compare the clips of a batch, which then cannot be learnt from in parts."""
        return False

    @property
    def reads(self) -> str:
        """Return the array of maps that the model reads, such as layer3, or `CROPS`; empty: the flat feature of `data.feature`.

        A model of maps or crops is built, and described, for such sides: its `build` and `describe` take `maps`, (h, w).
        """
        return ""

    @property
    def of_windows(self) -> bool:
        """Return whether the model reads windows of a clip, and not frames: its feature then has a row for each."""
        return isinstance(self.shown, AllWindows)

    @property
    def class_file(self) -> ClassFile | None:
        """Return the file of class vectors that the model takes (class_vectors.py); none where it has none."""
        return None

    @property
    def shuffles(self) -> bool:
        """Return whether clips can be shown to it shuffled (`est evaluate --shuffle-test`)."""
        return False

    @property
    def questions(self) -> Mapping[str, str]:
        """Return the further questions that it answers, by name, in words for a page; of shuffled clips where it shuffles."""
        return {}

    @property
    def implied(self) -> Mapping[str, Any]:
        """Return the values that settings without one (None) stand for, by name."""
        return {}

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return what `est sweep` varies where no file says it and the smallest training half has so many clips.

        It is as in the section [model.NAME] of a space file: by name a list of choices, a range, or a value that is fixed; settings of
        other sections by their key, `loop.learning_rate`, in place of the range that all models share. Every other size is another
        shape, and models of one shape are trained together: few sizes are quick.
        """
        return {}

    def expect_together(self, clips: int, *, batch: int, parts: int) -> None:
        """Refuse so few clips at a time that the model cannot learn from them; `batch` clips are taken in so many parts."""


def expect_whole_heads(dim: int, heads: int) -> None:
    """Refuse a width that is not divisible by the number of attention heads."""
    if dim % heads:
        near = max(number for number in range(1, heads) if dim % number == 0)
        raise UsageError(
            f"model.dim is a multiple of model.heads, found {dim} and {heads}.", remedy=f"--set model.heads={near}"
        )


def flag(default: Any, name: str, text: str) -> Any:
    """Return a field that is an option of `est train`: its name ("--ssop/--no-ssop" for a switch) and help; its default says its type."""
    assert default is not None, f"{name} needs a default, which says its type"
    return field(default=default, metadata={"flag": name, "help": text, "kind": type(default)})
