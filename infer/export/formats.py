"""The files that are written, and how each is run again: ONNX by onnxruntime, TorchScript by torch.

Both come from one trace of the module. torch's newer exporter (`dynamo=True`) takes 5 to 70 seconds for these models, the tracing one 1 to
3, for files that compute the same to 1e-7 (docs/log.md); it also needs a package more. torch has announced that tracing will go: the
warnings are silenced here, by name.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ...encoders.engines.graph import tracing
from ...errors import EstError, first_line
from ...packages import expect_packages
from .graph import OUTPUTS, Graph

Format = Literal["onnx", "torchscript"]
FORMATS: tuple[Format, ...] = ("onnx", "torchscript")
TITLES = {"onnx": "ONNX", "torchscript": "TorchScript"}
PACKAGES = ("onnx", "onnxruntime")  # of ONNX; TorchScript needs torch alone
OPSET = 17
KEY = "est"  # under which the facts stand in the file's metadata
ABOUT = "est.json"  # the same, in TorchScript's archive
DEBUG = ".debug_pkl"  # entries there that say which line of which file each operation is from

Runner = Callable[[Sequence[Tensor]], tuple[np.ndarray, np.ndarray]]  # inputs → logits, probabilities


def expect_writable(form: Format) -> None:
    """Refuse a format whose packages cannot be used."""
    if form == "onnx":
        need = f"ONNX files are written and verified with the packages {' and '.join(PACKAGES)}"
        expect_packages(need, *PACKAGES, instead="--format torchscript")


def write(
    path: Path, graph: Graph, example: Sequence[Tensor], form: Format, about: Mapping[str, Any], *, title: str
) -> None:
    """Write a module with its facts; one that the format has no words for is named."""
    text = json.dumps(about, ensure_ascii=False, allow_nan=False)
    try:
        if form == "onnx":
            _write_onnx(path, graph, tuple(example), text)
        else:
            _write_torchscript(path, graph, tuple(example), text)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, NotImplementedError) as error:
        other = next(one for one in FORMATS if one != form)
        reason = first_line(error)
        raise EstError(
            f"{title} has a part that {TITLES[form]} cannot express: {reason}",
            remedy=f"--format {other}, or --what head where it is a part of the encoder",
        ) from error


def runner(path: Path, form: Format) -> Runner:
    """Open a file that was written, and return what computes with it."""
    if form == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what fails is raised, and need not be printed too
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_inputs()]

        def run_onnx(tensors: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
            feed = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
            logits, probabilities = session.run(list(OUTPUTS), feed)
            return np.asarray(logits), np.asarray(probabilities)

        return run_onnx
    with tracing():
        loaded = torch.jit.load(str(path))

    def run_torch(tensors: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            logits, probabilities = loaded(*tensors)
        return logits.numpy(), probabilities.numpy()

    return run_torch


def _write_torchscript(path: Path, graph: Graph, example: tuple[Tensor, ...], text: str) -> None:
    """Write the archive without torch's debug entries: they name files of this machine by their whole paths."""
    whole = io.BytesIO()
    with tracing(), torch.no_grad():
        torch.jit.save(torch.jit.trace(graph, example, check_trace=False), whole, _extra_files={ABOUT: text})
    with zipfile.ZipFile(whole) as made, zipfile.ZipFile(path, "w") as kept:
        for entry in made.infolist():
            if not entry.filename.endswith(DEBUG):
                kept.writestr(entry, made.read(entry))


def _write_onnx(path: Path, graph: Graph, example: tuple[Tensor, ...], text: str) -> None:
    import onnx

    names = [*graph.inputs, *OUTPUTS]
    with tracing(), torch.no_grad():
        torch.onnx.export(
            graph,
            example,
            str(path),
            dynamo=False,
            input_names=list(graph.inputs),
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "clips"} for name in names},
            opset_version=OPSET,
        )
    made = onnx.load(str(path))
    made.metadata_props.add(key=KEY, value=text)
    made.doc_string = "Logits and probabilities of apparent facial expressions; metadata 'est' says how it is fed."
    onnx.save(made, str(path))
