"""A precision that a device can only emulate is refused before any work, and `auto` never picks it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from extract_samples import face_frames
from processor import LACKS_BF16
from recaching_samples import again
from train_samples import Recorder, learning_cache, tiny_config, without_digests
from tune_samples import colour_cache, config, random_start, write_images, write_list
from video_samples import make_video

import est
from est.cache import open_cache
from est.cli import main
from est.encoders import precision as precisions
from est.encoders.precision import NATIVE, cpu_flags, resolve_precision, why_emulated
from est.errors import EstError
from est.extract.compare import compare_detectors
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.extract.faces.detect import build_detector
from est.inputs.input import find_inputs
from est.train import FinetuneConfig, ProtocolConfig, evaluate, fit
from est.train.loop.checkpoint import load_checkpoint, save_checkpoint
from est.train.runs.files import read_json, write_json
from est.train.runs.run import FACTS
from est.tune import encoder as tune_encoder
from est.tune import recache_tuned, tune_cache

CPU = torch.device("cpu")
PACKAGE = Path(est.__file__).parent


@pytest.fixture
def processor(monkeypatch):
    """`processor(*flags)`: pretend that it is an x86 with these, and that nothing holds torch back."""

    def pretend(*flags):
        monkeypatch.setattr(precisions.platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(precisions, "cpu_flags", lambda: frozenset(flags))
        for name in precisions.LIMITS:
            monkeypatch.delenv(name, raising=False)

    return pretend


@pytest.fixture
def plain(processor):
    """A processor that is in most laptops."""
    processor("avx2", "fma3")


# what the flags say


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_what_the_processor_can_only_emulate_is_refused(plain, name):
    with pytest.raises(EstError) as refused:
        resolve_precision(name, CPU)
    for word in (*NATIVE[name]["x86"], "this one has avx2", "emulated", "slower than fp32"):
        assert word in refused.value.message
    assert refused.value.remedy == "--precision fp32"
    assert resolve_precision("fp32", CPU) == ("fp32", "as asked")


@pytest.mark.parametrize(("name", "flag"), [(name, flag) for name in NATIVE for flag in NATIVE[name]["x86"]])
def test_one_of_the_flags_is_enough(processor, name, flag):
    processor("avx2", flag)
    assert resolve_precision(name, CPU) == (name, "as asked")


@pytest.mark.parametrize(("name", "flag"), [(name, flag) for name in NATIVE for flag in NATIVE[name]["arm"]])
def test_processors_of_another_kind_have_flags_of_their_own(processor, monkeypatch, name, flag):
    processor("asimd")
    monkeypatch.setattr(precisions.platform, "machine", lambda: "aarch64")
    assert "this one has asimd" in why_emulated(name, CPU)
    monkeypatch.setattr(precisions, "cpu_flags", lambda: frozenset({"asimd", flag}))
    assert why_emulated(name, CPU) is None


def test_where_nothing_tells_what_was_asked_for_is_taken(processor):
    processor()
    assert resolve_precision("bf16", CPU) == ("bf16", "as asked")
    assert resolve_precision("auto", CPU)[0] == "fp32"


@pytest.mark.parametrize("limit", ["AVX2", "avx2", "AVX512_CORE", "AVX512_CORE_VNNI"])
@pytest.mark.parametrize("variable", precisions.LIMITS)
def test_a_limit_of_the_environment_counts_like_a_missing_flag(processor, monkeypatch, limit, variable):
    processor("avx512f", "avx512_bf16", "amx_bf16", "avx512_fp16")
    monkeypatch.setenv(variable, limit)
    for name in ("bf16", "fp16"):
        with pytest.raises(EstError, match=f"{variable}={limit}"):
            resolve_precision(name, CPU)
    chosen, why = resolve_precision("auto", CPU)
    assert chosen == "fp32"
    assert f"{variable}={limit}" in why


def test_a_limit_above_what_is_needed_changes_nothing(processor, monkeypatch):
    processor("avx512_bf16", "avx512_fp16")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert resolve_precision("auto", CPU)[0] == "bf16"
    assert why_emulated("bf16", CPU) is None
    assert "AVX512_CORE_BF16" in why_emulated("fp16", CPU)


@pytest.mark.parametrize(
    "flags", [(), ("avx2",), ("avx_ne_convert",), ("avx512_fp16",), ("avx512_bf16",), ("amx_bf16",)]
)
@pytest.mark.parametrize("limit", ["", "AVX2", "AVX512_CORE_BF16"])
def test_auto_never_picks_what_is_refused(processor, monkeypatch, flags, limit):
    processor(*flags)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    chosen, _ = resolve_precision("auto", CPU)
    assert resolve_precision(chosen, CPU) == (chosen, "as asked")


@pytest.mark.skipif(LACKS_BF16 is not None or not cpu_flags(), reason="the processor has no bf16, or nothing tells")
def test_torch_computes_what_we_accept():
    assert torch.ops.mkldnn._is_mkldnn_bf16_supported()


@pytest.mark.parametrize(
    ("first", "second", "held"), [("ALL", "AVX2", False), ("", "AVX2", True), ("AVX2", "ALL", True)]
)
def test_the_first_variable_that_is_set_counts(processor, monkeypatch, first, second, held):
    processor("avx512_bf16")
    for name, value in zip(precisions.LIMITS, (first, second), strict=True):
        monkeypatch.setenv(name, value)
    assert (why_emulated("bf16", CPU) is not None) == held


def test_limits_are_for_x86_alone(processor, monkeypatch):
    processor("asimd", "bf16")
    monkeypatch.setattr(precisions.platform, "machine", lambda: "aarch64")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert why_emulated("bf16", CPU) is None


def test_several_devices_run_in_one_precision(processor, monkeypatch):
    """A GPU that has it and a processor that has not."""
    processor("avx2")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0) if device.index == 0 else (7, 5))
    new, old = torch.device("cuda:0"), torch.device("cuda:1")
    assert resolve_precision("auto", new)[0] == "bf16"
    for other in (CPU, old):
        assert resolve_precision("auto", new, other)[0] == "fp32"
        with pytest.raises(EstError, match="emulated"):
            resolve_precision("bf16", new, other)


# every way in


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("video") / "a.mp4", face_frames(4))


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    return colour_cache(tmp_path_factory.mktemp("colours") / "c.zarr")


@pytest.fixture(scope="module")
def learnable(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("learnable") / "c.zarr", 36)


def refused(call, *words):
    with pytest.raises(EstError) as caught:
        call()
    for word in ("emulated", *words):
        assert word in caught.value.message
    return caught.value.remedy


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_extraction_and_its_comparison_of_detectors_refuse(plain, video, tmp_path, name):
    asked = ExtractConfig(weights="random", precision=name)
    assert refused(lambda: extract_videos(find_inputs([video]), tmp_path / "c.zarr", asked)) == "--precision fp32"
    refused(lambda: compare_detectors(find_inputs([video]), 1, asked))
    refused(lambda: build_detector("retinaface", precision=name))
    assert not list(tmp_path.iterdir())


def test_a_cache_begun_elsewhere_is_not_gone_on_with_in_emulation(plain, video, colours, tmp_path):
    """`--precision` cannot mend it, and is not offered."""
    path = learning_cache(tmp_path / "c.zarr", 9, weights={"precision": "bf16"})
    for name in ("auto", "fp32", "bf16"):
        asked = ExtractConfig(weights="random", detector="none", precision=name)
        remedy = refused(lambda asked=asked: extract_videos(find_inputs([video]), path, asked), "was started in bf16")
        assert "a machine that computes in bf16, or another --out" in remedy
        refused(lambda name=name: again(colours, path, random_start(), precision=name), "was started in bf16")


def test_recaching_refuses(plain, colours, tmp_path):
    refused(lambda: again(colours, tmp_path / "r.zarr", random_start(), precision="bf16"))
    cache, holdout = open_cache(colours), ProtocolConfig(kind="holdout")
    asked = config(precision="bf16")
    refused(lambda: recache_tuned(cache, tmp_path / "t.zarr", asked, protocol=holdout, parts=2))
    assert not list(tmp_path.iterdir())


def test_tuning_refuses_before_anything_is_read(plain, colours, tmp_path, monkeypatch):
    def read(*arguments):
        raise AssertionError("read")

    monkeypatch.setattr(tune_encoder, "clip_samples", read)
    refused(lambda: tune_cache(colours, tmp_path / "t.safetensors", config(precision="bf16")))
    assert not list(tmp_path.iterdir())


def test_a_tuning_begun_elsewhere_is_not_resumed_in_emulation(plain, colours, tmp_path):
    out, asked = tmp_path / "t.safetensors", config(epochs=2)
    with pytest.raises(KeyboardInterrupt):
        tune_cache(colours, out, asked, watch=Recorder(1))
    found = load_checkpoint(out.with_suffix(".tuning"))
    save_checkpoint(out.with_suffix(".tuning"), found.tensors, {**found.meta, "precision": "bf16"})
    assert "resume on a machine that computes in it" in refused(lambda: tune_cache(colours, out, asked))


def test_what_is_tuned_already_is_left_alone(plain, colours, tmp_path, monkeypatch):
    """Nothing is left to compute, so nothing is refused."""
    out = tmp_path / "t.safetensors"
    monkeypatch.setattr(precisions, "cpu_flags", lambda: frozenset({"avx512_bf16"}))
    with pytest.raises(KeyboardInterrupt):
        tune_cache(colours, out, config(epochs=1, precision="bf16"), watch=Recorder(1))
    tune_cache(colours, out, config(epochs=1, precision="bf16"))
    monkeypatch.setattr(precisions, "cpu_flags", lambda: frozenset({"avx2"}))
    assert tune_cache(colours, out, config(epochs=1, precision="bf16")) == out


@pytest.mark.parametrize("learns", ["none", "layer4"])
def test_training_and_fine_tuning_refuse(plain, learnable, colours, tmp_path, learns):
    cache = learnable if learns == "none" else colours
    asked = tiny_config(precision="bf16", finetune=FinetuneConfig(learns=learns))
    refused(lambda: fit(cache, tmp_path / "run", asked))
    assert not list(tmp_path.iterdir())


def test_a_run_begun_elsewhere_is_not_resumed_in_emulation(plain, learnable, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(learnable, out, tiny_config(), watch=Recorder(3))
    write_json(out / FACTS, {**read_json(without_digests(out) / FACTS), "precision": "bf16"})
    remedy = refused(lambda: fit(None, out, resume=True))
    assert "resume the run on a machine that computes in it" in remedy


def test_a_run_trained_elsewhere_is_scored_and_the_price_is_told(plain, learnable, tmp_path):
    run = fit(learnable, tmp_path / "run", tiny_config(epochs=1)).run
    watch = Recorder()
    evaluate(run.path, watch=watch)
    assert not any("emulated" in text for text in watch.warned)
    write_json(run.path / FACTS, {**read_json(without_digests(run.path) / FACTS), "precision": "bf16"})
    found = evaluate(run.path, watch=watch)
    assert np.isfinite(found.scores.war)
    assert any("trained in bf16" in text and "emulated" in text for text in watch.warned)


@pytest.mark.parametrize(
    "line",
    [
        "extract {video} --weights random --precision bf16 --out {out}",
        "train --cache {learnable} --set loop.precision=bf16 --out {out}",
        "train --cache {learnable} --precision fp16 --out {out}",
        "tune --cache {colours} --weights random --precision bf16 --out {out}",
        "tune --images {images} --weights random --precision bf16 --out {out}",
        "recache {colours} --tune --holdout --cross-fit 2 --precision bf16 --out {out}",
        "recache {colours} --tune --holdout --cross-fit 2 --train --set loop.precision=bf16 --out {out}",
    ],
)
def test_the_commands_end_with_a_remedy(plain, capsys, video, learnable, colours, tmp_path, line):
    images = write_list(
        tmp_path / "images.csv",
        "path,label",
        [f"{path},{label}" for path, label in write_images(tmp_path / "images")],
    )
    before = sorted(tmp_path.iterdir())
    places = {"video": video, "learnable": learnable, "colours": colours, "images": images}
    places["out"] = tmp_path / ("o.safetensors" if line.startswith("tune") else "o.zarr")
    with pytest.raises(SystemExit) as ended:
        main([word.format(**places) for word in line.split()])
    printed = capsys.readouterr()
    assert ended.value.code == 1, printed
    assert "emulated" in printed.err
    assert "precision fp32" in printed.err.replace("=", " ")
    assert "Traceback" not in printed.err
    assert sorted(tmp_path.iterdir()) == before
