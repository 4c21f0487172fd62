"""What a user names, found: every clip once, in one order, with what is wrong beside it."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est.demo.renderset import render_set
from est.demo.spec import RenderSpec
from est.errors import UsageError
from est.inputs.folders import natural_key
from est.inputs.given import parse_shard
from est.inputs.input import find_inputs


@pytest.fixture
def tree(tmp_path):
    """`tree("a.mp4", "happy/1.jpg", …)` makes files (a trailing / makes a folder) under `tmp_path / "in"`; returns that."""
    root = tmp_path / "in"
    root.mkdir()

    def make(*names):
        for name in names:
            path = root / name
            if name.endswith("/"):
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"\x47 some bytes \x00\x01")
        return root

    return make


def ids(found):
    return [clip.id for clip in found.inputs]


def test_a_folder_is_searched_for_videos_of_every_suffix(tree):
    names = [
        "a.mp4",
        "b.AVI",
        "deep/er/c.MoV",
        "d.mkv",
        "e.webm",
        "f.m4v",
        "g.mpg",
        "h.mpeg",
        "i.flv",
        "j.wmv",
        "k.3gp",
        "l.ts",
    ]
    found = find_inputs([tree(*names, "notes.txt", "x.json", "y.json", "README")])
    assert ids(found) == ["a", "b", "d", "deep/er/c", "e", "f", "g", "h", "i", "j", "k", "l"]
    assert {clip.kind for clip in found.inputs} == {"video"}
    assert found.ignored == {".json": 2, ".txt": 1, "without suffix": 1}
    assert found.total == 12


def test_natural_order(tree):
    found = find_inputs(
        [tree("clip10.mp4", "clip2.mp4", "Clip1.mp4", "s10/1.mp4", "s9/1.mp4", "s9/01.mp4", "clip2b.mp4")]
    )
    assert ids(found) == ["Clip1", "clip2", "clip2b", "clip10", "s9/01", "s9/1", "s10/1"]


@given(st.lists(st.text(alphabet="aB01/. #é", min_size=1, max_size=6), unique=True))
def test_the_natural_order_is_total(names):
    once = sorted(names, key=natural_key)
    random.Random(0).shuffle(names)
    assert sorted(names, key=natural_key) == once


def test_what_is_passed_over(tree):
    root = tree(
        "a.mp4", ".hidden.mp4", ".git/b.mp4", "._a.mp4", "c.mp4.partial", "d.partial", "__MACOSX/e.mp4",
        "@eaDir/a.mp4/1.jpg", "out.zarr/f.mp4", "index.ts",
    )  # fmt: skip
    (root / "index.ts").write_text("import { x } from 'y';\n")
    found = find_inputs([root])
    assert ids(found) == ["a"]
    assert not found.problems
    assert found.ignored == {".ts": 1}


def test_folders_of_frames(tree):
    found = find_inputs(
        [tree("x/clip2/1.jpg", "x/clip2/2.jpg", "x/clip10/1.PNG", "x/clip.3/1.webp", "y/v.mp4", "y/cover.jpg")]
    )
    assert [(clip.id, clip.kind) for clip in found.inputs] == [
        ("x/clip2", "frames"),
        ("x/clip10", "frames"),
        ("x/clip.3", "frames"),
        ("y/v", "video"),
    ]
    assert found.ignored == {".jpg": 1}  # the cover


def test_one_folder_of_frames_goes_by_its_name(tree):
    root = tree("1.jpg", "2.jpg")
    assert [(clip.id, clip.path, clip.kind) for clip in find_inputs([root]).inputs] == [("in", root, "frames")]


def test_an_empty_folder_beside_folders_of_frames_is_a_problem(tree):
    found = find_inputs([tree("clip1/1.jpg", "clip2/", "clip3/Thumbs.db")])
    assert ids(found) == ["clip1"]
    assert {problem.id: problem.error for problem in found.problems} == dict.fromkeys(
        ("clip2", "clip3"), "the folder holds no pictures, and those beside it do"
    )
    found = find_inputs([tree("v/a.mp4", "v/empty/")])
    assert "v/empty" not in {problem.id for problem in found.problems}


def test_labels_by_folder(tree):
    root = tree("happy/1.mp4", "s1/sad/clip/1.jpg")
    assert [clip.label for clip in find_inputs([root], labels="folders").inputs] == ["happy", "sad"]
    assert [clip.label for clip in find_inputs([root / "happy"], labels="folders").inputs] == ["happy"]
    assert [clip.label for clip in find_inputs([root]).inputs] == [None, None]
    with pytest.raises(UsageError, match="none or folders"):
        find_inputs([root], labels="guess")


def test_subjects_by_folder(tree):
    root = tree("ann/happy/1.mp4", "bob/sad/clip/1.jpg", "bob/happy/2.mp4")
    found = find_inputs([root], labels="folders", subjects="folders").inputs
    assert [(clip.subject, clip.label) for clip in found] == [("ann", "happy"), ("bob", "happy"), ("bob", "sad")]
    with pytest.raises(
        UsageError, match="expects clips at SUBJECT/LABEL/clip below the INPUT; 1 of 1 are not: happy/1"
    ):
        find_inputs([root / "ann"], labels="folders", subjects="folders")
    with pytest.raises(UsageError, match=r"3 of 3 are not: 1, 2, 10\.") as refused:
        find_inputs([tree("c/x/10.mp4", "b/x/2.mp4", "a/x/1.mp4") / "[abc]/x/*.mp4"], subjects="folders")
    assert "of a quoted pattern each match is an INPUT of its own" in refused.value.remedy


@pytest.mark.parametrize(("names", "found"), [(("a",), "found 1 empty folder"), (("a", "b"), "found 2 empty folders")])
def test_empty_folders_are_counted(tmp_path, names, found):
    for name in names:
        (tmp_path / "in" / name).mkdir(parents=True)
    with pytest.raises(UsageError, match=rf"{found}\.(?m:$)"):
        find_inputs([tmp_path / "in"])


def test_subjects_by_their_own_folder_where_labels_come_from_elsewhere(tree):
    root = tree("happy/ann/1.mp4", "sad/ann/2.mp4", "sad/bob/3.mp4")
    found = find_inputs([root], labels="^([^/]+)/", subjects="folders").inputs
    assert [(clip.subject, clip.label) for clip in found] == [("ann", "happy"), ("ann", "sad"), ("bob", "sad")]
    assert [clip.subject for clip in find_inputs([root / "sad"], subjects="folders").inputs] == ["ann", "bob"]
    with pytest.raises(UsageError, match="SUBJECT/clip below the INPUT; 1 of 1"):
        find_inputs([root / "sad" / "bob"], subjects="folders")


def test_subjects_by_a_pattern(tree):
    root = tree("happy/s01_a.mp4", "sad/s02_b.mp4")
    found = find_inputs([root], labels="folders", subjects=r"(s\d+)_").inputs
    assert [(clip.subject, clip.label) for clip in found] == [("s01", "happy"), ("s02", "sad")]
    (root / "sad" / "extra.mp4").write_bytes(b"\x47")
    with pytest.raises(UsageError, match="finds no subject in 1 of 3 clips: sad/extra"):
        find_inputs([root], subjects=r"(s\d+)_")


@pytest.mark.parametrize(
    ("pattern", "sentence"), [("(s", "is no regular expression"), (r"s\d+", "a group in parentheses; found")]
)
def test_a_pattern_that_reads_nothing_is_refused(tree, pattern, sentence):
    with pytest.raises(UsageError, match=sentence):
        find_inputs([tree("a.mp4")], subjects=pattern)


def test_a_list_goes_before_the_pattern(tree):
    root = tree("s1_a.mp4", "s2_b.mp4")
    (root / "list.csv").write_text("path,subject\ns1_a.mp4,ann\ns2_b.mp4,\ns3_gone.mp4,\n")
    found = find_inputs([root / "list.csv"], subjects=r"(s\d)_")
    assert [clip.subject for clip in found.inputs] == ["ann", "s2"]
    assert [problem.subject for problem in found.problems] == ["s3"]


def test_files_named_one_by_one(tree, monkeypatch):
    root = tree("a.mp4", "b.odd", "c.jpg")
    found = find_inputs([root / "b.odd", root / "a.mp4", root / "a.mp4"])
    assert ids(found) == ["a", "b.odd"]  # named by the user, so taken, whatever its suffix
    monkeypatch.chdir(root)
    assert find_inputs(["a.mp4"]).inputs[0].path == root / "a.mp4"
    with pytest.raises(UsageError, match="is a picture"):
        find_inputs([root / "c.jpg"])
    with pytest.raises(UsageError, match="does not exist"):
        find_inputs([root / "nowhere"])


def test_links_are_followed_once_and_loops_end(tree, tmp_path):
    root = tree("a/1.mp4", "b/2.mp4")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "3.mp4").write_bytes(b"x")
    (root / "a" / "loop").symlink_to(root)
    (root / "b" / "across").symlink_to(root / "a")
    (root / "0-outside").symlink_to(tmp_path / "outside")
    (root / "1-again").symlink_to(tmp_path / "outside")
    (root / "c.mp4").symlink_to(root / "a" / "1.mp4")
    (root / "self").symlink_to(root / "self")
    found = find_inputs([root])
    assert ids(found) == ["0-outside/3", "a/1", "b/2", "c"]
    assert found.ignored == {"links to folders already searched": 3, "without suffix": 1}


def test_links_among_many_folders_end_soon(tree):
    root = tree(*(f"{i}/v.mp4" for i in range(12)))
    for i in range(12):
        for j in range(12):
            (root / str(i) / f"to{j}").symlink_to(root / str(j))
    assert ids(find_inputs([root])) == [f"{i}/v" for i in range(12)]


def test_problems_are_told_not_dropped(tree, monkeypatch):
    root = tree("good.mp4", "secret.mp4", "locked/x.mp4")
    (root / "gone.mp4").symlink_to("nowhere.mp4")
    (root / "self.avi").symlink_to("self.avi")
    os.mkfifo(root / "pipe.mov")
    (root / os.fsdecode(b"z\xe9.mp4")).write_bytes(b"x")
    real_access, real_scandir = os.access, os.scandir

    def scandir(path):
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied")
        return real_scandir(path)

    monkeypatch.setattr(os, "access", lambda path, mode: "secret" not in str(path) and real_access(path, mode))
    monkeypatch.setattr(os, "scandir", scandir)
    found = find_inputs([root])
    assert ids(found) == ["good"]
    assert {problem.id: problem.error for problem in found.problems} == {
        "z\\xe9": "its name is not UTF-8 and cannot be stored; rename it",
        "gone": "cannot be read (a link to nothing)",
        "locked": "the folder cannot be read (Permission denied)",
        "pipe": "neither a file nor a folder",
        "secret": "cannot be read (permission denied)",
        "self": "cannot be read (a link to nothing)",
    }
    for problem in found.problems:
        problem.path.encode()
    assert next(problem for problem in found.problems if problem.id == "secret").source.num_bytes > 0


def test_odd_names_are_ids(tree):
    names = ["with space.mp4", "smile 😀.mp4", "two\nlines.mp4", "v1.2.mp4", "a#1.mp4"]
    assert sorted(ids(find_inputs([tree(*names)]))) == sorted(name.removesuffix(".mp4") for name in names)


@pytest.mark.parametrize("names", [("a.mp4", "a.avi"), ("a.mp4", "a/1.jpg")])
def test_two_inputs_with_one_id_are_refused(tree, names):
    root = tree(*names)
    with pytest.raises(UsageError, match=r"Two inputs have the id 'a': .*in/a") as caught:
        find_inputs([root])
    assert "rename one" in caught.value.remedy


def test_two_folders_with_the_same_names_are_refused(tree):
    root = tree("x/happy/1.mp4", "y/happy/1.mp4")
    with pytest.raises(UsageError, match="'happy/1'") as caught:
        find_inputs([root / "x", root / "y"])
    assert "the folder above both" in caught.value.remedy
    assert ids(find_inputs([root])) == ["x/happy/1", "y/happy/1"]


def test_nothing_found_says_what_was_looked_for(tree):
    with pytest.raises(UsageError, match=r"No clips in .*in: looked for videos \(.*\.mp4.*found 2 \.pdf") as caught:
        find_inputs([tree("a.pdf", "b.pdf")])
    assert caught.value.status == 2


def test_a_manifest_is_the_list_of_its_folder(tree):
    root = tree("happy/1.mp4", "sad/2.mp4", "extra/3.mp4")
    (root / "manifest.csv").write_text(
        "path,label,subject,split,apex,seed\nhappy/1.mp4,happy,s1,train,5,1\nsad/2.mp4,sad,s2,test,6,1\n"
    )
    found = find_inputs([root])
    assert [(clip.id, clip.label, clip.subject, clip.split) for clip in found.inputs] == [
        ("happy/1", "happy", "s1", "train"),
        ("sad/2", "sad", "s2", "test"),
    ]
    assert found.ignored == {"clips not in manifest.csv": 1}
    assert not found.unused_columns
    (root / "manifest.csv").write_text("name,size\nx,1\n")
    assert len(find_inputs([root]).inputs) == 3  # no list of clips


def test_a_rendered_set_is_found_as_it_was_rendered(tmp_path):
    plans = render_set(RenderSpec(subjects=1, clips_per_subject=2, size=(128, 128), fps=5), tmp_path / "set", workers=1)
    found = find_inputs([tmp_path / "set"])
    wanted = {(plan.id, plan.label, plan.subject, plan.split) for plan in plans}
    assert {(clip.id, clip.label, clip.subject, clip.split) for clip in found.inputs} == wanted
    assert not found.problems
    assert not found.unused_columns


@given(count=st.integers(1, 40), num=st.integers(1, 12), limit=st.integers(1, 20))
def test_shards_part_the_whole(tmp_path_factory, count, num, limit):
    root = tmp_path_factory.getbasetemp() / f"shards{count}"
    if not root.exists():
        root.mkdir()
        for i in range(count):
            (root / f"{i}.mp4").write_bytes(b"x")
        (root / "gone.mp4").symlink_to("nowhere")
    whole = find_inputs([root])
    shards = [find_inputs([root], shard=(i, num)) for i in range(num)]
    assert sorted((clip for shard in shards for clip in shard.inputs), key=lambda clip: int(clip.id)) == list(
        whole.inputs
    )
    assert sum(len(shard.problems) for shard in shards) == 1
    assert max(len(shard.inputs) for shard in shards) - min(len(shard.inputs) for shard in shards) <= 1
    assert {shard.total for shard in shards} == {count}
    first = find_inputs([root], shard=(0, num), limit=limit)
    assert first.inputs == shards[0].inputs[:limit]


def test_shards_as_people_write_them(tree):
    assert parse_shard("1/4") == (0, 4)
    assert parse_shard(" 4 / 4 ") == (3, 4)
    for text in ("0/4", "5/4", "1", "1/0", "a/b", "-1/4"):
        with pytest.raises(UsageError, match="i/n with i from 1 to n"):
            parse_shard(text)
    root = tree("a.mp4")
    for shard in ((4, 4), (-1, 4)):
        with pytest.raises(UsageError, match="A shard"):
            find_inputs([root], shard=shard)
    with pytest.raises(UsageError, match="A limit"):
        find_inputs([root], limit=0)


def test_finding_inputs_needs_no_decoder():
    script = "import sys, est.inputs.input, est.extract.video.source; print(sorted(set(sys.modules) & {'cv2', 'torch', 'av'}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
