"""Small trees of the shapes in which data sets lie on users' disks: one tiny picture for every frame, one tiny video for every clip.

Each function makes a tree without any fault, all classes and folds in it; tests plant the faults.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import cv2
import numpy as np
from video_samples import make_video

from est.inputs.published import afew, bu4dfe, cremad, dfew, ferv39k, mafw, mmi, ravdess

SIDE = 32
PICTURE = cv2.imencode(".jpg", np.full((SIDE, SIDE, 3), 127, np.uint8))[1].tobytes()
SCENES = ("Action", "War")


@functools.cache
def tiny_video() -> bytes:
    """Return a video of two frames; whatever suffix a data set gives it, a decoder goes by the content."""
    with tempfile.TemporaryDirectory() as folder:
        return make_video(Path(folder) / "tiny.mp4", 2, size=(64, 64)).read_bytes()


def frames(folder: Path, count: int = 2, suffix: str = "jpg") -> None:
    """Write a clip's frames."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:03}.{suffix}").write_bytes(PICTURE)


def video(path: Path, data: bytes | None = None) -> None:
    """Write a video, or other bytes in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tiny_video() if data is None else data)


def text(path: Path, lines, *, newline: str = "\n", encoding: str = "utf-8") -> None:
    """Write a list, without a newline at its end, as releases do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(newline.join(lines).encode(encoding))


def edit(path: Path, change) -> None:
    """Rewrite the lines of a list."""
    text(path, change(path.read_text().split("\n")))


def fold_of(number: int) -> int:
    """Return the fold in which a clip of a made tree is tested."""
    return number % 5 + 1


def make_dfew(root: Path, *, form: str = "frames", filled: bool = True) -> Path:
    """35 clips: each class once in each fold; two more clips that no list names."""
    for number in range(1, 38):
        if form == "frames":
            frames(root / "Clip/clip_224x224" / (f"{number:05}" if filled else str(number)))
        else:
            video(root / "Clip/original" / f"{number}.mp4")
    for fold in range(1, 6):
        for half in ("train", "test"):
            numbers = [n for n in range(1, 36) if (fold_of(n) == fold) == (half == "test")]
            lines = [f"{n:05},{(n - 1) // 5 + 1}" for n in numbers]
            text(dfew_list(root, half, fold), ["video_name,label", *lines], newline="\r\n")
    return root


def dfew_list(root: Path, half: str, fold: int) -> Path:
    return root / f"EmoLabel_DataSplit/{half}(single-labeled)/set_{fold}.csv"


def dfew_label(number: int) -> str:
    return dfew.LABELS[(number - 1) // 5]


def make_afew(root: Path) -> Path:
    """Two clips of each class and half, with aligned faces."""
    for half, folder, aligned in (("train", "Train_AFEW", ""), ("val", "Val_AFEW", "_Val")):
        for place, label in enumerate(afew.LABELS):
            for number in range(2):
                name = f"{1 + (half == 'val')}{place}{number}0{place:03}"
                video(root / folder / label / f"{name}.avi")
                frames(
                    root
                    / folder
                    / f"AlignedFaces_LBPTOP_Points{aligned}"
                    / f"AlignedFaces_LBPTOP_Points{aligned}"
                    / name
                )
    return root


def make_ferv39k(root: Path) -> Path:
    """Two scenes, each class once in each half."""
    for half, first in (("train", 1), ("test", 50)):
        lines = []
        for scene in SCENES:
            for place, label in enumerate(ferv39k.LABELS):
                name = f"{scene}/{label}/{first + place:04}"
                frames(root / "2_ClipsforFaceCrop" / name)
                video(root / "0_7_labelClips" / f"{name}.mp4")
                lines.append(f"{name} {label}")
        text(root / f"4_setups/All_scenes/{half}_All.csv", lines)
    return root


def make_mafw(root: Path, *, captions: bool = False) -> Path:
    """55 clips: each class once in each fold; one more with a compound label only."""
    for number in range(1, 57):
        frames(root / "data/frames" / f"{number:05}", suffix="png")
        video(root / "data/clips" / f"{number:05}.mp4")
    for fold in range(1, 6):
        for half in ("train", "test"):
            numbers = [n for n in range(1, 56) if (fold_of(n) == fold) == (half == "test")]
            pairs = [(f"{n:05}.mp4", mafw.LABELS[(n - 1) // 5]) for n in numbers]
            path = (
                root
                / "Train & Test Set/single"
                / ("with_caption" if captions else "no_caption")
                / f"set_{fold}/{half}.txt"
            )
            if captions:
                # In GBK 厤 is two bytes: one that Windows-1252 lacks, one that Latin-1 reads as the end of a line.
                lines = [f"{name}\t{label}\t一个男人厤脸\tA man, who speaks" for name, label in pairs]
                text(path, lines, encoding="gbk")
            else:
                text(path, [f"{name} {label}" for name, label in pairs])
    return root


def make_bu4dfe(root: Path) -> Path:
    """Two women and two men, six expressions each."""
    for subject in ("F001", "F002", "M001", "M002"):
        for label in bu4dfe.LABELS:
            frames(root / subject / label)
    return root


def make_mmi(root: Path, *, emotions=mmi.LABELS) -> Path:
    """Four people with all emotions each, and a session without one."""
    number = 0
    for subject in ("S001", "S002", "S003", "S004"):
        for emotion in (*emotions, None):
            number += 1
            folder = root / "Sessions" / str(number)
            video(folder / f"{subject}-{number:03}.avi")
            tag = f'<Metatag Name="Emotion" Value="{emotion}"/>' if emotion is not None else ""
            text(folder / "session.xml", [f'<session id="{number}"><subject id="{subject[1:]}"/>{tag}</session>'])
    return root


def make_ckplus(root: Path) -> Path:
    """Two people with the seven emotions, and a sequence without one each; neutral is no label of any."""
    for subject in ("S005", "S010"):
        for number in range(1, 9):
            name = f"{subject}/{number:03}"
            frames(root / "cohn-kanade-images" / name, suffix="png")
            (root / "Emotion" / name).mkdir(parents=True)
            if number < 8:
                text(
                    root / "Emotion" / name / f"{subject}_{number:03}_00000011_emotion.txt",
                    [f"   {number}.0000000e+00"],
                )
    return root


def make_ravdess(root: Path) -> Path:
    """Six actors, each emotion once in speech, with sound and without; one song."""
    for actor in range(1, 7):
        names = [
            f"{modality}-01-{emotion + 1:02}-01-01-01"
            for emotion in range(len(ravdess.LABELS))
            for modality in ("01", "02")
        ]
        for name in (*names, "01-02-03-01-01-01"):
            video(root / f"Actor_{actor:02}" / f"{name}-{actor:02}.mp4")
    return root


def make_cremad(root: Path) -> Path:
    """Five actors, each emotion once."""
    for actor in range(1001, 1006):
        for code in cremad.EMOTIONS:
            video(root / "VideoFlash" / f"{actor}_DFA_{code}_XX.flv")
    return root


MAKERS = {
    "dfew": make_dfew, "afew": make_afew, "ferv39k": make_ferv39k, "mafw": make_mafw, "bu4dfe": make_bu4dfe, "mmi": make_mmi,
    "ck+": make_ckplus, "ravdess": make_ravdess, "crema-d": make_cremad,
}  # fmt: skip
