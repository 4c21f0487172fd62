"""What the user decides about a training run. The defaults are the paper's recipe; a preset is a named set of differences from it.

The sections of the loop and of the data are here; `sampling`, `protocol`, `loss` and `finetune` have modules of their own beside this one,
and `model` is the settings of the model that is chosen (train/models).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...errors import UsageError, expect_values
from ..models.contract import CROPS, AllFrames, ModelConfig
from ..models.registry import DEFAULT, config_class
from .finetune import FinetuneConfig
from .loss import LossConfig
from .protocol import PROTOCOLS, ProtocolConfig
from .sampling import SamplingConfig

# A preset names what it changes, here and in the settings of a model (its `presets`). `official` is the authors' code, `paper-text` their
# text where the two differ; `fast` is for iterating; `small` is a small model for tens to hundreds of clips, chosen on rendered faces
# (docs/log.md); `modern` is for fine-tuning: what makes a pre-trained backbone learn from few clips; `published` is as a model's authors
# train it, for those models that say how.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "official": {},
    "paper-text": {},
    "fast": {
        "loop.epochs": 30,
        "loop.warmup": 3,
        "loop.batch": 16,
        "loop.learning_rate": 3e-4,
        "loop.precision": "auto",
    },
    "small": {
        "loop.optimizer": "adamw",
        "loop.weight_decay": 0.01,
        "loop.epochs": 60,
        "loop.warmup": 3,
        "loop.batch": 8,
        "loop.learning_rate": 5e-4,
        "data.scaling": True,
    },
    "modern": {
        "loop.optimizer": "adamw",
        "loop.weight_decay": 0.01,
        "loop.epochs": 20,
        "loop.warmup": 2,
        "loop.average": 0.998,
        "loop.precision": "auto",
        "data.mirrored": True,
        "finetune.rate": 0.3,
        "finetune.batch_norm": "frozen",
        "finetune.head_first": 2,
        "finetune.shift": 0.04,
        "finetune.zoom": 0.05,
        "finetune.brightness": 0.2,
    },
    "published": {},
}
SIZES = "small"  # the preset that sets sizes of a model, which other presets leave as they find them
OF_AUTHORS = "published"  # the preset that only some models have
ALIASES = {"paper": "official"}  # as the default was called before it was the code's


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The optimiser and its schedule; `momentum` is of sgd, `step_epochs` and `step_factor` are of the schedule step."""

    epochs: int = 160
    warmup: int = 10  # epochs in which the learning rate rises linearly, at most half of all; the cosine spans the rest
    batch: int = 8
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4  # as L2 in the gradient, or decoupled with adamw
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    momentum: float = 0.9  # of sgd
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    step_epochs: int = 40  # of the schedule step: after each so many epochs the learning rate is multiplied
    step_factor: float = 0.1  # by this
    clip_norm: float = 0.0  # of the gradient; 0 is off
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    average: float = (
        0.0  # how much of itself the running mean of the weights keeps at a step; it is what is scored. 0 is off
    )
    accumulate: int = 1  # parts in which a batch is learnt from, one after the other: less memory
    graph: bool = False  # on a GPU: record the step once and replay it (not yet measured)
    threads: int = 0  # of the CPU; 0 takes torch's own number, which the run then records
    stack: Literal["auto", "on", "off"] = (
        "auto"  # folds and seeds as one stacked model: where that is faster, or wherever it can be
    )

    def __post_init__(self) -> None:
        expect_values(
            self,
            "loop.",
            epochs=(1, 100_000),
            warmup=(0, 100_000),
            batch=(1, 65_536),
            learning_rate=(0, 10),
            weight_decay=(0, 10),
            momentum=(0, 0.999),
            step_epochs=(1, 100_000),
            step_factor=(0.001, 1),
            clip_norm=(0, 1e9),
            average=(0, 0.99999),
            accumulate=(1, 65_536),
            threads=(0, 4096),
        )
        if self.graph and self.precision == "fp16":
            raise UsageError(
                "loop.graph replays the same step, and with fp16 the scale of the loss changes.",
                remedy="--precision bf16, or --set loop.graph=false",
            )
        if self.graph and self.optimizer == "sgd":
            raise UsageError(
                "loop.graph replays steps of Adam, found loop.optimizer = sgd.", remedy="--set loop.graph=false"
            )
        if self.batch % self.accumulate:
            raise UsageError(
                f"loop.accumulate divides the batch, found {self.accumulate} parts of {self.batch} clips.",
                remedy="--batch or --set loop.accumulate=…, so that one is a multiple of the other",
            )

    @property
    def rise(self) -> int:
        """Return the epochs of the warm-up: those that were asked for, but no more than half of a short run."""
        return min(self.warmup, self.epochs // 2)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which rows of the cache, where they live, and what is done to them. Everything but `feature` is off in the paper."""

    feature: str = "gap"
    residency: Literal["auto", "device", "pinned", "stream"] = "auto"
    scaling: bool = False  # zero mean and unit deviation, fitted on the training half
    mirrored: bool = False  # as often as as they are, clips are shown by the features of mirrored crops
    views: bool = False  # and by each of the cache's views
    balanced: bool = False  # every class equally often
    class_weights: bool = False  # in the loss, inverse to the class's share of the training half
    label_smoothing: float = 0.0
    votes: str = ""  # a table of how many people saw which class in each clip: what is learnt in place of labels
    noise: float = 0.0  # added to features, in their standard deviations
    mixup: float = 0.0  # parameter of the Beta distribution; 0 is off

    def __post_init__(self) -> None:
        expect_values(self, "data.", label_smoothing=(0, 0.9), noise=(0, 10), mixup=(0, 10))
        if self.votes:  # absolute, so that a run resumes from any folder
            object.__setattr__(self, "votes", str(Path(self.votes).absolute()))
        if self.balanced and self.class_weights:
            raise UsageError(
                "Balanced sampling and class weights both correct for rare classes; together they correct twice.",
                remedy="choose --balanced or --class-weights",
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A whole run."""

    model: ModelConfig = field(default_factory=config_class(DEFAULT))
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    seeds: tuple[int, ...] = (3456,)
    select: Literal["last", "val"] = "last"
    eval_every: int = 1  # epochs between scores on the test half, for the curves; 0 scores at the end alone
    keep_epochs: bool = False  # write epochs.npz: what each tested epoch predicted for every clip of the test half
    control: bool = True  # pooled statistics and a linear classifier on the same halves
    tensorboard: bool = False
    device: str = "auto"
    allow_leak: bool = False  # score clips that the features have learnt from, and say so in every table

    def __post_init__(self) -> None:
        expect_values(self, "", eval_every=(0, 100_000))
        if self.keep_epochs and not self.eval_every:
            raise UsageError(
                "keep_epochs keeps what is scored, and eval_every = 0 scores no epoch.", remedy="--set eval_every=1"
            )
        if not isinstance(self.model, ModelConfig):
            raise UsageError(
                f"model is the settings of a model, found {self.model!r}.",
                remedy="est.train.model_config('gru', layers=2)",
            )
        if isinstance(self.seeds, int):
            raise UsageError(f"seeds is a list of whole numbers, found {self.seeds!r}.", remedy="--seeds 1,2,3")
        object.__setattr__(self, "seeds", tuple(self.seeds))
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise UsageError(f"seeds names each seed once, found {list(self.seeds)}.", remedy="--seeds 1,2,3")
        for seed in self.seeds:
            if type(seed) is not int:
                raise UsageError(f"A seed is a whole number, found {seed!r}.", remedy="--seeds 1,2,3")
            if not 0 <= seed < 2**31:
                raise UsageError(f"A seed goes from 0 to {2**31 - 1}, found {seed}.", remedy="--seeds 1,2,3")
        self.finetune.expect_possible(self.model, self.data, self.loop)
        self.loss.expect_possible(self.data, self.loop)
        if self.model.reads == CROPS:
            self._expect_of_crops()
        elif self.model.reads and self.data.feature not in (DataConfig.feature, self.model.reads):
            raise UsageError(
                f"The model {self.model.name} reads {self.model.reads}, found data.feature = {self.data.feature}.",
                remedy="leave --feature out",
            )
        batch, parts = self.loop.batch, self.loop.accumulate
        if self.data.mixup and batch // parts < 2:
            raise UsageError(
                f"data.mixup mixes clips that are learnt from together, and loop.accumulate takes {batch} clips one by one.",
                remedy="a smaller loop.accumulate, or --set data.mixup=0",
            )
        if self.data.mixup and self.model.told:
            raise UsageError(
                f"data.mixup mixes two clips, and {self.model.name} is given the {' and the '.join(self.model.told)} of one.",
                remedy="--set data.mixup=0",
            )
        if isinstance(self.model.shown, AllFrames) and self.finetune.on and self.finetune.batch_norm == "train":
            raise UsageError(
                f"{self.model.name} is shown all frames; what shorter clips leave over would enter the statistics of batch norms.",
                remedy="--set finetune.batch_norm=frozen",
            )
        if self.undivided and parts > 1:
            raise UsageError(
                f"{self.undivided} the clips of a batch, and loop.accumulate divides it in {parts} parts.",
                remedy="--set loop.accumulate=1, and a smaller --batch where memory is short",
            )
        self.model.expect_together(batch // parts, batch=batch, parts=parts)

    def _expect_of_crops(self) -> None:
        """Refuse what is for cached features where a model reads crops."""
        if self.data.views or self.data.noise or self.loop.graph:
            raise UsageError(
                f"The model {self.model.name} reads crops: data.views, data.noise and loop.graph are for cached features.",
                remedy="leave them out; --set finetune.shift=0.06 augments pixels",
            )
        if self.finetune.source == "maps":
            raise UsageError(
                f"The model {self.model.name} reads crops, and not at maps.", remedy="--set finetune.source=auto"
            )

    def expect_read(self, option: str) -> None:
        """Refuse the feature that an option asks for where the model reads another; beside one of crops the control may read it."""
        if self.model.reads not in ("", CROPS, self.data.feature):
            told = f"{option}{'=' if option.startswith('--set') else ' '}{self.data.feature}"
            raise UsageError(
                f"The model {self.model.name} reads {self.model.reads}: {told} has no effect.",
                remedy=f"leave {option} out",
            )

    def expect_effective(self) -> None:
        """Refuse settings that decide nothing under the others, or that the protocol decides.

        A configuration may hold them: earlier runs have them, and trials of a sweep, which varies the others.
        """
        self.expect_epoch_of_protocol()
        loop, loss = self.loop, self.loss
        readers = {  # by setting: whether it is read, by what, and an example of that
            "loop.momentum": (loop.optimizer == "sgd", "loop.optimizer=sgd", "loop.optimizer=sgd"),
            "loop.step_epochs": (loop.schedule == "step", "loop.schedule=step", "loop.schedule=step"),
            "loop.step_factor": (loop.schedule == "step", "loop.schedule=step", "loop.schedule=step"),
            "loss.temperature": (bool(loss.contrastive), "loss.contrastive", "loss.contrastive=0.1"),
            "loss.centre_rate": (loss.has_centres, "loss.centre and loss.compact", "loss.centre=0.01"),
        }
        for key, (is_read, reader, example) in readers.items():
            section, _, name = key.partition(".")
            owner = getattr(self, section)
            if not is_read and getattr(owner, name) != getattr(type(owner), name):
                raise UsageError(
                    f"{key} is a setting of {reader}, which is not used: it would have no effect.",
                    remedy=f"leave {key} out, or --set {example}",
                )

    def expect_epoch_of_protocol(self) -> None:
        """Refuse to choose an epoch where the protocol trains a fixed number of them."""
        preset = PROTOCOLS.get(self.protocol.kind)
        if preset is not None and preset.is_micro and self.select != "last":
            raise UsageError(
                f"The protocol {self.protocol.kind} trains a fixed number of epochs, and select = {self.select} chooses one.",
                remedy="--select last with --epochs; --protocol loso may choose by an inner validation half",
            )

    @property
    def looks_at_frames(self) -> bool:
        """Return whether frames themselves are looked at: by a backbone that learns, or by a model of crops."""
        return self.finetune.on or self.model.reads == CROPS

    @property
    def undivided(self) -> str:
        """Return what compares the clips of a batch, which then cannot be learnt from in parts; empty: nothing does."""
        if self.model.undivided:
            return f"The losses of {self.model.name} compare"
        return "loss.contrastive compares" if self.loss.contrastive else ""

    @property
    def feature(self) -> str:
        """Return the array that is read: the one that the model needs, else the one that is asked for."""
        return self.data.feature if self.model.reads == CROPS else self.model.reads or self.data.feature

    @property
    def reads(self) -> str:
        """Return what the model reads: an array of the cache by name, or crops."""
        return CROPS if self.model.reads == CROPS else self.feature

    @property
    def head_first(self) -> int:
        """Return the epochs in which the head learns alone: none where it comes from a run and has learnt."""
        return 0 if self.finetune.init else self.finetune.head_first
