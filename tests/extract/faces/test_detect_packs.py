"""insightface's packs: what is wrong with one is said, and a right one runs where and how it was told to.

The pack here is made by the test: a graph with a detector's outputs that sees a face of planted size wherever a cell is bright.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np
import onnx
import pytest
import torch
from detector_samples import not_a_detector, stand_in

from est.errors import EstError, UsageError
from est.extract.faces.detect import build_detector, pack
from est.extract.faces.detect.pack import find_detector, pack_folder
from est.extract.faces.detect.scrfd import check_session, execution_providers

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def models(tmp_path):
    """A model root with one good pack, `standin`."""
    folder = tmp_path / "models" / "standin"
    folder.mkdir(parents=True)
    stand_in(folder / "det_tiny.onnx")
    not_a_detector(folder / "1k3d68.onnx")
    return tmp_path


@pytest.fixture
def build(models):
    """`build(pack="standin", **settings)` → Detector."""
    return lambda pack="standin", **settings: build_detector(f"insightface:{pack}", models_dir=models, **settings)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """insightface's own root, empty, and a network that is down."""
    import insightface.utils

    def refuse(*arguments, **settings):
        print("download_path: noise")  # noqa: T201
        raise ConnectionError("Network is unreachable")

    monkeypatch.setattr(insightface.utils, "ensure_available", refuse)
    monkeypatch.setattr(pack, "DEFAULT_ROOT", tmp_path / "home")
    return tmp_path / "home"


def picture(width, height, *cells):
    """Return a black picture with white 8 × 8 cells, by column and row."""
    image = np.zeros((height, width, 3), np.uint8)
    for column, row in cells:
        image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 255
    return image


# --- what can be wrong with a pack ---


def test_a_missing_pack_is_not_downloaded_and_the_command_that_does_is_named(no_network, monkeypatch):
    monkeypatch.setattr("insightface.utils.ensure_available", lambda *_, **__: pytest.fail("downloads"))
    with pytest.raises(EstError, match="est downloads only on request") as error:
        build_detector("insightface:buffalo_l")
    assert str(no_network / "models" / "buffalo_l") in error.value.message
    assert error.value.remedy.startswith("est doctor --detector insightface:buffalo_l --fetch downloads it")
    assert "retinaface" in error.value.remedy
    with pytest.raises(UsageError, match=r"insightface publishes buffalo_l, .*found 'bufalo_l'") as error:
        build_detector("insightface:bufalo_l")
    assert error.value.remedy == "--detector insightface:buffalo_l"


def test_a_download_that_fails_is_said_once_and_in_one_line(no_network, capsys):
    with pytest.raises(EstError) as error:
        pack.pack_folder("buffalo_l", None, download=True)
    assert str(no_network / "models" / "buffalo_l") in error.value.message
    assert "Network is unreachable" not in error.value.message, "the cause says it"
    assert str(error.value.__cause__) == "Network is unreachable"
    assert "buffalo_l.zip" in error.value.remedy
    assert capsys.readouterr().out == ""


def test_a_pack_missing_in_models_dir_is_not_downloaded(no_network, tmp_path):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "other.txt").touch()
    with pytest.raises(EstError) as error:
        build_detector("insightface:buffalo_l", models_dir=tmp_path / "shelf")
    assert str(tmp_path / "shelf" / "models" / "buffalo_l") in error.value.message
    assert "other.txt (0 bytes)" in error.value.message
    assert "unreachable" not in error.value.message


def test_a_models_dir_that_does_not_exist_is_said(tmp_path):
    with pytest.raises(EstError, match=re.escape(f"no folder {tmp_path / 'nowhere'}")):
        build_detector("insightface:buffalo_l", models_dir=tmp_path / "nowhere")


@pytest.mark.parametrize("damage", ["empty folder", "empty file", "cut off", "no detector", "only others"])
def test_a_half_downloaded_pack_is_explained(build, models, damage):
    folder = models / "models" / "standin"
    file = folder / "det_tiny.onnx"
    whole = file.read_bytes()
    if damage == "empty folder":
        for item in folder.iterdir():
            item.unlink()
    elif damage == "empty file":
        file.write_bytes(b"")
    elif damage == "cut off":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "no detector":
        file.unlink()
    else:
        file.rename(folder / "det_tiny.onnx.part")
    with pytest.raises(EstError) as error:
        build()
    assert str(folder) in error.value.message
    assert f"rm -r {folder}" in error.value.remedy
    expected = {
        "empty folder": "an empty folder",
        "empty file": "det_tiny.onnx (0 bytes)",
        "cut off": "cut off: det_tiny.onnx",
        "no detector": "1k3d68.onnx",
        "only others": "det_tiny.onnx.part",
    }
    assert expected[damage] in error.value.message


def test_a_pack_one_level_too_deep_is_told_apart(build, models):
    folder = models / "models" / "standin"
    inner = folder / "standin"
    inner.mkdir()
    for file in folder.glob("*.onnx"):
        file.rename(inner / file.name)
    with pytest.raises(EstError) as error:
        build()
    assert str(inner) in error.value.message
    assert error.value.remedy == f"mv {inner}/* {folder}/"


def test_a_file_in_place_of_the_folder_is_said(build, models):
    (models / "models" / "filed").write_text("not a folder")
    with pytest.raises(EstError, match="expected a folder"):
        build("filed")


def test_a_graph_that_onnxruntime_refuses_is_an_error(build, models):
    file = models / "models" / "standin" / "det_tiny.onnx"
    model = onnx.load(file)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, file)
    with pytest.raises(EstError, match="cannot be loaded"):
        build()


def test_the_folder_may_be_given_itself_or_its_parent(models):
    assert pack_folder("standin", models) == models / "models" / "standin"
    assert pack_folder("standin", models / "models") == models / "models" / "standin"


def test_the_detector_is_known_by_its_outputs_not_its_name(models):
    folder = models / "models" / "standin"
    (folder / "det_tiny.onnx").rename(folder / "whatever.onnx")
    not_a_detector(folder / "det_misnamed.onnx")
    assert find_detector("standin", folder) == folder / "whatever.onnx"


def test_a_download_that_succeeds_is_used(monkeypatch, tmp_path, capsys):
    import insightface.utils

    def download(kind, name, root):
        print("download_path:", root)  # noqa: T201
        folder = tmp_path / "home" / kind / name
        folder.mkdir(parents=True)
        stand_in(folder / "det_tiny.onnx")

    monkeypatch.setattr(insightface.utils, "ensure_available", download)
    monkeypatch.setattr(pack, "DEFAULT_ROOT", tmp_path / "home")
    assert pack.pack_folder("fresh", None, download=True) == tmp_path / "home" / "models" / "fresh"
    assert pack.pack_folder("fresh", tmp_path / "home", download=True) == tmp_path / "home" / "models" / "fresh"
    assert build_detector("insightface:fresh").name == "insightface:fresh"
    assert capsys.readouterr().out == ""


# --- a good pack ---


def test_a_pack_says_what_it_is(build, models):
    detector = build(precision="bf16")
    assert detector.name == "insightface:standin"
    assert "SCRFD" in detector.licence
    assert "non-commercial" in detector.licence
    assert detector.precision == "fp32"  # what runs, whatever the backbone does
    weights = (models / "models" / "standin" / "det_tiny.onnx").read_bytes()
    assert detector.digest == hashlib.sha256(weights).hexdigest()[:16]


@pytest.mark.parametrize("size", [(96, 64), (100, 50), (128, 128), (33, 90)])
def test_planted_faces_are_found_where_they_are(build, capsys, size):
    images = np.stack([picture(*size, (2, 3)), picture(*size), picture(*size, (0, 0), (3, 5))])
    one, none, two = build(threads=1).detect(images)
    np.testing.assert_allclose(one.boxes, [[0, 8, 32, 40]], atol=1e-4)  # the cell's corner (16, 24) ± 2 cells
    assert 0.99 < one.scores[0] <= 1
    np.testing.assert_allclose(one.landmarks[0, 0], [16, 24.8], atol=1e-4)
    assert len(none) == 0
    assert none.landmarks.shape == (0, 5, 2)
    assert sorted(two.boxes[:, 0].tolist()) == [-16, 8]
    assert capsys.readouterr().out == ""


def test_a_face_as_large_as_the_frame_is_found_in_the_reduced_image(build, models):
    folder = models / "models" / "coarse"
    folder.mkdir()
    stand_in(folder / "det_coarse.onnx", reach=(0.0, 0.0, 2.0))
    image = np.zeros((360, 640, 3), np.uint8)
    image[:180, :320] = 255
    found = build("coarse").detect(image[None])[0]
    # 128 × 72 pixels in the reduced image, and its cells of 32 reach 64 pixels: 320 of the frame's
    sides = found.boxes[:, 2] - found.boxes[:, 0]
    assert set(np.unique(sides.round(3)).tolist()) == {128.0, 640.0}


def test_a_graph_of_one_size_gets_that_size(build, models):
    folder = models / "models" / "fixed"
    folder.mkdir()
    stand_in(folder / "det_fixed.onnx", static=True)
    image = np.kron(picture(64, 64, (2, 3)), np.ones((4, 4, 1), np.uint8))  # 256 × 256
    (found,) = build("fixed").detect(image[None])
    np.testing.assert_allclose(found.boxes, [[0, 32, 128, 160]], atol=1e-3)


def test_results_do_not_depend_on_who_shares_a_batch(build):
    images = np.stack([picture(96, 64, (k, k)) for k in range(6)])
    detector = build()
    together = detector.detect(images)
    for image, expected in zip(images, together, strict=True):
        (alone,) = detector.detect(image[None])
        assert alone.boxes.tobytes() == expected.boxes.tobytes()


def test_frames_of_many_sizes_share_one_session(build):
    detector = build()
    for width in range(40, 140, 20):
        detector.detect(picture(width, 64, (1, 1))[None])
    assert len({id(session) for session in detector._model.resolution_sessions.values()}) == 1


# --- where it runs ---


def test_threads_reach_the_session(build):
    for threads in (1, 2):
        session = build(threads=threads)._model.session
        assert session.get_session_options().intra_op_num_threads == threads
        assert session.get_providers() == ["CPUExecutionProvider"]


def test_a_gpu_needs_the_gpu_build_of_onnxruntime(monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EstError) as error:
        execution_providers(GPU)
    assert "onnxruntime-gpu" in error.value.remedy
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    first, *_ = execution_providers(torch.device("cuda", 1))
    assert first == ("CUDAExecutionProvider", {"device_id": "1"})


def test_mps_is_refused():
    with pytest.raises(EstError, match="mps"):
        execution_providers(torch.device("mps"))


class _Session:
    """What onnxruntime would say of a session."""

    def __init__(self, providers, options, threads):
        self.providers, self.options, self.threads = providers, options, threads

    def get_providers(self):
        return self.providers

    def get_provider_options(self):
        return self.options

    def get_session_options(self):
        return type("Options", (), {"intra_op_num_threads": self.threads})


@pytest.mark.parametrize(
    ("session", "cause"),
    [
        (_Session(["CPUExecutionProvider"], {}, 2), "runs on CPUExecutionProvider"),
        (_Session([], {}, 2), "runs on nothing"),
        (_Session(["CUDAExecutionProvider"], {"CUDAExecutionProvider": {"device_id": "0"}}, 2), "'device_id': '0'"),
        (_Session(["CUDAExecutionProvider"], {"CUDAExecutionProvider": {"device_id": "1"}}, 0), "2 threads"),
    ],
)
def test_a_session_that_runs_otherwise_is_refused(session, cause):
    asked = [("CUDAExecutionProvider", {"device_id": "1"}), "CPUExecutionProvider"]
    with pytest.raises(EstError, match=re.escape(cause)):
        check_session(session, asked, 2)
    good = _Session(["CUDAExecutionProvider"], {"CUDAExecutionProvider": {"device_id": "1"}}, 2)
    check_session(good, asked, 2)
