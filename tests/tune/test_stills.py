"""Labelled images: every layout is read as it lies on disks, and an encoder learns from them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from train_samples import Recorder
from tune_samples import LABELS, SIDE, config, picture, write_images, write_list

from est.encoders.weights import load_weights
from est.errors import SourceError
from est.inputs.stills import affectnet, fer2013, rafdb
from est.inputs.stills.stills import Stills
from est.tune import find_stills, read_card, tune_stills
from est.tune.stills import StillPictures, split_of

VOTES = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def fer2013_list(path: Path, rows) -> Path:
    """Write faces: (emotion, grey, usage)."""
    lines = [f"{emotion},{' '.join([str(grey)] * 48 * 48)},{usage}" for emotion, grey, usage in rows]
    return write_list(path, "emotion,pixels,Usage", lines)


def raf_tree(root: Path, lines, *, images="aligned") -> Path:
    write_list(root / "basic" / "EmoLabel" / rafdb.LIST, "", lines)
    ending = "_aligned" if images == "aligned" else ""
    (root / "basic" / "Image" / images).mkdir(parents=True)
    for line in lines:
        name = line.split()[0]
        cv2.imwrite(str(root / "basic" / "Image" / images / f"{Path(name).stem}{ending}.jpg"), picture(0, 1))
    return root


def affectnet_tree(root: Path, codes: dict[str, list[int]]) -> Path:
    for half, found in codes.items():
        for name in ("images", "annotations"):
            (root / half / name).mkdir(parents=True)
        for number, code in enumerate(found):
            cv2.imwrite(str(root / half / "images" / f"{number}.jpg"), picture(code % 3, number))
            np.save(root / half / "annotations" / f"{number}_exp.npy", np.array(str(code)))
            np.save(root / half / "annotations" / f"{number}_val.npy", np.array("0.5"))
    return root


def class_tree(root: Path, *, halves=("train", "val")) -> Path:
    for half in halves or ("",):
        for number, label in enumerate(LABELS):
            (root / half / label).mkdir(parents=True)
            for index in range(8 if half != "val" else 2):
                cv2.imwrite(str(root / half / label / f"{index}.png"), picture(number, 50 * index + len(half)))
    return root


def named(stills: Stills) -> list[str]:
    return [stills.labels[code] for code in stills.target.argmax(1)]


def test_it_learns_from_folders_of_classes(tmp_path):
    stills = find_stills(class_tree(tmp_path / "faces"))
    watch = Recorder()
    out = tune_stills(stills, tmp_path / "tuned.safetensors", config(epochs=10), watch=watch)
    card = read_card(out)
    assert card["validation"]["images"]["uar"] == 1.0
    assert card["validation"]["images"]["total"] == 6  # the split val
    assert card["data"]["train"]["images"] == 24
    assert [record["loss"] for record in watch.records][-1] < 0.8
    record = load_weights(str(out)).trained_on
    assert set(record.clips) == set(stills.names)
    assert len(record.digests) == len(stills.names)
    assert not record.subjects


def test_soft_labels_teach_too_and_bytes_follow_from_the_seed(tmp_path):
    images = write_images(tmp_path / "i", 24)
    lines = [
        f"{path},{'6,2,1' if label == 'blue' else '1,8,0' if label == 'green' else '0,1,9'}" for path, label in images
    ]
    stills = find_stills(write_list(tmp_path / "l.csv", "path,blue,green,red", lines))
    quick = config(epochs=1)
    first = tune_stills(stills, tmp_path / "a.safetensors", quick)
    again = tune_stills(stills, tmp_path / "b.safetensors", config(epochs=1, workers=3))
    assert first.read_bytes() == again.read_bytes()
    card = read_card(first)
    assert card["data"]["labels"].startswith("soft")
    assert card["data"]["val"]["images"] == 4  # an inner part, by image: nobody says who is on them
    assert card["settings"]["by"] == "clip"


def test_interrupted_images_go_on_to_the_bit(tmp_path):
    stills = find_stills(class_tree(tmp_path / "faces"))
    quick = config(epochs=1)
    whole = tune_stills(stills, tmp_path / "whole.safetensors", quick)
    out = tmp_path / "parts.safetensors"
    with pytest.raises(KeyboardInterrupt):
        tune_stills(stills, out, quick, watch=Recorder(1))
    tune_stills(find_stills(tmp_path / "faces"), out, quick)
    assert out.read_bytes() == whole.read_bytes()


def test_fer2013(tmp_path):
    path = fer2013_list(tmp_path / "fer2013.csv", [(0, 10, "Training"), (3, 250, "PublicTest"), (6, 0, "PrivateTest")])
    for found in (find_stills(path), find_stills(tmp_path)):
        assert named(found) == ["anger", "happiness", "neutral"]
        assert list(found.split) == ["train", "val", "test"]
        assert found.names[1] == "fer0000001"
        assert (found.picture(1, 64) == 250).all()
        assert found.picture(1, 64).shape == (64, 64, 3)
        assert "FER2013" in found.licence
    other = tmp_path / "icml_face_data.csv"
    other.write_text(path.read_text().replace("emotion,pixels,Usage", "emotion, pixels, Usage"))
    assert named(find_stills(other)) == ["anger", "happiness", "neutral"]


def test_fer_plus_votes_become_shares(tmp_path):
    usage = ["Training"] * 5
    path = fer2013_list(tmp_path / "fer2013.csv", [(0, 10 * number, half) for number, half in enumerate(usage)])
    votes = [
        "4,0,0,1,3,0,0,2,0,0",  # neutral
        "0,0,0,0,0,0,0,0,0,10",  # no face
        "0,0,3,0,0,0,1,0,6,0",  # nobody knows
        "0,10,0,0,0,0,0,0,0,0",
        "0,0,0,0,0,0,8,0,1,1",  # fear
    ]
    lines = [
        f"{half},fer{number:07}.png,{shares}" for number, (half, shares) in enumerate(zip(usage, votes, strict=True))
    ]
    found = find_stills(path, votes=write_list(tmp_path / "fer2013new.csv", VOTES, lines))
    assert found.labels == fer2013.VOTES
    assert named(found) == ["neutral", "happiness", "fear"]
    assert np.allclose(found.target[0], [0.4, 0, 0, 0.1, 0.3, 0, 0, 0.2])
    assert np.allclose(found.target[2], [0, 0, 0, 0, 0, 0, 1, 0])  # of those who say an emotion
    assert list(found.names) == ["fer0000000", "fer0000003", "fer0000004"]
    assert (found.picture(1, 48) == 30).all()
    assert "2 images are left out" in found.notes[0]
    assert found.soft
    assert "FER+" in found.licence


@pytest.mark.parametrize("images", ["aligned", "original"])
def test_raf_db(tmp_path, images):
    root = raf_tree(tmp_path, ["train_00001.jpg 5", "train_00002.jpg 1", "test_0001.jpg 7"], images=images)
    for place in (root, root / "basic", root / "basic" / "EmoLabel" / rafdb.LIST):
        found = find_stills(place)
        assert named(found) == ["sadness", "surprise", "neutral"]
        assert list(found.split) == ["train", "train", "test"]
        assert len(split_of(found).train) == 2  # the test half is left alone
        assert not len(split_of(found).val)
        assert "non-commercial" in found.licence


def test_affectnet_folders(tmp_path):
    found = find_stills(affectnet_tree(tmp_path, {"train_set": [1, 7, 9], "val_set": [0]}))
    assert named(found) == ["happiness", "contempt", "neutral"]
    assert list(found.split) == ["train", "train", "val"]
    assert found.names[0].replace("\\", "/") == "train_set/images/0.jpg"
    assert "1 images are left out" in found.notes[0]
    assert named(find_stills(tmp_path / "val_set")) == ["neutral"]


def test_affectnet_lists_cut_the_face_out(tmp_path):
    frame = np.zeros((60, 80, 3), np.uint8)
    frame[10:30, 20:50] = 200
    for name in ("a", "b"):
        (tmp_path / "Manually_Annotated_Images" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "Manually_Annotated_Images" / name / "1.png"), frame)
    header = ",".join(["subDirectory_filePath", *affectnet.BOX, "facial_landmarks", "expression", "valence", "arousal"])
    training = write_list(tmp_path / "training.csv", header, ["a/1.png,20,10,30,20,1;2,6,0.1,0.2"])
    write_list(tmp_path / "validation.csv", header, ["b/1.png,20,10,30,20,1;2,3,0.1,0.2", "b/2.png,0,0,1,1,1;2,10,0,0"])
    both = find_stills(tmp_path)
    assert named(both) == ["anger", "surprise"]
    assert list(both.split) == ["train", "val"]
    assert (both.picture(0, SIDE) == 200).all()
    assert named(find_stills(training)) == ["anger"]


def test_folders_with_and_without_halves(tmp_path):
    halves = find_stills(class_tree(tmp_path / "a", halves=("Training", "validation", "test")))
    assert sorted(set(halves.split)) == ["test", "train", "val"]
    plain = find_stills(class_tree(tmp_path / "b", halves=()))
    assert not plain.split
    assert plain.labels == LABELS
    assert len(plain.names) == 24


@pytest.mark.parametrize("header", ["path,label,split,subject", "image;emotion;subset;person"])
def test_a_list_of_anybodys_images(tmp_path, header):
    images = write_images(tmp_path / "i", 6)
    sign = ";" if ";" in header else ","
    lines = [
        sign.join([str(path.relative_to(tmp_path)), label, "val" if number > 3 else "train", f"S{number}"])
        for number, (path, label) in enumerate(images)
    ]
    found = find_stills(write_list(tmp_path / "l.csv", header, lines))
    assert named(found) == [label for _, label in images]
    assert list(found.subject) == [f"S{number}" for number in range(6)]
    assert len(split_of(found).val) == 2
    assert found.names[0] == "i/000.png"


def test_probabilities_and_votes_are_shares(tmp_path):
    images = [str(path) for path, _ in write_images(tmp_path / "i", 2)]
    votes = write_list(tmp_path / "v.csv", "path,happy,sad", [f"{images[0]},3,1", f"{images[1]},0,5"])
    assert np.allclose(find_stills(votes).target, [[0.75, 0.25], [0, 1]])
    shares = write_list(tmp_path / "s.csv", "path,happy,sad", [f"{images[0]},0.334,0.667", f"{images[1]},1,0"])
    assert np.allclose(find_stills(shares).target, [[0.3337, 0.6663], [1, 0]], atol=1e-3)


def test_pictures_are_square_rgb_and_augmented_as_asked(tmp_path):
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 30:] = 200  # grey, the right half light
    cv2.imwrite(str(tmp_path / "0.png"), wide)
    colour = np.zeros((40, 40, 3), np.uint8)
    colour[..., 2] = 255  # red, as OpenCV has it
    cv2.imwrite(str(tmp_path / "1.png"), colour)
    listed = write_list(tmp_path / "l.csv", "path,label", ["0.png,a", "1.png,b"])
    pictures = StillPictures(find_stills(listed), np.arange(2), SIDE, torch.device("cpu"), workers=2)
    index = pictures.index(np.array([0, 1, 0]), np.array([False, False, True]))
    augmentation = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 0.5], [0, 0, 1, 1]], dtype=torch.float32)
    frames = pictures.take(index, augmentation)
    rows = frames.rows[frames.place.flatten()]
    assert rows.shape == (3, SIDE, SIDE, 3)
    assert (rows[0][:, -5:] == 200).all()
    assert torch.equal(rows[2], rows[0].flip(1))
    assert (rows[1] == torch.tensor([128, 0, 0])).all()  # RGB, lit by half


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    root = class_tree(tmp_path / "faces", halves=())
    (root / "red" / "3.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"red/3\.png is not an image"):
        tune_stills(find_stills(root), tmp_path / "a.safetensors", config(epochs=1))
