"""Engines: onnxruntime says what torch says, in fp32 to the last digits and in int8 to a small part of what tells frames apart."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
import xxhash
from torch import nn

from est.encoders.backbone import FrameEncoder, Normalization
from est.encoders.encoder import Encoder
from est.encoders.engines import folder, graph, preparation, runtime
from est.encoders.engines.calibration import bits_of, joined, rounded_up, rounding_of
from est.encoders.engines.choice import Begun, choose_engine
from est.encoders.engines.pictures import calibration_pictures
from est.encoders.engines.preparation import prepare
from est.encoders.weights import load_weights
from est.errors import EstError

CPU = torch.device("cpu")
SIDE = 32
TAPS = ("gap", "maps")
LEFT = [("ranges", ""), ("ranges", ".partial"), ("ranges", ".partial2")]  # endings of files that a kill left
SAME = 2e-5  # largest error in fp32 beside the largest number
NEAR = 0.4  # error in int8 beside the deviation between pictures: large because pictures of 32 have one place to average over


class Tiny(FrameEncoder):
    """A small network with everything that int8 knows: convolutions, a pool, a residual sum, a product."""

    name, title, width, tap_names = "tiny", "Tiny", 8, TAPS

    def __init__(self):
        super().__init__()
        self.normalization = Normalization.named("imagenet")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.first, self.second = nn.Conv2d(3, 16, 5, stride=2), nn.Conv2d(16, 16, 3, padding=1)
            self.last = nn.Linear(16, 8)

    def taps(self, images, names):
        x = F.max_pool2d(F.relu(self.first(self.normalize(images))), 2)
        x = F.relu(self.second(x) + x)
        return {"gap": self.last(x.float().mean((2, 3)).to(x.dtype)), "maps": x}

    def shape_of(self, tap, size):
        side = (size - 3) // 4
        return (8,) if tap == "gap" else (16, side, side)


@pytest.fixture
def kept():
    """The folder of engines of these tests."""
    return folder.engines_folder()


@pytest.fixture(scope="module")
def crops():
    return calibration_pictures(SIDE)[::5]


def engine(backbone, name, precision, taps=TAPS, batch=32, bits=None):
    prepared = prepare(backbone, SIDE, choose_engine(name, precision, CPU, begun=Begun(bits=bits)), lambda line: None)
    return prepared.build(taps, CPU, batch)


def errors(found, wanted):
    """Return the error of each tap beside the deviation between pictures."""
    for name, values in found.items():
        deviation = wanted[name].reshape(len(values), -1).std(0).mean()
        yield float(np.sqrt(np.square(values - wanted[name]).mean()) / deviation)


def test_fp32_says_what_torch_says(crops):
    torchs, other = (engine(Tiny(), name, "fp32") for name in ("torch", "onnxruntime"))
    mirrored = torchs.encode(np.ascontiguousarray(crops[:3, :, ::-1]))
    pairs = (other.encode(crops), torchs.encode(crops)), (other.encode(crops[:3], ("maps",), mirrored=True), mirrored)
    for found, wanted in pairs:
        for name, values in found.items():
            assert values.dtype == np.float32
            assert np.abs(values - wanted[name]).max() <= SAME * np.abs(wanted[name]).max()


def test_int8_is_near_and_bits_tell(crops):
    wanted = engine(Tiny(), "torch", "fp32").encode(crops)
    fine, coarse = ([*errors(engine(Tiny(), "auto", "int8", bits=bits).encode(crops), wanted)] for bits in (8, 7))
    assert all(0 < error < NEAR / 8 for error in (*fine, *coarse))
    assert fine != coarse


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_row_depends_on_its_crop_alone(crops, precision, monkeypatch):
    together = engine(Tiny(), "onnxruntime", precision).encode(crops)
    for batch, taps in ((1, ("gap",)), (4, TAPS)):
        alone = engine(Tiny(), "onnxruntime", precision, taps, batch).encode(crops[2 : 2 + batch])
        for name in taps:
            np.testing.assert_array_equal(alone[name], together[name][2 : 2 + batch], err_msg=name)
    for lanes in (1, 2):
        monkeypatch.setattr("est.encoders.lanes.num_lanes", lambda lanes=lanes: lanes)
        found = engine(Tiny(), "onnxruntime", precision).encode(np.concatenate([crops] * 5))  # more than one part
        for name in TAPS:
            np.testing.assert_array_equal(found[name], np.concatenate([together[name]] * 5), err_msg=name)


@pytest.mark.parametrize("batch", [4, 32])
def test_every_run_of_a_graph_is_of_the_same_few_crops(crops, batch):
    """What lies between two layers stays small, lanes share a batch, and rows do not depend on how frames fall into batches."""
    made, seen = engine(Tiny(), "onnxruntime", "fp32", ("gap",), batch), []

    def run(names, given, options):
        (values,) = given.values()
        seen.append(values.shape)
        return [values.mean((1, 2))]

    made._session = SimpleNamespace(run=run)
    part = min(batch, 8)
    for count in (0, *range(1, batch + 1, 3)):
        found = made.encode(np.concatenate([crops] * 4)[:count])["gap"]
        assert found.shape == (count, 3)
        assert seen == [(part, SIDE, SIDE, 3)] * max(-(-count // part), 1)
        seen.clear()


def test_resnet18_in_integers(crops, tmp_path):
    """Every convolution, sum and pool has its integer form, else int8 is slower than fp32; and what it says is near."""
    backbone = load_weights("synface").backbone
    wanted = Encoder(backbone, ("gap",), device=CPU, precision="fp32", batch=16).encode(crops)
    prepared = prepare(backbone, SIDE, choose_engine("auto", "int8", CPU), lambda line: None)
    (error,) = errors(prepared.build(("gap",), CPU, 16).encode(crops), wanted)
    assert 0 < error < NEAR
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(prepared.graph(("gap",)), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 20
    assert kinds.count("QLinearAdd") == 8
    assert not {"Conv", "Relu", "Add", "Mul", "QuantizeLinear"} & set(kinds)  # bytes of pixels are read as they are


def test_the_pictures_are_the_same_everywhere():
    found = calibration_pictures(48)
    assert found.shape == (50, 48, 48, 3)
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == "c85c8d2804dd9b0e"


def test_ranges_are_rounded_outwards():
    for value in (0.0, 1.0, 1.01, 3.999, 1e-9, 12345.6):
        assert value <= rounded_up(value) <= value * (1 + 1 / 16)
        assert rounded_up(rounded_up(value)) == rounded_up(value)
    assert rounded_up(7.3) == rounded_up(7.3 * (1 + 1e-6))


def test_names_of_calibrations():
    one, two = "8-bit weights, ranges aa", "8-bit weights, ranges bb"
    assert (bits_of(one), bits_of("7-bit weights, ranges aa"), bits_of("")) == (8, 7, None)
    assert (joined([""]), joined([one, one])) == ("", one)
    assert joined([one, two]).startswith("8-bit weights, ranges ")
    later = "8-bit weights, rounding 2, ranges aa"
    assert (bits_of(later), rounding_of(joined([later, later + "b"]))) == (8, "8-bit weights, rounding 2")
    assert len({one, two, joined([one, two]), joined([two, one]), joined([one, one, two, "another"])}) == 5


# ---------------------------------------------------------------------------------------------------------------------------------
# the folder


def test_a_damaged_file_is_made_again(kept, crops):
    said = []
    how = choose_engine("auto", "int8", CPU)
    before = prepare(Tiny(), SIDE, how, said.append)
    (kept / f"{before.digest}.ranges").unlink()  # these alone are measured
    said.clear()
    prepare(Tiny(), SIDE, how, said.append)
    assert [line.split(":")[0] for line in said] == ["tiny is calibrated for int8"]
    wanted = before.build(("gap",), CPU, 8).encode(crops[:2])["gap"]
    files = [kept / f"{before.digest}{ending}" for ending in (".onnx", ".ranges")]
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:])
        said.clear()
        after = prepare(Tiny(), SIDE, how, said.append)
        assert said[0] == f"{path} is damaged, so it is made again"
        assert after.calibration == before.calibration
        np.testing.assert_array_equal(after.build(("gap",), CPU, 8).encode(crops[:2])["gap"], wanted)
    said.clear()
    prepare(Tiny(), SIDE, how, said.append)
    assert said == []
    assert not [path for path in kept.iterdir() if path.suffix not in (".onnx", ".ranges")]


def test_ranges_are_kept_by_the_names_of_tensors(kept, crops):
    how = choose_engine("auto", "int8", CPU)
    encoder = prepare(Tiny(), SIDE, how, lambda line: None)
    path, wanted = kept / f"{encoder.digest}.ranges", encoder.graph(("gap",))
    named = json.loads(folder.kept(path.name, list, print))
    swapped = dict(zip([*list(named)[1::-1], *list(named)[2:]], named.values(), strict=True))
    fewer = dict(list(named.items())[1:])
    for held in (swapped, fewer, list(fewer.values())):
        folder._write(path, sealed(json.dumps(held).encode()), print)
        with pytest.raises(EstError, match=f"{path} holds the ranges of {len(held)} activations") as refused:
            prepare(Tiny(), SIDE, how, lambda line: None).graph(("gap",))
        assert refused.value.remedy.startswith(f"delete {path}")
    folder._write(path, sealed(json.dumps(list(named.values())).encode()), print)  # as earlier code wrote them
    again = prepare(Tiny(), SIDE, how, lambda line: None)
    assert again.calibration == encoder.calibration
    assert again.graph(("gap",)) == wanted


def sealed(body: bytes) -> bytes:
    """Return a file of the folder as a sound one."""
    return folder.HEAD + xxhash.xxh3_128(body).digest() + body


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "est").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = []
    assert folder.kept("x.ranges", lambda: b"made", said.append) == b"made"
    assert len(said) == 1
    assert "could not be written" in said[0]
    monkeypatch.setenv("XDG_CACHE_HOME", "not absolute")  # as the standard says: ignored
    assert folder.engines_folder().parts[-3:] == (".cache", "est", "engines")


def test_the_files_used_last_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(folder.MOST, ".ranges", 3 * len(sealed(b"made")))
    for number in (0, 1, 3):  # of other processes
        folder._write(tmp_path / "est" / "engines" / f"{number}.ranges", sealed(b"made"), print)
        os.utime(tmp_path / "est" / "engines" / f"{number}.ranges", (number, number))
    assert folder.kept("0.ranges", lambda: b"not made", print) == b"made"  # which was used now
    left = [tmp_path / "est" / "engines" / f"9.{ending}.77.88{partial}" for ending, partial in LEFT]
    for number, path in enumerate(left):
        path.write_bytes(b"")
        os.utime(path, (0, 0) if number < 2 else None)
    threads = [threading.Thread(target=folder.kept, args=("2.ranges", lambda: b"made", print)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = sorted(path.name for path in (tmp_path / "est" / "engines").iterdir())
    assert found == ["0.ranges", "2.ranges", "3.ranges", left[2].name]  # of a writer that may be at work


def test_what_a_process_has_used_is_not_made_twice(tmp_path, monkeypatch):
    """A re-caching prepares all encoders, and then builds each: 30 with the options as they are, 45 MB each."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(folder.MOST, ".onnx", 100)
    made = []
    for _ in range(2):
        for number in range(30):
            folder.kept(f"{number}.onnx", lambda number=number: made.append(number) or bytes(40), print)
    assert made == list(range(30))
    monkeypatch.setattr(folder, "_used_here", set())  # another process
    folder.kept("other.onnx", lambda: bytes(100), print)
    assert [path.name for path in folder.engines_folder().iterdir()] == ["other.onnx"]


@pytest.mark.parametrize("other", ["thread", "process"])
def test_two_that_write_the_same_file_at_once_do_not_share_a_temporary_one(tmp_path, monkeypatch, other):
    """The one that renames first would take away the file of the other, or publish what that one has half written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rename, said = folder.Disk.rename, []

    def second():
        folder.kept("x.ranges", lambda: b"made by the second", said.append)

    def after_the_second(disk, source, target):
        monkeypatch.setattr(folder.Disk, "rename", rename)
        if other == "thread":
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()
        else:
            with monkeypatch.context() as patched:
                patched.setattr(folder.os, "getpid", lambda: 77)
                second()
        rename(disk, source, target)

    monkeypatch.setattr(folder.Disk, "rename", after_the_second)
    assert folder.kept("x.ranges", lambda: b"made by the first", said.append) == b"made by the first"
    assert folder.kept("x.ranges", lambda: b"made again", said.append) == b"made by the first"
    assert said == []
    assert [path.name for path in folder.engines_folder().iterdir()] == ["x.ranges"]


def test_the_name_of_a_graph_tells_all_that_it_is_made_of():
    plain, heavier, moved = Tiny(), Tiny(), Tiny()
    with torch.no_grad():
        heavier.last.weight[3, 5] += 1e-3
    moved.normalization = Normalization.named("none")
    renamed, fewer = Tiny(), Tiny()
    renamed.name, fewer.tap_names = "other", ("gap",)
    made = [folder.digest_of(one, SIDE) for one in (plain, heavier, moved, renamed, fewer)]
    assert len({*made, folder.digest_of(plain, SIDE + 1)}) == 6
    assert folder.digest_of(Tiny(), SIDE) == made[0]


# ---------------------------------------------------------------------------------------------------------------------------------
# encoders that cannot be exported


class Odd(FrameEncoder):
    """An encoder with a step that ONNX cannot express."""

    name, title, width = "odd", "Odd", 3

    def __init__(self):
        super().__init__()
        self.normalization = Normalization()

    def taps(self, images, names):
        return {"gap": torch.linalg.svdvals(images[:, 0])[:, :3]}

    def shape_of(self, tap, size):
        return (3,)


def test_what_cannot_be_exported_is_named(crops, monkeypatch):
    with pytest.raises(EstError, match=r"odd cannot be computed by onnxruntime: .* the operator aten::") as refused:
        engine(Odd(), "onnxruntime", "int8", ("gap",))
    assert "--engine torch" in refused.value.remedy
    with pytest.raises(EstError, match="the operator aten::"):
        engine(Odd(), "onnxruntime", "fp32", ("gap",))
    monkeypatch.setattr("est.encoders.engines.choice.is_fast_here", lambda: True)
    said = []
    prepared = prepare(Odd(), SIDE, choose_engine("auto", "fp32", CPU), said.append)
    assert prepared.engine == "torch"
    assert said[-1].endswith("torch computes it")
    assert prepared.build(("gap",), CPU, 4).encode(crops[:2])["gap"].shape == (2, 3)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (IndexError("tuple index out of range\nat 7"), r"its export failed \(IndexError: tuple index out of range\)\."),
        (RuntimeError(""), r"its export failed \(RuntimeError\)\."),
    ],
)
def test_what_else_the_exporter_raises_is_told_as_it_is(monkeypatch, error, said):
    def export(*arguments, **options):
        raise error

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(EstError, match=rf"^tiny cannot be computed by onnxruntime: {said}(?m:$)"):
        graph.trace(Tiny(), SIDE)


@pytest.mark.parametrize(("message", "said"), [("no such type\nat 7", "no such type"), ("", "ValueError")])
def test_a_graph_that_cannot_be_opened_is_left_to_torch(monkeypatch, message, said):
    def refuse(*arguments, **options):
        raise ValueError(message)

    monkeypatch.setattr("est.encoders.engines.choice.is_fast_here", lambda: True)
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    lines = []
    assert preparation.prepare(Tiny(), SIDE, choose_engine("auto", "fp32", CPU), lines.append).engine == "torch"
    assert lines[-1].endswith(f"cannot open the graph of the encoder: {said}: torch computes it")
    with pytest.raises(EstError, match=f"cannot open the graph of the encoder: {said}(?m:$)"):
        runtime.make_session(b"")


def test_infinite_activations_are_refused_by_name():
    endless = Tiny()
    with torch.no_grad():
        endless.first.weight.fill_(1e38)
    with pytest.raises(EstError, match="tiny cannot be calibrated for int8: some of its activations are infinite"):
        engine(endless, "auto", "int8")


# ---------------------------------------------------------------------------------------------------------------------------------
# what onnxruntime keeps of the machine


@pytest.mark.parametrize("own", [{}, {"ORT_DISABLE_TELEMETRY": "0"}], ids=["est's", "the user's"])
def test_onnxruntime_keeps_no_events_unless_the_user_wants_them(own):
    others = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    code = "import os, est; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    said = subprocess.run([sys.executable, "-c", code], env=others | own, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == own.get("ORT_DISABLE_TELEMETRY", "1")
