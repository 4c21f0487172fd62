"""The torch RetinaFace is the packaged one: the same raw outputs, the same boxes, whoever shares its batch."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from processor import PRECISIONS, needs_bf16

from est.demo.clip import Clip
from est.demo.spec import RenderSpec, plan_set
from est.errors import UsageError
from est.extract.faces.detect import DETECTORS, build_detector
from est.extract.faces.detect.anchors import decode, make_anchors
from est.extract.faces.detect.base import Detections, reduced_size

cv2 = pytest.importorskip("cv2")
onnxruntime = pytest.importorskip("onnxruntime")
retinaface = pytest.importorskip("retinaface")
from retinaface.weights import WEIGHTS  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Beside other tests two threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def group():
    """A photograph of six people, 1280 × 886 BGR, that comes with insightface."""
    import insightface

    image = cv2.imread(str(Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"))
    assert image.shape == (886, 1280, 3)
    return image


@pytest.fixture(scope="module")
def rendered():
    """Frames with their truth: 12 people, 3 moments each."""
    return render_frames(RenderSpec(subjects=12, clips_per_subject=1, seed=31, size=(320, 180)), 3)


@pytest.fixture(scope="module")
def session():
    """The package's own graph in onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
    return onnxruntime.InferenceSession(WEIGHTS, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def detector():
    return build_detector("retinaface", batch_size=2)


@pytest.fixture(scope="module")
def detector_bf16():
    return build_detector("retinaface", precision="bf16", batch_size=2)


def render_frames(spec, frames_per_clip):
    rng = np.random.default_rng(0)
    images, truths = [], []
    for plan in plan_set(spec):
        clip = Clip(plan)
        for number in rng.integers(0, plan.num_frames, frames_per_clip):
            image, truth = clip.frame(int(number))
            images.append(image)
            truths.append(truth)
    return np.stack(images), truths


def raw_of_graph(session, images):
    """Return what the graph says, in the order of our outputs: scores after the softmax, box, points."""
    pixels = (images.astype(np.float32) - np.array([104, 117, 127], np.float32)).transpose(0, 3, 1, 2)
    box, scores, points = session.run(["loc", "conf", "landmarks"], {"input": np.ascontiguousarray(pixels)})
    return np.concatenate([scores, box, points], axis=2)


def raw_of_ours(detector, images):
    raw = detector.raw(images).numpy().copy()
    raw[..., 1] = 1 / (1 + np.exp(raw[..., 0] - raw[..., 1]))
    raw[..., 0] = 1 - raw[..., 1]
    return raw


def overlap(one, two):
    common = np.prod(np.maximum(np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2]), 0))
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two))
    return common / (area - common)


def same(one: Detections, two: Detections):
    return all(
        getattr(one, name).tobytes() == getattr(two, name).tobytes() for name in ("boxes", "scores", "landmarks")
    )


# --- equality with the reference ---


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (33, 17), (161, 90), (319, 181), (119, 223), (320, 192), (97, 310)])
def test_raw_outputs_are_those_of_the_graph(detector, session, group, size):
    image = cv2.resize(group, size)[None]
    assert np.abs(raw_of_ours(detector, image) - raw_of_graph(session, image)).max() < 1e-4


def test_raw_outputs_are_those_of_the_graph_at_full_size(detector, session, group):
    difference = np.abs(raw_of_ours(detector, group[None]) - raw_of_graph(session, group[None])).max()
    assert 0 < difference < 1e-4


def test_a_grey_picture_is_a_picture(detector, session, group):
    grey = cv2.cvtColor(cv2.cvtColor(cv2.resize(group, (640, 443)), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)[None]
    assert np.abs(raw_of_ours(detector, grey) - raw_of_graph(session, grey)).max() < 1e-4
    assert len(detector.detect(grey)[0]) == 6


@pytest.mark.parametrize("threshold", [0.3, 0.8, 0.99])
def test_boxes_are_those_of_the_reference_post_processing(monkeypatch, session, group, rendered, threshold):
    """The package's own code on the graph's own outputs, before it cuts off the fractions."""
    reference = importlib.import_module(
        "retinaface.postprocess"
    )  # the package's attribute of that name is the function
    found = []
    monkeypatch.setattr(reference, "create_face", lambda box, score, points: (box, score, points.reshape(5, 2)))
    detector = build_detector("retinaface", score_threshold=threshold, batch_size=1)
    for image in (group, *rendered[0][:6]):
        pixels = (image[None].astype(np.float32) - np.array([104, 117, 127], np.float32)).transpose(0, 3, 1, 2)
        outputs = session.run(["loc", "conf", "landmarks"], {"input": np.ascontiguousarray(pixels)})
        (faces,) = reference.postprocess(outputs, *pixels.shape, score_threshold=threshold)
        (ours,) = detector.detect(image[None])
        assert len(faces) == len(ours)
        for number, (box, score, points) in enumerate(faces):
            corners = np.concatenate([box[:2], box[:2] + box[2:]])
            assert np.abs(ours.boxes[number] - corners).max() < 0.1
            assert np.abs(ours.landmarks[number] - points).max() < 0.1
            assert abs(ours.scores[number] - score) < 1e-4
            found.append(score)
    assert len(found) >= 11


def test_six_faces_where_the_package_finds_them(detector, group):
    faces = retinaface.detect_faces(np.ascontiguousarray(group[..., ::-1]), score_threshold=0.8)
    (ours,) = detector.detect(group[None])
    assert len(faces) == len(ours) == 6
    for face, box, landmarks in zip(faces, ours.boxes, ours.landmarks, strict=True):
        whole = np.array([face.x, face.y, face.x + face.width, face.y + face.height])
        assert np.abs(box - whole)[:2].max() < 1
        assert np.abs(box - whole).max() < 2  # left and width are both cut off to whole numbers
        assert np.abs(landmarks - [(point.x, point.y) for point in face.landmarks]).max() < 1


def test_rendered_faces_are_found_where_they_are(detector, rendered):
    images, truths = rendered
    overlaps = []
    for found, truth in zip(detector.detect(images), truths, strict=True):
        assert not truth.visible or len(found) == 1
        if truth.visible:
            overlaps.append(overlap(found.boxes[0], np.array(truth.box)))
            assert np.abs(found.landmarks[0] - truth.landmarks).max() < 0.3 * (truth.box[2] - truth.box[0])
    assert len(overlaps) > 30
    assert np.mean(overlaps) > 0.85


# --- batches ---


@pytest.mark.parametrize("precision", PRECISIONS)
def test_results_do_not_depend_on_who_shares_a_batch(rendered, precision):
    images = rendered[0][:11]
    whole = build_detector("retinaface", precision=precision, score_threshold=0.1, batch_size=4)
    alone = [whole.detect(image[None])[0] for image in images]
    assert sum(map(len, alone)) >= 11
    splits = [[11], [1, 3, 7], [2, 9]]
    for sizes in splits:
        parts = np.split(images, np.cumsum(sizes)[:-1])
        together = [found for part in parts for found in whole.detect(part)]
        assert all(map(same, alone, together)), sizes
    order = np.random.default_rng(1).permutation(11)
    shuffled = whole.detect(images[order])
    assert all(same(alone[k], found) for k, found in zip(order, shuffled, strict=True))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_raw_outputs_do_not_depend_on_the_place_in_a_batch(precision, rendered):
    detector = build_detector("retinaface", precision=precision)
    images = rendered[0][:8]
    forward, backward = detector.raw(images), detector.raw(images[::-1])
    assert forward.numpy().tobytes() == backward.flip(0).numpy().tobytes()


def test_frames_may_be_read_only_views(detector, rendered):
    images = rendered[0][:2]
    shared = np.ascontiguousarray(images[..., ::-1])[..., ::-1]  # the same values, another memory order
    shared.setflags(write=False)
    assert all(map(same, detector.detect(images), detector.detect(shared)))


def test_no_images_no_detections(detector):
    assert detector.detect(np.zeros((0, 64, 64, 3), np.uint8)) == []


@pytest.mark.parametrize("name", ["retinaface", "none"])
@pytest.mark.parametrize("shape", [(64, 64, 3), (1, 64, 64), (1, 64, 64, 4), (1, 0, 64, 3)])
def test_what_is_no_batch_of_pictures_is_refused(name, shape):
    with pytest.raises(ValueError, match="expected images"):
        build_detector(name).detect(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="float32"):
        build_detector(name).detect(np.zeros((1, 64, 64, 3), np.float32))


def test_an_empty_scene_has_no_face_and_keeps_the_shapes(detector):
    (found,) = detector.detect(np.zeros((1, 96, 128, 3), np.uint8))
    assert (found.boxes.shape, found.scores.shape, found.landmarks.shape) == ((0, 4), (0,), (0, 5, 2))
    assert {array.dtype for array in (found.boxes, found.scores, found.landmarks)} == {np.dtype(np.float32)}


# --- reduced precision ---


@needs_bf16
def test_a_detector_in_bf16_says_so(detector_bf16):
    assert detector_bf16.precision == "bf16"


def compare_bf16(detector, detector_bf16, images):
    """Return the share of images with the same faces, and the overlaps of those."""
    equal, overlaps = [], []
    for exact, rough in zip(detector.detect(images), detector_bf16.detect(images), strict=True):
        equal.append(len(exact) == len(rough))
        if equal[-1]:
            overlaps += [overlap(*pair) for pair in zip(exact.boxes, rough.boxes, strict=True)]
    return np.mean(equal), np.array(overlaps)


@needs_bf16
def test_bf16_finds_the_same_faces(detector, detector_bf16, rendered):
    equal, overlaps = compare_bf16(detector, detector_bf16, rendered[0])
    assert equal >= 0.99
    assert overlaps.min() > 0.94
    assert overlaps.mean() > 0.985


@needs_bf16
def test_bf16_finds_the_six_people(detector, detector_bf16, group):
    exact, rough = detector.detect(group[None])[0], detector_bf16.detect(group[None])[0]
    assert len(rough) == 6
    nearest = [max(range(6), key=lambda k: overlap(box, rough.boxes[k])) for box in exact.boxes]
    assert sorted(nearest) == list(range(6))
    assert np.abs(exact.boxes - rough.boxes[nearest]).max() < 1.0
    assert np.abs(exact.landmarks - rough.landmarks[nearest]).max() < 1.0


@needs_bf16
@pytest.mark.slow
@pytest.mark.parametrize("size", [(640, 360), (320, 180)])
def test_bf16_finds_the_same_faces_on_many_people(detector, detector_bf16, size):
    images, _ = render_frames(RenderSpec(subjects=60, clips_per_subject=1, seed=32, size=size), 5)
    equal, overlaps = compare_bf16(detector, detector_bf16, images)
    assert equal >= 0.99
    assert overlaps.min() > 0.9
    assert overlaps.mean() > 0.985


# --- parts ---


def test_anchors_are_those_of_the_reference():
    from retinaface.postprocess import ANCHOR_SIZES, ANCHOR_STRIDES, generate_anchors

    for width, height in [(640, 360), (97, 31), (8, 8), (1, 1)]:
        expected = np.concatenate(
            [generate_anchors(*level, width, height, 1)[0] for level in zip(ANCHOR_STRIDES, ANCHOR_SIZES, strict=True)]
        )
        expected = expected * [width, height, width, height]
        ours = make_anchors(width, height)
        assert np.allclose(ours[:, [0, 1, 2, 2]], expected)


def test_decoding_a_planted_face():
    anchors = np.array([[100.0, 50.0, 64.0], [104.0, 50.0, 64.0], [300.0, 200.0, 16.0]])
    raw = np.zeros((3, 16), np.float32)
    raw[:, 1] = [3.0, 2.0, 1.0]  # the logit of a face
    raw[0, 2:6] = [1.0, -1.0, 5 * np.log(2), 0.0]  # moved by a tenth of 64, twice as wide
    raw[0, 6:8] = [0.0, 5.0]
    found = decode(raw, anchors, 0.7)
    assert len(found) == 2  # the second overlaps the first by 0.49 > 0.4
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-3.0, -1.0])), rtol=1e-6)
    np.testing.assert_allclose(found.boxes, [[42.4, 11.6, 170.4, 75.6], [292, 192, 308, 208]], atol=1e-4)
    np.testing.assert_allclose(found.landmarks[0, :2], [[100, 82], [100, 50]], atol=1e-4)
    assert len(decode(raw, anchors, 0.9)) == 1


def test_reduction_keeps_the_shape_and_never_enlarges():
    assert reduced_size(1280, 720, 320) == (320, 180)
    assert reduced_size(720, 1280, 320) == (180, 320)
    assert reduced_size(200, 100, 320) == (200, 100)
    assert reduced_size(4000, 1, 320) == (320, 1)
    assert reduced_size(1280, 720, None) == (1280, 720)


def test_scaled_boxes_are_those_of_the_larger_image(detector, rendered):
    image, truth = rendered[0][0], rendered[1][0]
    assert truth.visible
    small = detector.detect(cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)[None])[0]
    found = small.scaled(320 / 160, 180 / 120)
    assert overlap(found.boxes[0], np.array(truth.box)) > 0.7


# --- names ---


def test_none_is_the_whole_frame():
    detector = build_detector("none")
    found = detector.detect(np.zeros((2, 90, 120, 3), np.uint8))
    assert len(found) == 2
    for faces in found:
        np.testing.assert_array_equal(faces.boxes, [[0, 0, 120, 90]])
        np.testing.assert_array_equal(faces.scores, [1])
        assert faces.landmarks.shape == (1, 5, 2)
        assert np.isnan(faces.landmarks).all()
        assert faces.boxes.dtype == faces.landmarks.dtype == faces.scores.dtype == np.float32


def test_a_detector_says_what_it_is(detector):
    assert detector.name == "retinaface"
    assert detector.digest == hashlib.sha256(WEIGHTS).hexdigest()[:16]
    assert "MIT" in detector.licence
    assert detector.precision == "fp32"
    assert build_detector("none").name == "none"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("retinanet", "retinaface"),
        ("insightface:", "insightface:"),
        ("buffalo_l", "insightface:buffalo_l"),
        ("non", "none"),
    ],
)
def test_an_unknown_name_brings_the_nearest(name, near):
    with pytest.raises(UsageError) as error:
        build_detector(name)
    assert repr(name) in error.value.message
    assert near in error.value.remedy
    assert error.value.remedy.removeprefix("--detector ") in DETECTORS


@pytest.mark.parametrize("settings", [{"score_threshold": 0}, {"score_threshold": 1.0}, {"batch_size": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(UsageError):
        build_detector("retinaface", **settings)
