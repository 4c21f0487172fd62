"""What is said of an exported model: the facts in its metadata, and the model card beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import __version__
from ...train.data.sampling import sampler_of
from ...train.runs.run import Run
from .encoder import describe_encoder
from .graph import CROPS, OUTPUTS

FORMAT, VERSION = "est-export", 1
APPARENT = (
    "Probabilities are of *apparent expressions*: what faces look like to those who labelled the training clips. They do not say what "
    "somebody feels, and are not to be used as if they did. In the European Union, inferring emotions at work and in education is "
    "forbidden but for medical or safety reasons (AI Act, Art. 5(1)(f))."
)
SOFTWARE = "est: Expression Snippet Transformer on cached features"
NO_FACE = {
    "nearest": "A frame without a face is replaced by the clip's nearest frame with one (the earlier of two); a clip without any face "
    "is not predicted.",
    "keep": "A frame without a face counts as features of zeros.",
}


def facts(
    run: Run, part: str, what: str, shapes: Mapping[str, Mapping[str, Any]], *, share: bool = False
) -> dict[str, Any]:
    """Return what stands in the metadata; `shapes` says of each input its shape and kind of number, `share` leaves names of files out."""
    config, known = run.config, run.facts
    return {
        "format": FORMAT,
        "version": VERSION,
        "est": __version__,
        "what": what,
        "model": config.model.title,
        "heading": known["heading"],
        **({} if share else {"run": run.path.resolve().name}),
        "part": part,
        "labels": list(run.labels),
        "inputs": shapes,
        "outputs": {name: {"shape": ["clips", len(run.labels)], "dtype": "float32"} for name in OUTPUTS},
        "sampling": sampler_of(config.sampling, config.model.shown).rule() | {"no_face": config.sampling.no_face},
        "frames": known["cache"]["recipes"]["frames"],
        "frame_rate": known.get("frame_rate"),
        "encoder": describe_encoder(run, part, share=share),
        "protocol": {name: known["protocol"].get(name) for name in ("kind", "independence")},
        "citation": [SOFTWARE, *([config.model.paper] if config.model.paper else [])],
        "meaning": APPARENT.replace("*", ""),
    }


def card(about: Mapping[str, Any], name: str, digest: str, checks: Sequence[str], score: str) -> str:
    """Write the model card."""
    frames, encoder, sampling = about["frames"], about["encoder"], about["sampling"]
    full = CROPS in about["inputs"]
    of = f"the run `{about['run']}`" if "run" in about else "a run"
    rows = [
        f"| `{key}` | {one['dtype']} | {' × '.join(map(str, one['shape']))} | {one.get('text', '')} |"
        for key, one in (*about["inputs"].items(), *about["outputs"].items())
    ]
    lines = [
        f"# {name}",
        "",
        f"{about['heading']}, exported by est {about['est']} from part `{about['part']}` of {of}: "
        + ("frame encoder and model." if full else "the model of features, without the frame encoder."),
        "",
        APPARENT,
        "",
        "## Inputs and outputs",
        "",
        "| name | numbers | shape | |",
        "|---|---|---|---|",
        *rows,
        "",
        f"Classes, in the order of the outputs: {', '.join(about['labels'])}.",
        "",
        "## Which frames of a clip",
        "",
        sampling["text"],
        "",
        NO_FACE[sampling["no_face"]],
        "",
        f"Training clips had {about['frame_rate']:g} frames a second (median)." if about["frame_rate"] else "",
        "",
        "## Faces and features",
        "",
        f"Crops are {frames['size']} × {frames['size']} pixels, RGB; detector {frames['detector']}, face {frames['face']}, "
        f"aligned by {frames['align']}, margin {frames['margin']:g}"
        + (f", smoothed by {frames['smooth']:g}" if frames["smooth"] else "")
        + (f", stored as {frames['crops']}" if frames["crops"] else "")
        + ".",
        "",
        f"Encoder {encoder['encoder']}, weights {encoder['weights']}, pixels normalised as: {encoder['normalize']}"
        + (" (inside the graph)" if full else "")
        + f"; features: {encoder['tap']}"
        + (f", made in {encoder['precision']} and kept as {encoder['dtype']}" if "precision" in encoder else "")
        + ".",
        "",
        "## How well it does",
        "",
        score,
        "",
        "## Verified",
        "",
        "The file's outputs beside those of the run's model in float32, before it was put in place:",
        "",
        *(f"- {line}" for line in checks),
        "",
        f"SHA-256 of the file: `{digest}`",
        "",
        "## Licence and citation",
        "",
        f"Encoder weights: {encoder['licence']}. The model learnt from their features, and from clips whose licence applies, too.",
        "",
        *(f"- {line}" for line in about["citation"]),
        "",
    ]
    return "\n".join(line for line, before in zip(lines, [None, *lines], strict=False) if line or before) + "\n"
