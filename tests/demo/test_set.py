"""Rendered sets on disk: whole clips or none, nothing foreign harmed, the same frames whoever renders them."""

import csv
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from watch_samples import Counting

from est.demo.clip import render_clip
from est.demo.course import SHOWN, plan_span
from est.demo.renderset import MANIFEST, UNFINISHED, render_set
from est.demo.spec import RenderSpec, plan_set
from est.errors import EstError, UsageError

TINY = RenderSpec(subjects=2, clips_per_subject=2, seed=1, size=(128, 128))


def decoded(path):
    """Return the frames of a video.  # (T, H, W, 3)"""
    reader = cv2.VideoCapture(str(path))
    frames = []
    while (read := reader.read())[0]:
        frames.append(read[1])
    return np.array(frames)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    out = tmp_path_factory.mktemp("set") / "out"
    watch = Counting()
    plans = render_set(TINY, out, workers=1, watch=watch)
    return out, plans, watch.seen


def test_a_set_is_its_clips_and_a_manifest(rendered):
    out, plans, told = rendered
    assert plans == plan_set(TINY)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert files(out) == sorted([MANIFEST, *(plan.path for plan in plans)])
    with (out / MANIFEST).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "subject", "split", "onset", "apex", "offset", "seed"]
    assert [(row["path"], int(row["apex"]), int(row["seed"])) for row in rows] == [
        (p.path, p.apex, p.seed) for p in plans
    ]
    for plan, row in zip(plans, rows, strict=True):
        assert decoded(out / plan.path).shape == (plan.num_frames, 128, 128, 3)
        shown = [frame.intensity >= SHOWN for _, frame in render_clip(plan)]
        told = [int(row[name]) if row[name] else None for name in ("onset", "offset")]
        assert told == ([shown.index(True), len(shown) - 1 - shown[::-1].index(True)] if any(shown) else [None, None])


def test_a_reversed_clip_shows_its_expression_from_the_other_end():
    for plan in plan_set(RenderSpec(subjects=1, clips_per_subject=2, temporal_pairs=True)):
        span = plan_span(plan)
        other = plan_span(replace(plan, reverse=not plan.reverse, apex=plan.num_frames - 1 - plan.apex))
        assert span is not None
        assert span[0] <= plan.apex <= span[1]
        assert other == (plan.num_frames - 1 - span[1], plan.num_frames - 1 - span[0])


def test_decoded_frames_resemble_the_rendered_ones(rendered):
    from est.demo.clip import Clip

    out, plans, _ = rendered
    frames = decoded(out / plans[0].path)
    for number in (0, 11, 29):
        assert np.abs(frames[number].astype(float) - Clip(plans[0]).frame(number)[0]).mean() < 6


def test_workers_do_not_change_the_frames(rendered, tmp_path):
    out, plans, _ = rendered
    watch = Counting()
    render_set(TINY, tmp_path / "two", workers=2, watch=watch)
    assert watch.seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for plan in plans:
        np.testing.assert_array_equal(decoded(out / plan.path), decoded(tmp_path / "two" / plan.path))
    assert (out / MANIFEST).read_bytes() == (tmp_path / "two" / MANIFEST).read_bytes()


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty: expected an empty or new folder") as error:
        render_set(TINY, tmp_path, workers=1)
    assert error.value.remedy == "--out another folder"
    (tmp_path / MANIFEST).write_text("path,label\nhappy/clip.mp4,happy\n")
    with pytest.raises(UsageError) as error:
        render_set(TINY, tmp_path, workers=1)
    assert "--overwrite" not in error.value.remedy, "a list of the user's own"
    (tmp_path / MANIFEST).write_text("path,label\nhappy/s000_00.mp4,happy\n")
    with pytest.raises(UsageError) as error:
        render_set(TINY, tmp_path, workers=1)
    assert error.value.remedy.endswith("or --overwrite, which replaces the clips of the earlier render")
    assert files(tmp_path) == [MANIFEST, "notes.txt"]


def test_overwriting_removes_what_a_render_made_and_nothing_else(tmp_path):
    one = RenderSpec(subjects=1, clips_per_subject=2, seed=1, size=(128, 128))
    first = render_set(one, tmp_path, workers=1)
    outside = tmp_path.parent / "outside.mp4"
    outside.write_text("not a clip of ours")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / first[0].label / "holiday.mp4").write_text("mine too")
    with (tmp_path / MANIFEST).open("a") as file:
        file.write("../outside.mp4,a,b,c,1,2\nnotes.txt,a,b,c,1,2\n")
    second = render_set(
        RenderSpec(subjects=1, clips_per_subject=1, seed=8, size=(128, 128)), tmp_path, overwrite=True, workers=1
    )
    expected = {MANIFEST, second[0].path, "notes.txt", f"{first[0].label}/holiday.mp4"}
    assert set(files(tmp_path)) == expected
    assert outside.exists()
    assert (tmp_path / first[0].label / "holiday.mp4").read_text() == "mine too"


def test_a_foreign_file_in_the_way_is_refused_even_when_overwriting(tmp_path):
    foreign = tmp_path / plan_set(TINY)[0].path
    foreign.parent.mkdir()
    foreign.write_text("mine")
    with pytest.raises(UsageError, match="is not listed in the manifest of a render") as error:
        render_set(TINY, tmp_path, overwrite=True, workers=1)
    assert error.value.remedy.endswith(f"rm -r {shlex.quote(str(tmp_path))}")
    assert foreign.read_text() == "mine"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="expected a folder to render into, found a file"):
        render_set(TINY, tmp_path / "out", workers=1)
    with pytest.raises(UsageError, match="cannot write there"):
        render_set(TINY, tmp_path / "out" / "below", workers=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot write there"):
        render_set(TINY, tmp_path / "out", workers=1)


def test_workers_must_be_some(tmp_path):
    with pytest.raises(UsageError, match="workers: expected a whole number from 1, found 0"):
        render_set(TINY, tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_a_writer_that_does_not_open_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2.VideoWriter, "fourcc", staticmethod(lambda *_: 0))
    monkeypatch.setattr(cv2, "VideoWriter", _Closed)
    with pytest.raises(EstError, match="OpenCV cannot write MPEG-4 video") as error:
        render_set(TINY, tmp_path, workers=1)
    assert "opencv" in error.value.remedy
    assert files(tmp_path) == [UNFINISHED]


class _Closed:
    fourcc = staticmethod(lambda *_: 0)

    def __init__(self, *_):
        pass

    def isOpened(self):  # noqa: N802
        return False


RENDER = """
import sys
from est.demo import RenderSpec, render_set
from est.errors import EstError
{limit}
try:
    render_set(RenderSpec(subjects=6, seed=1, size=(256, 256)), sys.argv[1], workers={workers}, overwrite=True)
except EstError as error:
    sys.exit(f"{{type(error).__name__}}: {{error}}")
"""


def start(out, tmp, workers=1, limit=""):
    code = RENDER.format(workers=workers, limit=limit)
    environment = {**os.environ, "TMPDIR": str(tmp)}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(out)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_clips(out, count):
    deadline = time.monotonic() + 60
    while len(list(out.glob("*/*.mp4"))) < count and time.monotonic() < deadline:
        time.sleep(0.005)


def assert_whole(out):
    """Every video in the folder is a whole clip of the plan."""
    plans = {plan.path: plan for plan in plan_set(RenderSpec(subjects=6, seed=1, size=(256, 256)))}
    videos = [path for path in files(out) if path.endswith(".mp4")]
    assert videos
    for path in videos:
        assert len(decoded(out / path)) == plans[path].num_frames


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_interrupted_render_leaves_whole_clips_and_no_manifest(tmp_path, workers):
    out, links = tmp_path / "out", tmp_path / "links"
    links.mkdir()
    process = start(out, links, workers)
    wait_for_clips(out, 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and workers get it
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT, said
    assert_whole(out)
    left = files(out)
    assert MANIFEST not in left
    assert all(path.endswith(".mp4") or path == UNFINISHED for path in left), left
    assert list(links.iterdir()) == []
    with pytest.raises(UsageError, match="holds an unfinished render"):
        render_set(TINY, out, workers=1)
    plans = render_set(TINY, out, overwrite=True, workers=1)
    assert files(out) == sorted([MANIFEST, *(plan.path for plan in plans)])


def test_a_killed_render_leaves_whole_clips_and_can_be_overwritten(tmp_path):
    out = tmp_path / "out"
    process = start(out, tmp_path)
    wait_for_clips(out, 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert_whole(out)
    assert MANIFEST not in files(out)
    plans = render_set(TINY, out, overwrite=True, workers=1)
    assert files(out) == sorted([MANIFEST, *(plan.path for plan in plans)])


def test_a_disk_that_is_full_is_an_error_and_leaves_no_broken_clip(tmp_path):
    # A limit on the size of files stands in for a full disk: writes fail in the midst of a video, unseen by OpenCV.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))"
    process = start(tmp_path / "out", tmp_path, limit=limit)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "EstError" in said
    assert "could not be written completely" in said
    assert files(tmp_path / "out") == [UNFINISHED]
