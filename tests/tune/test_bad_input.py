"""What cannot be learnt from is refused: what was expected, what was found, and what mends it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cache_samples import make_cache
from processor import LACKS_BF16
from train_samples import Recorder
from tune_samples import colour_cache, config, small_start, start_that_saw, table_of, write_images, write_list

from est.cache import open_cache
from est.encoders.weights import save_weights
from est.errors import EstError, UsageError
from est.train.config.protocol import ProtocolConfig
from est.tune import TuneConfig, find_stills, read_card, tune_cache, tune_clips, tune_stills
from est.tune.crossfit import tune_folds
from est.tune.loop import FrameTrainer


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return colour_cache(tmp_path_factory.mktemp("bad") / "cache.zarr")


def refused(call, *words, kind=UsageError):
    """Return the remedy of a refusal whose message has these words."""
    with pytest.raises(kind) as caught:
        call()
    for word in words:
        assert word in caught.value.message, caught.value.message
    assert caught.value.remedy
    return caught.value.remedy


def some_rows(cache, out, train=range(12), val=range(12, 24), **changes):
    opened, _ = table_of(cache)
    start = changes.pop("start", None) or small_start()
    return tune_clips(opened, list(train), list(val), out, config(**changes), start=start)


def test_neither_crops_nor_sources(tmp_path):
    path = colour_cache(tmp_path / "c.zarr", crops=False)
    assert "--crops" in refused(
        lambda: some_rows(path, tmp_path / "a.safetensors"), "has no crops and no record of the sources"
    )


def test_clips_without_labels(tmp_path, cache):
    path = colour_cache(tmp_path / "c.zarr", 6, fields={4: {"label": None}})
    remedy = refused(lambda: some_rows(path, tmp_path / "a.safetensors", range(4), [4, 5]), "1 of 6 clips", "clip04")
    assert "relabel" in remedy
    nothing = colour_cache(tmp_path / "n.zarr", 3, fields={number: {"label": None} for number in range(3)})
    assert "relabel" in refused(lambda: tune_cache(nothing, tmp_path / "a.safetensors", config()), "None of 3 clips")


def test_one_class(tmp_path, cache):
    refused(lambda: some_rows(cache, tmp_path / "a.safetensors", [0, 3, 6], []), "All 3 clips", "'blue'")
    faceless = colour_cache(tmp_path / "f.zarr", 4, faceless={1, 2})
    refused(lambda: some_rows(faceless, tmp_path / "a.safetensors", range(4), []), "with a face", "'blue'")


def test_no_face_at_all_and_none_to_choose_by(tmp_path):
    path = colour_cache(tmp_path / "f.zarr", 6, faceless=set(range(6)))
    refused(lambda: some_rows(path, tmp_path / "a.safetensors", range(6), []), "None of 6 clips", "shows a face")
    path = colour_cache(tmp_path / "g.zarr", 6, faceless={4, 5})
    remedy = refused(
        lambda: some_rows(path, tmp_path / "a.safetensors", range(4), [4, 5]), "None of 2 clips to choose by"
    )
    assert "--select last" in remedy


def test_a_fold_without_clips_an_unknown_one_and_no_choice_of_one(tmp_path, cache):
    def tune(path, **protocol):
        return lambda: tune_cache(path, tmp_path / "a.safetensors", config(), protocol=ProtocolConfig(**protocol))

    tested = {number: {"fold": 1} for number in range(6)}
    path = colour_cache(tmp_path / "c.zarr", 6, fields=tested)
    refused(tune(path, only=("fold1",)), "fold1: no clip is left to learn from")
    assert "fold2" in refused(tune(cache, kind="kfold", folds=2, only=("fold7",)), "no fold 'fold7'", "fold1, fold2")
    assert "--fold fold1" in refused(tune(cache, kind="kfold", folds=2), "one fold", "fold1, fold2")
    assert refused(lambda: some_rows(cache, tmp_path / "a.safetensors", [], []), "no clips to learn from")


def test_splits(tmp_path, cache):
    fields = {number: {"split": "train" if number < 18 else "test"} for number in range(24)}
    path = colour_cache(tmp_path / "c.zarr", fields=fields)
    out = tune_cache(path, tmp_path / "a.safetensors", config(epochs=1, frames_per_clip=1), split="Training")
    card = read_card(out)
    assert card["data"]["train"]["clips"] + card["data"]["val"]["clips"] == 18
    assert "--split test" in refused(lambda: tune_cache(path, out, config(), split="dev"), "split 'dev'", "test, train")
    assert "relabel" in refused(lambda: tune_cache(cache, out, config(), split="train"), "no splits")
    refused(
        lambda: tune_cache(path, out, config(), split="train", protocol=ProtocolConfig()),
        "Expected a fold or a split, found both",
    )


def test_nobody_known_by_subject(tmp_path):
    path = colour_cache(tmp_path / "c.zarr", 12, fields={3: {"subject": ""}})
    assert "--by clip" in refused(lambda: tune_cache(path, tmp_path / "a.safetensors", config()), "clip03")
    path = colour_cache(tmp_path / "d.zarr", 9, people=1)
    assert "--by clip" in refused(lambda: tune_cache(path, tmp_path / "a.safetensors", config()), "two subjects")
    out = tune_cache(path, tmp_path / "a.safetensors", config(by="clip", epochs=1, frames_per_clip=1))
    assert read_card(out)["data"]["val"]["clips"] == 1


def test_halves_that_overlap(tmp_path, cache):
    with pytest.raises(UsageError, match="2 clips are learnt from and chosen by: clip03, clip04"):
        some_rows(cache, tmp_path / "a.safetensors", range(5), [3, 4, 9])


def test_where_it_is_written(tmp_path, cache):
    remedy = refused(lambda: some_rows(cache, tmp_path / "a.pt"), ".safetensors", "a.pt")
    assert remedy == f"--out {tmp_path / 'a.safetensors'}"
    (tmp_path / "README.md").write_text("# Mine\n")
    refused(lambda: some_rows(cache, tmp_path / "README.safetensors"), "README.md", "which is another file")
    save_weights(tmp_path / "b.safetensors", small_start().backbone, normalize="none", trained_on=None)
    refused(lambda: some_rows(cache, tmp_path / "b.safetensors"), "was not made by est tune")
    (tmp_path / "c.safetensors").write_bytes(b"nothing")
    refused(lambda: some_rows(cache, tmp_path / "c.safetensors"), "not a file of weights", kind=EstError)
    (tmp_path / "d.tuning").write_bytes(b"nothing")
    remedy = refused(lambda: some_rows(cache, tmp_path / "d.safetensors"), "damaged", kind=EstError)
    assert remedy.startswith(f"rm {tmp_path / 'd.tuning'}")


def test_a_loss_that_is_no_number(tmp_path, cache):
    start = small_start()
    with torch.no_grad():
        start.backbone.conv.weight[0] = float("nan")
    remedy = refused(
        lambda: some_rows(cache, tmp_path / "a.safetensors", start=start), "diverged", "epoch 1, step 1", kind=EstError
    )
    assert "--lr" in remedy
    assert not list(tmp_path.iterdir())


def test_a_step_that_does_not_fit(tmp_path, cache, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(FrameTrainer, "_take", full)
    monkeypatch.setattr(FrameTrainer, "settle", lambda self: None)
    remedy = refused(
        lambda: some_rows(cache, tmp_path / "a.safetensors"), "12 frames does not fit", "cpu", kind=EstError
    )
    assert "--batch" in remedy
    assert ("bf16" in remedy) == (LACKS_BF16 is None)


def test_errors_that_less_memory_would_not_mend_stay(tmp_path, cache, monkeypatch):
    def broken(*_):
        raise RuntimeError("which is another file")

    monkeypatch.setattr(FrameTrainer, "_take", broken)
    monkeypatch.setattr(FrameTrainer, "settle", lambda self: None)
    with pytest.raises(RuntimeError, match="which is another file"):
        some_rows(cache, tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("batch", 1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("batch_norm", "off"),
        ("apex", "start"),
        ("occlusion", 1.0),
        ("shift", 0.6),
        ("precision", "fp8"),
        ("select", "test"),
    ],
)
def test_settings_that_make_no_sense(name, value):
    with pytest.raises(UsageError, match=f"tune.{name} ") as caught:
        TuneConfig(**{name: value})
    assert (f"{value:g}" if isinstance(value, float) else str(value)) in caught.value.message


# ---- leaks


def test_a_start_that_has_seen_the_clips_to_choose_by(tmp_path, cache):
    out = tmp_path / "a.safetensors"
    quick = {"epochs": 1, "frames_per_clip": 1}
    for start in (start_that_saw(["clip12"]), start_that_saw(["x"], subjects=["P0"])):
        train, val = (range(12), range(12, 24)) if "clip12" in start.trained_on.clips else (range(3, 12), range(3))
        remedy = refused(lambda: some_rows(cache, out, train, val, start=start, **quick), "val clips", kind=EstError)  # noqa: B023
        assert "--select last" in remedy
    start = start_that_saw(["clip12"])
    opened, _ = table_of(cache)
    allowed = config(**quick, allow_leak=True)
    watch = Recorder()
    tune_clips(opened, np.arange(12), np.arange(12, 24), out, allowed, start=start, watch=watch)
    words = "1 of 12 val clips were learnt from before, by the weights small: clip12"
    assert words in watch.warned
    assert read_card(out)["leaks"] == [words]
    assert f"**Leak, allowed:** {words}" in out.with_suffix(".md").read_text()
    # nothing is chosen by them: nothing leaks
    some_rows(cache, tmp_path / "b.safetensors", range(24), [], start=start, **quick)


def test_a_start_that_has_seen_clips_that_the_fold_tests(tmp_path, cache):
    first = tune_cache(cache, tmp_path / "all.safetensors", config(epochs=1, frames_per_clip=1))
    protocol = ProtocolConfig(kind="kfold", folds=2, only=("fold2",))
    again = config(epochs=1, frames_per_clip=1, weights=str(first), select="last")
    remedy = refused(
        lambda: tune_cache(cache, tmp_path / "a.safetensors", again, protocol=protocol),
        "12 of 12 test clips of fold2 were learnt from before",
        kind=EstError,
    )
    assert "--weights imagenet" in remedy
    assert "--allow-leak" in remedy
    clean = config(epochs=1, frames_per_clip=1, select="last")
    fold1 = tune_cache(
        cache, tmp_path / "1.safetensors", clean, protocol=ProtocolConfig(kind="kfold", folds=2, only=("fold1",))
    )
    refused(  # the training half of fold1 is what fold2 tests
        lambda: tune_cache(
            cache, tmp_path / "b.safetensors", config(weights=str(fold1), select="last"), protocol=protocol
        ),
        "test clips of fold2",
        kind=EstError,
    )


def test_the_start_of_a_cache_is_that_of_its_features(tmp_path, cache):
    import est.tune.start as module

    assert module.start_of_cache(open_cache(cache), config(weights="")).name == "random"
    other = colour_cache(tmp_path / "c.zarr", 3)
    opened = open_cache(other)
    recipe = opened.recipes.features["gap"]
    object.__setattr__(recipe, "weights_digest", "0" * 32)
    refused(
        lambda: module.start_of_cache(opened, config(weights="")), "other weights of the name random", kind=EstError
    )
    object.__setattr__(recipe, "weights", "mine.pt")
    assert "mine.pt" in refused(
        lambda: module.start_of_cache(opened, config(weights="")), "has no record of their path"
    )


# ---- images


def test_image_lists(tmp_path):
    images = [str(path) for path, _ in write_images(tmp_path / "i", 3)]

    def refuse(header, lines, *words):
        return refused(lambda: find_stills(write_list(tmp_path / "l.csv", header, lines)), *words)

    gone = [f"{images[0]},a", "gone.png,b", "gone2.png,a"]
    assert "from the list" in refuse("path,label", gone, "2 of 3 images", "gone.png")
    refuse("path,label", [f"{images[0]},a", f"{images[1]},"], "line 3: the label is empty")
    refuse("path,label", [f"{images[0]},a", f"{images[0]},b"], "names an image twice", "000.png")
    refuse("path,label", [], "no labelled image")
    refuse("path,label", [f"{images[0]},a,b"], "line 2: expected 2 cells, found 3")
    refuse("path,happy,sad", [f"{images[0]},1,0", f"{images[1]},0,0"], "line 3", "are 0")
    refuse(
        "path,happy,sad", [f"{images[0]},0.5,0.5", f"{images[1]},0.5,0.9"], "line 3: probabilities sum to 1, found 1.4"
    )
    refuse("path,happy,sad", [f"{images[0]},1,-1"], "line 2: the share of 'sad'", "'-1'")
    refuse("path,happy,sad", [f"{images[0]},1,yes"], "line 2: the share of 'sad'", "'yes'")
    refuse("path,happy", [f"{images[0]},1"], "neither a column label nor one for each")
    refuse("name,age", ["x,3"], "not a known layout of labelled images", "columns name, age")
    same = find_stills(write_list(tmp_path / "s.csv", "path,label", [f"{images[0]},a", f"{images[1]},a"]))
    refused(lambda: tune_stills(same, tmp_path / "a.safetensors", config()), "All 2 images", "'a'")
    tested = find_stills(write_list(tmp_path / "t.csv", "path,label,split", [f"{images[0]},a,test"]))
    refused(lambda: tune_stills(tested, tmp_path / "a.safetensors", config()), "in the split train")


def test_layouts_that_are_none(tmp_path):
    refused(lambda: find_stills(tmp_path / "nowhere"), "no images at")
    (tmp_path / "empty").mkdir()
    assert "path and label" in refused(lambda: find_stills(tmp_path / "empty"), "a folder with nothing", "RAF-DB")
    (tmp_path / "a.zip").write_bytes(b"PK")
    refused(lambda: find_stills(tmp_path / "a.zip"), "a file .zip")
    write_images(tmp_path / "c" / "red", 2)
    refused(lambda: find_stills(tmp_path / "c", votes=tmp_path / "v.csv"), "--votes are those of FER+")


def test_lists_of_data_sets(tmp_path):
    pixels = " ".join(["7"] * 48 * 48)
    fer = tmp_path / "fer2013.csv"
    header = "emotion,pixels,Usage"
    refused(lambda: find_stills(write_list(fer, header, [f"0,{pixels} 8,Training"])), "line 2", "2304 numbers")
    refused(lambda: find_stills(write_list(fer, header, [f"0,{pixels[:-1]}256,Training"])), "line 2", "from 0 to 255")
    refused(lambda: find_stills(write_list(fer, "emotion,pixels", [f"0,{pixels}"])), "lacks Usage")
    with pytest.raises(UsageError, match="an emotion is 0 to 6, found '7'"):
        find_stills(write_list(fer, header, [f"7,{pixels},Training"]))
    write_list(fer, header, [f"0,{pixels},Training", f"1,{pixels},PublicTest"])
    names = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    votes = tmp_path / "votes.csv"
    one = ",".join(["1"] * 10)
    refused(lambda: find_stills(fer, votes=votes), "no votes at")
    short = write_list(votes, names, [f"Training,a,{one}"])
    refused(lambda: find_stills(fer, votes=short), "do not belong together: 1 lines for 2 images")
    other = write_list(votes, names, [f"Training,a,{one}", f"Training,b,{one}"])
    refused(lambda: find_stills(fer, votes=other), "in other splits")
    raf = write_list(tmp_path / "list_patition_label.txt", "train_00001.jpg 5", [])
    refused(lambda: find_stills(raf), "no Image/aligned")
    (tmp_path / "Image" / "aligned").mkdir(parents=True)
    refused(lambda: find_stills(raf), "1 of 1 images", "train_00001_aligned.jpg")
    refused(lambda: find_stills(write_list(raf, "train_00001.jpg 8", [])), "line 1", "from 1 to 7")


@pytest.mark.parametrize("tune", [tune_cache, tune_folds])
def test_clips_that_gave_no_frames_are_named(tune, tmp_path):
    cache, watch = open_cache(make_cache(tmp_path / "c.zarr", failures=(11, 12))), Recorder()
    gone = [one.id for one in cache.failures if one.label is not None]
    with pytest.raises(EstError):  # the cache has no pictures to learn from
        tune(cache, tmp_path / "out.zarr", TuneConfig(), watch=watch)
    (told,) = [text for text in watch.warned if "gave no frames, and nothing is learnt from them" in text]
    assert told.startswith(f"{len(gone)} labelled clip")
    assert all(name in told for name in gone)
    assert gone
