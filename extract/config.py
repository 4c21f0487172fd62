"""What the user decides about an extraction; everything that changes a row is part of the cache's recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ..crops.crop import BOX_MARGIN
from ..errors import UsageError, expect_choice, expect_values
from .faces.track_config import AcrossCuts, TrackConfig
from .flow.field import FIELD
from .flow.selection import SAMPLING, FlowFrames

SIZES = range(32, 1025)
FORWARD_BYTES = 256 * 2**20  # of decoded frames that are held, so that a clip is decoded once
CLIPS_AHEAD = 64  # that may finish before the oldest unfinished one


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Options of `est extract`."""

    modality: Literal["face", "flow"] = "face"  # what encoders see: face crops, or the flow from a clip's onset in one
    flow_frames: FlowFrames = "apex"  # of flow: frames around the annotated apex, or over the whole clip
    decoder: Literal["auto", "opencv", "pyav"] = "auto"
    detector: str = "retinaface"
    detect_size: int = 640  # longer side of the picture that the detector sees; 0 full size
    detect_every: int = 3
    score_threshold: float = 0.8
    face: Literal["main", "largest", "all"] = "main"
    across_cuts: AcrossCuts = "keep"  # of the main face: where another person takes over
    min_track: int = TrackConfig.min_length  # frames that a face lasts to be a clip of its own with face = "all"
    min_face_size: int = TrackConfig.min_side  # pixels of such a face: median longer side of its boxes
    trim: bool = (
        True  # with face = "all": rows of a track's frames alone; caches of earlier code have those of all frames
    )
    smooth: float = 2.0
    align: Literal["box", "5point"] = "box"
    margin: float | None = (
        None  # None: 0.2 around a box, 0 on the template of five points, of flow, and where frames are crops
    )
    size: int = 224
    crops: bool = False
    crop_quality: int = 95
    forget_crops: bool = False  # crops pass through JPEG as those of a cache do, and are not kept: for predictions
    trial_frames: int = 0  # of each clip at most, where a dry run tries the first clips; 0 all
    weights: str = "imagenet"
    normalize: str | None = None
    features: tuple[str, ...] = ("gap",)
    flip: bool = False
    dtype: Literal["float16", "float32"] = "float16"
    precision: str = "auto"
    engine: Literal["auto", "torch", "onnxruntime"] = "auto"  # that computes the encoder; auto: what is fast here
    device: str = "auto"
    models_dir: Path | None = None
    workers: int | None = None
    timeout: float = 120.0  # seconds in which a decoder must get somewhere
    incomplete: Literal["keep", "fail"] = "keep"
    no_face: Literal["keep", "skip", "fail"] = "keep"
    strict: bool = False

    def __post_init__(self) -> None:
        if self.models_dir is not None:
            object.__setattr__(self, "models_dir", Path(self.models_dir))
        expect_values(
            self,
            "--",
            size=(SIZES[0], SIZES[-1]),
            detect_size=(0, 8192),
            detect_every=(1, 100),
            min_track=(1, 10**6),
            min_face_size=(0, 8192),
            score_threshold=(0, 1),
            margin=(0, 2),
            smooth=(0, 30),
            crop_quality=(1, 100),
            timeout=(1, 86400),
            workers=(1, 1024),
        )
        if not self.features or len(set(self.features)) != len(self.features):
            raise UsageError(
                f"--features names each feature once, found {','.join(self.features)!r}.",
                remedy="--features gap,layer3",
            )
        if self.align == "5point" and self.detector == "none":
            raise UsageError("--align 5point needs landmarks, and --detector none has none.", remedy="--align box")
        if self.across_cuts != "keep" and self.detector == "none":
            raise UsageError(
                f"--across-cuts {self.across_cuts} follows faces, and --detector none finds none to follow.",
                remedy="leave out --across-cuts",
            )
        _ = self.tracking  # refuses what does not go together
        expect_choice("--modality", self.modality, ("face", "flow"))
        expect_choice("--flow-frames", self.flow_frames, tuple(SAMPLING))
        if self.modality == "flow":
            self._expect_flow()
        elif self.flow_frames != "apex":
            raise UsageError("--flow-frames needs --modality flow.", remedy="--modality flow")
        elif FIELD in self.features:
            raise UsageError(f"The feature {FIELD} needs --modality flow.", remedy="--modality flow")

    def _expect_flow(self) -> None:
        """Refuse what flow in one square has no use for."""
        default = {item.name: item.default for item in fields(self)}
        why = {
            "face": "flow is of one face, the largest of the onset frame",
            "across_cuts": "flow is of one face in one square",
            "align": "one upright square a clip is compared",
            "smooth": "one square a clip is compared, and nothing is smoothed",
            "detect_every": "the face is detected in the onset frame only",
        }
        taken = {"face": ("main", "largest")}
        for name, reason in why.items():
            if getattr(self, name) not in taken.get(name, (default[name],)):
                option = f"--{name.replace('_', '-')}"
                raise UsageError(
                    f"{option} {getattr(self, name)} does not go with --modality flow: {reason}.",
                    remedy=f"leave out {option}",
                )

        if not self.encoded:
            self._expect_no_encoder()

    def _expect_no_encoder(self) -> None:
        """Refuse what says how an encoder is computed where the flow itself is all that is cached; a detector of torch has a precision."""
        has_precision = self.precision == "auto" or (self.precision != "int8" and self.detector == "retinaface")
        wrong = [*(["--engine"] if self.engine != "auto" else []), *([] if has_precision else ["--precision"])]
        if wrong:
            raise UsageError(
                f"--features {FIELD} caches the flow itself, which no encoder makes: {' and '.join(wrong)} would have no effect.",
                remedy=f"leave out {' and '.join(wrong)}; or --features gap,{FIELD}, which caches features of an encoder, too",
            )

    @property
    def encoded(self) -> tuple[str, ...]:
        """Name the features that an encoder makes; the flow itself needs none."""
        return tuple(name for name in self.features if name != FIELD)

    @property
    def tracking(self) -> TrackConfig:
        """Return how faces are followed."""
        return TrackConfig(
            face=self.face,
            across_cuts=self.across_cuts,
            smooth=self.smooth,
            min_length=self.min_track,
            min_side=self.min_face_size,
            trim=self.trim,
        )

    @property
    def crop_margin(self) -> float:
        """Return the margin around the face, as a part of its longer side."""
        if self.margin is not None:
            return self.margin
        is_boxed = self.align == "box" and self.detector != "none" and self.modality == "face"
        return BOX_MARGIN if is_boxed else 0.0

    @property
    def frames_are_crops(self) -> bool:
        """Return whether each frame is a face crop by itself, so that nothing is searched or followed."""
        return self.detector == "none"

    @property
    def cropping(self) -> dict[str, Any]:
        """Return how a crop is cut, as `crop_face` takes it."""
        return {"align": self.align, "margin": self.crop_margin, "size": self.size}

    @property
    def crop_format(self) -> str:
        """Return how crops are encoded before the backbone sees them, as the recipe says it."""
        return f"jpeg {self.crop_quality}" if self.crops else ""
