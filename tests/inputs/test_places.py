"""What an INPUT may be: patterns are expanded; addresses, cameras and texts that are no list are answered with what mends them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from est.errors import UsageError
from est.inputs.input import find_inputs
from est.inputs.sequence import is_sequence


def pictures(folder, *names):
    folder.mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.zeros((8, 8, 3), np.uint8))
    return folder


def refused(*inputs):
    with pytest.raises(UsageError) as caught:
        find_inputs(inputs)
    return caught.value.message, caught.value.remedy


@pytest.mark.parametrize(
    ("text", "found", "mend"),
    [
        (
            "http://host.org/a/v.mp4",
            "the address http://host.org/a/v.mp4",
            "curl -L -o clip.mp4 http://host.org/a/v.mp4",
        ),
        ("https://youtu.be/abc", "the address https://youtu.be/abc", "yt-dlp -o clip.mp4 https://youtu.be/abc"),
        (
            "www.youtube.com/watch?v=a",
            "the address https://www",
            "yt-dlp -o clip.mp4 'https://www.youtube.com/watch?v=a'",
        ),
        (
            "rtsp://camera:554/1",
            "the address rtsp://camera:554/1",
            "ffmpeg -i rtsp://camera:554/1 -t 60 -c copy clip.mp4",
        ),
        ("az://bucket/v.mp4", "the address az://bucket/v.mp4", "copy it to a disk of this machine"),
        ("file:///data/v.mp4", "the address file://data/v.mp4", "/data/v.mp4"),
        ("0", "the camera 0", "est predict --camera 0 --run RUN"),
        ("/dev/video1", "the camera /dev/video1", "ffmpeg -f v4l2 -i /dev/video1 -t 10 clip.mp4"),
    ],
)
def test_what_is_no_path_is_told_what_an_input_is(text, found, mend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message, remedy = refused(type(tmp_path)(text))  # a Path has one slash of the two
    assert message.startswith("INPUT is a video file, a folder of videos or of frame folders, or a list")
    assert found in message
    assert mend in remedy


def test_a_folder_that_is_called_as_a_camera_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "0", "1.png", "2.png")
    assert [one.id for one in find_inputs([type(tmp_path)("0")]).inputs] == ["0"]


def test_quoted_patterns_are_expanded_as_a_shell_would(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.mp4", "a/2.mp4", "b/3.mp4", "a/x.txt", "[d]/4.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x00video")
    path = type(tmp_path)
    assert [one.id for one in find_inputs([path("a/*.mp4")]).inputs] == ["1", "2"]
    assert [one.id for one in find_inputs([path("*/*.mp4"), path("a/1.mp4")]).inputs] == ["1", "2", "3", "4"]
    assert [one.id for one in find_inputs([path("[d]")]).inputs] == ["4"], "a name that is there goes first"
    message, remedy = refused(path("a/*.avi"))
    assert message.startswith("No file or folder matches 'a/*.avi'")
    assert "**" in remedy


def test_what_is_not_there_names_the_nearest(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "happy 1.mp4").write_bytes(b"\x00")
    assert refused(tmp_path / "videos" / "hapy 1.mp4")[1] == f"'{tmp_path}/videos/happy 1.mp4', the nearest name"
    message, remedy = refused(tmp_path / "vidoes" / "happy 1.mp4")
    assert message == f"{tmp_path}/vidoes/happy 1.mp4 does not exist: {tmp_path} has no folder 'vidoes'."
    assert remedy == f"{tmp_path}/videos, the nearest name"
    (tmp_path / "a.py").write_bytes(b"")
    assert refused(tmp_path / "zzz")[1] == f"{tmp_path} has videos, a.py", "folders first"
    (tmp_path / "my videos").mkdir()
    (tmp_path / "my.py").write_bytes(b"")
    assert refused(tmp_path / "my")[1] == f"'{tmp_path}/my videos': quote a name that has a space"


@pytest.mark.parametrize(
    ("names", "is_one"),
    [
        (["00001.jpg", "00002.jpg", "00010.jpg"], True),  # DFEW, MAFW
        (["S005_001_00000001.png", "S005_001_00000011.png"], True),  # CK+
        (["img46.jpg", "img47.jpg", "img100.jpg"], True),  # CASME II
        (["frame_det_00_000001.bmp", "frame_det_00_000007.bmp"], True),  # OpenFace
        (["cover.jpg", "1.jpg", "2.jpg"], True),
        (["onset.jpg", "apex.jpg", "offset.jpg"], True),
        (["anna.jpg"], True),
        (["anna.jpg", "bert.jpg"], False),
        (["anna 1.jpg", "bert 2.jpg", "IMG_2001.jpg", "holiday.jpg"], False),
    ],
)
def test_frames_are_told_from_pictures_of_different_things_by_their_names(names, is_one):
    assert is_sequence(names) is is_one


def test_a_folder_of_stills_is_warned_of_and_frame_folders_are_not(tmp_path):
    pictures(tmp_path / "all" / "clip", "1.png", "2.png")
    assert find_inputs([tmp_path / "all"]).warnings == ()
    pictures(tmp_path / "all" / "people", "anna.png", "bert.png")
    (warning,) = find_inputs([tmp_path / "all"]).warnings
    assert warning.startswith("people: pictures that are not named by number")
    assert "one folder for each picture, or est tune --images" in warning
    (tmp_path / "l.txt").write_text("all/clip\nall/people\n")
    (warning,) = find_inputs([tmp_path / "l.txt"]).warnings
    assert warning.startswith("all/people: pictures")


def test_lists_that_name_nothing_are_refused(tmp_path):
    def listed(name, text):
        path = tmp_path / name
        path.write_text(text)
        return refused(path)

    message, remedy = listed("notes.txt", "Dear all,\n\nthe videos are enclosed\n")
    assert "notes.txt: none of the 2 files that it names is there; line 1 is 'Dear all,', looked for at" in message
    assert "the folder of the list" in remedy
    assert "only a text that lists clips can be an INPUT" in remedy
    message, remedy = listed("moved.csv", "path,label\na.mp4,sad\n")
    assert "the file that it names is not there; line 2 is 'a.mp4', looked for at" in message
    assert "no INPUT" not in remedy
    for name, text in (("none.txt", ""), ("none.csv", "path,label\n")):
        assert listed(name, text)[0].endswith("the list names no clip.")


@pytest.mark.parametrize(
    ("header", "mend"),
    [
        ("vidpath,label", "rename the column 'vidpath' to path"),
        ("label,pth", "rename the column 'pth' to path"),
        ("label,Video Pathh", "rename the column 'Video Pathh' to path"),
        ("label,x", "name the columns in the first line"),
    ],
)
def test_a_list_without_a_path_names_the_nearest_column(header, mend, tmp_path):
    (tmp_path / "l.csv").write_text(f"{header}\na,b\n")
    assert refused(tmp_path / "l.csv")[1].startswith(mend)
