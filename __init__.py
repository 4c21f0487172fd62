"""Expression Snippet Transformer on cached features: videos → a cache of face features → a trained model → predictions.

    est.extract_videos("videos", "cache.zarr")         # est extract: the face in every frame becomes 512 numbers, once
    cache = est.open_cache("cache.zarr")               # cache.clips.to_pandas() is the table of clips
    results = est.fit(cache, "runs/first")             # est train: every fold trained, scored on its test half
    est.evaluate_run("runs/first").to_pandas()         # est evaluate
    est.predict("talk.mp4", "runs/first").to_pandas()  # est predict

`dir(est)` lists what there is, and docs/python.md tells it: each function is the whole of its command, and takes paths as texts or as
`pathlib.Path`. `est.extract` and `est.train` are packages, not functions. Importing est costs nothing: a name is imported on first use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cache import (
        Cache,
        Progress,
        Uploaded,
        Watch,
        convert_cache,
        download_cache,
        erase_clips,
        merge_caches,
        open_cache,
        upload_cache,
        verify_cache,
    )
    from .cluster.rayengine.extracting import extract_on_ray
    from .cluster.slurm.options import SlurmOptions
    from .cluster.status import Submission, read_submission
    from .cluster.submitting import submit_extract
    from .cluster.sweeping import submit_sweep
    from .demo import RenderSpec, render_set
    from .doctor.check import Examination
    from .doctor.examination import examine as examine_machine
    from .errors import EstError
    from .extract.config import ExtractConfig
    from .extract.extraction import extract_videos
    from .extract.recaching import recache
    from .extract.report import Report
    from .hub.sharing.caches import pull_cache, push_cache
    from .hub.sharing.models import push_export, push_weights
    from .hub.sharing.pushing import Pushed
    from .hub.sharing.terms import Permission
    from .infer.export.exporting import Exported, export_run
    from .infer.prediction.config import PredictConfig
    from .infer.prediction.predicting import Predictions, predict
    from .infer.probing.probe import Probe
    from .infer.probing.probing import probe_run
    from .inputs.features.config import ImportConfig
    from .inputs.features.importing import import_features
    from .inputs.input import FoundInputs, find_inputs
    from .inputs.relabelling import Relabelling, plan_relabelling
    from .inputs.stills import find_stills
    from .recipes.choice import RecipeChoice
    from .recipes.running import RecipeOutcome, run_recipe
    from .report.cachepage.page import cache_page
    from .report.cachepage.showing import show_clips
    from .report.runpage.page import run_page
    from .sweep import Audit, Recipe, Reproduction, Space, Sweep, SweepConfig, audit_cache, read_space, sweep_cache
    from .sweep.reproduce.reproducing import reproduce
    from .train import (
        Change,
        DataConfig,
        Evaluation,
        FinetuneConfig,
        LoopConfig,
        LossConfig,
        ModelConfig,
        ProtocolConfig,
        Results,
        Run,
        SamplingConfig,
        TrainConfig,
        TrainingWatch,
        fit,
        model_config,
    )
    from .train import evaluate as evaluate_run
    from .train.config.configfile import train_config
    from .train.results.compare import Comparison, compare_runs
    from .train.runs.table import list_runs
    from .tune import TuneConfig, recache_tuned, tune_cache, tune_stills

# In the order of the work. Written out, because type checkers and editors offer of a typed package only what stands here.
__all__ = [  # noqa: RUF022
    # videos → cache
    "find_inputs",
    "extract_videos",
    "submit_extract",
    "extract_on_ray",
    "import_features",
    "recache",
    "tune_cache",
    "tune_stills",
    "find_stills",
    "recache_tuned",
    "render_set",
    # cache
    "open_cache",
    "plan_relabelling",
    "verify_cache",
    "convert_cache",
    "merge_caches",
    "read_submission",
    "erase_clips",
    "upload_cache",
    "download_cache",
    # cache → run
    "train_config",
    "model_config",
    "fit",
    "sweep_cache",
    "submit_sweep",
    "read_space",
    "audit_cache",
    "reproduce",
    "run_recipe",
    # run
    "list_runs",
    "evaluate_run",
    "compare_runs",
    "predict",
    "probe_run",
    "export_run",
    # hub
    "push_cache",
    "pull_cache",
    "push_export",
    "push_weights",
    # machine
    "examine_machine",
    # pages
    "cache_page",
    "show_clips",
    "run_page",
    # what the user decides
    "ExtractConfig",
    "ImportConfig",
    "TuneConfig",
    "RenderSpec",
    "TrainConfig",
    "ModelConfig",
    "SamplingConfig",
    "ProtocolConfig",
    "LoopConfig",
    "DataConfig",
    "LossConfig",
    "FinetuneConfig",
    "SweepConfig",
    "Space",
    "Recipe",
    "RecipeChoice",
    "Change",
    "PredictConfig",
    "SlurmOptions",
    "Permission",
    # what comes back
    "FoundInputs",
    "Report",
    "Submission",
    "Cache",
    "Relabelling",
    "Uploaded",
    "Run",
    "Results",
    "Evaluation",
    "Comparison",
    "Sweep",
    "Audit",
    "Reproduction",
    "RecipeOutcome",
    "Predictions",
    "Probe",
    "Exported",
    "Pushed",
    "Examination",
    # while it works
    "Watch",
    "TrainingWatch",
    "Progress",
    "EstError",
]

# What is typed for a function whose name is another one: commands, most of which are packages, too.
FUNCTIONS = {
    "extract": "extract_videos",
    "submit": "submit_extract and est.submit_sweep",
    "train": "fit",
    "tune": "tune_cache",
    "sweep": "sweep_cache",
    "report": "cache_page and est.run_page",
    "evaluate": "evaluate_run",
    "export": "export_run",
    "probe": "probe_run",
    "compare": "compare_runs",
    "audit": "audit_cache",
    "runs": "list_runs",
    "relabel": "plan_relabelling",
    "render": "render_set",
    "recipe": "run_recipe",
    "recipes": "run_recipe",
    "push": "push_cache and est.push_export",
    "pull": "pull_cache",
    "hub": "push_cache and est.pull_cache",
    "doctor": "examine_machine",
}

# onnxruntime queues events about the machine as soon as it is imported; who works on videos of people does not expect that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0.dev0"


def lazy_names(package: str, file: str) -> Callable[[str], Any]:
    """Return `__getattr__` of a package that offers what its file imports below `if TYPE_CHECKING`, each on first use; and `__all__`."""
    homes: dict[str, tuple[str, str]] = {}  # name → module and the name there; read when the first one is asked for

    def get(name: str) -> Any:
        if name.startswith("_") and name != "__all__":
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        import ast
        from importlib import import_module

        if not homes:
            body = ast.parse(Path(file).read_text(encoding="utf-8")).body
            block = next(node for node in body if isinstance(node, ast.If))
            for node in block.body:
                if isinstance(node, ast.ImportFrom) and node.level:
                    module = "." * node.level + (node.module or "")
                    homes.update({alias.asname or alias.name: (module, alias.name) for alias in node.names})
        if name == "__all__":
            return sorted(homes)
        if name not in homes:
            raise AttributeError(_unknown(package, file, name, homes))
        module, original = homes[name]
        try:
            return getattr(import_module(module, package), original)
        except ImportError as error:
            from .errors import missing_library

            explained = missing_library(error)
            if explained is None:
                raise
        raise explained

    sys.modules[package].__dict__["__dir__"] = lambda: get("__all__")
    return get


def _unknown(package: str, file: str, name: str, names: Iterable[str]) -> str:
    """Say that a package does not offer a name, and what was probably meant."""
    from difflib import get_close_matches

    is_package = (Path(file).parent / name / "__init__.py").is_file()
    said = f"{package}.{name} is a package (import {package}.{name})" if is_package else f"{package} has no {name!r}"
    likely = FUNCTIONS.get(name) if package == __name__ else None
    if likely is not None:
        return f"{said}; the function is {package}.{likely}"
    near = [] if is_package else get_close_matches(name, names, n=1)
    return f"{said}; the nearest is {package}.{near[0]}" if near else said


if not TYPE_CHECKING:  # to a type checker a misspelt name is an error
    __getattr__ = lazy_names(__name__, __file__)
