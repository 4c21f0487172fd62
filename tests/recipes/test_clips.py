"""Which clips a recipe takes, who is tested in which fold, and when that is only a part of the data set."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace

import pytest
from dataset_trees import MAKERS, make_cremad, make_dfew, video
from recipe_samples import ravdess_name

from est.errors import UsageError
from est.inputs.published import DATASETS, dataset_named, ravdess
from est.recipes.choice import RecipeChoice
from est.recipes.clips import deal_folds, find_clips, spread_clips, why_partial
from est.recipes.making import changed_settings
from est.recipes.plan import fit_batch, training_halves
from est.recipes.registry import RECIPES, recipe_named
from est.train.config.config import TrainConfig
from est.train.config.protocol import PROTOCOLS
from est.train.models.registry import model_config

RAVDESS = recipe_named("ravdess")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All speech of RAVDESS by its names: bytes in place of videos, because nothing is decoded here."""
    root = tmp_path_factory.mktemp("ravdess")
    for actor in range(1, 25):
        (root / f"Actor_{actor:02}").mkdir()
        for emotion in range(1, 9):
            for number in range(4 if emotion == 1 else 8):
                strong, statement, repetition = 1 + number // 4, 1 + number // 2 % 2, 1 + number % 2
                name = f"02-01-{emotion:02}-{strong:02}-{statement:02}-{repetition:02}-{actor:02}.mp4"
                (root / f"Actor_{actor:02}" / name).write_bytes(b"no video")
        (root / f"Actor_{actor:02}" / f"02-02-03-01-01-01-{actor:02}.mp4").write_bytes(b"a song")
    return root


def test_there_is_a_recipe_for_every_published_data_set():
    names = {recipe.name for recipe in RECIPES}
    macro = {name for name, protocol in PROTOCOLS.items() if not protocol.is_micro}  # micro-expressions have none yet
    assert names == macro | {"rendered"}
    assert macro <= {one.name for one in DATASETS if not one.is_generic}
    for recipe in RECIPES:
        config = RecipeChoice().training(recipe)
        assert (config.seeds, config.control, config.select) == ((1, 2, 3), True, "last")
        if recipe.rendering is None:
            known = dataset_named(recipe.name).published
            assert recipe.subjects in (0, *known.get("subjects", ()), 118)  # CK+: those with an emotion
            if PROTOCOLS[recipe.name].kind != "split":
                assert recipe.num_folds == PROTOCOLS[recipe.name].folds
            total = known.get("labelled clips", known.get("clips"))
            assert total is None or not recipe.clips or set(recipe.clips) <= set(total)


def test_names_are_found_as_people_write_them():
    assert recipe_named("CREMAD").name == "crema-d"
    assert recipe_named("RAVDESS") is RAVDESS
    with pytest.raises(UsageError, match="No recipe 'ravdes'") as caught:
        recipe_named("ravdes")
    assert caught.value.remedy == "est recipe run ravdess"
    with pytest.raises(UsageError, match="There is no recipe of") as caught:
        recipe_named("path-label")
    assert caught.value.remedy == "est extract --dataset path-label, then est train"
    with pytest.raises(UsageError, match="There is no recipe of") as caught:
        recipe_named("megc")
    assert caught.value.remedy == "est extract --dataset megc --modality flow, then est train --protocol megc"


def test_the_whole_of_ravdess_is_1440_clips_in_six_folds_of_four_actors(whole):
    clips = find_clips(RAVDESS, whole)
    assert (len(clips.inputs), clips.listed, clips.subjects, clips.partial) == (1440, 1440, 24, "")
    assert clips.dealt == ""
    assert clips.per_class == dict(zip(ravdess.LABELS, ravdess.SPEECH, strict=True))
    folds = {one.subject: one.fold for one in clips.inputs}
    assert folds["01"] == folds["04"] == 1
    assert folds["05"] == 2
    assert folds["24"] == 6
    assert Counter(folds.values()) == dict.fromkeys(range(1, 7), 4)
    women = Counter(fold for actor, fold in folds.items() if int(actor) % 2 == 0)
    assert women == dict.fromkeys(range(1, 7), 2)


def test_a_limit_spreads_over_people_and_classes_and_grows(whole):
    few, more = (find_clips(RAVDESS, whole, limit) for limit in (24, 60))
    assert (few.partial, few.dealt) == ("24 of 1,440 clips", "")  # folds are dealt before clips are chosen
    assert few.subjects == 24
    assert set(few.per_class.values()) == {3}
    assert {one.id for one in few.inputs} < {one.id for one in more.inputs}
    assert find_clips(RAVDESS, whole, 5000).partial == ""
    assert [one.fold for one in few.inputs] == sorted(one.fold for one in few.inputs)  # as in the whole
    with pytest.raises(UsageError, match="--limit is a number of clips from 1"):
        find_clips(RAVDESS, whole, 0)
    assert len(spread_clips(more.inputs, 60)) == 60


def test_a_trial_of_few_clips_takes_smaller_steps_and_says_so(whole):
    config = RecipeChoice().training(RAVDESS)
    clips = find_clips(RAVDESS, whole, 12)
    assert min(map(len, training_halves(clips).values())) == 10
    smaller, said = fit_batch(RAVDESS, clips, config)
    assert (config.loop.batch, smaller.loop.batch) == (16, 10)
    assert said == "a step takes 10 clips in place of 16: a fold learns from no more"
    with pytest.raises(
        UsageError, match="A step takes 16 clips, and a fold of 12 of 1,440 clips learns from 10"
    ) as caught:
        fit_batch(RAVDESS, clips, config, is_set=True)
    assert caught.value.remedy == "--set loop.batch=10"
    assert fit_batch(RAVDESS, find_clips(RAVDESS, whole), config) == (config, "")
    with pytest.raises(UsageError, match="learns from 1 clip of calm, and it takes two classes") as caught:
        fit_batch(RAVDESS, find_clips(RAVDESS, whole, 2), config)
    assert caught.value.remedy == "--limit 24, or the whole data set"


@pytest.mark.parametrize("name", MAKERS)
def test_a_part_of_a_data_set_is_partial(name, tmp_path):
    recipe = recipe_named(name)
    root = MAKERS[name](tmp_path)
    small = replace(recipe, num_folds=2) if name in ("bu4dfe", "mmi", "ck+") else recipe  # made trees show few people
    clips = find_clips(small, root)
    assert all(one.label for one in clips.everything)
    assert set(clips.labels) <= set(dataset_named(name).labels)  # which est recipe check holds a card to
    assert bool(clips.partial) == bool(recipe.clips)
    if recipe.clips:
        assert clips.partial == f"{clips.listed} of {recipe.clips[0]:,} clips"
    if recipe.folds != "given":
        assert {one.fold for one in clips.inputs} == set(range(1, small.num_folds + 1))


def test_files_that_are_not_there_make_it_partial_and_broken_ones_do_not(tmp_path):
    root = make_dfew(tmp_path / "dfew")
    shutil.rmtree(root / "Clip/clip_224x224/00003")
    recipe = replace(recipe_named("dfew"), clips=(35,))
    clips = find_clips(recipe, root)
    assert clips.partial == "34 of 35 clips: the files of 1 are not there"
    root = make_cremad(tmp_path / "cremad")
    recipe = replace(recipe_named("crema-d"), clips=(30,))
    video(root / "VideoFlash/1002_DFA_SAD_XX.flv", b"")
    broken = find_clips(recipe, root)
    assert (broken.partial, len(broken.inputs), len(broken.everything)) == ("", 29, 30)
    video(root / "VideoFlash/1003_DFA_SAD_XX.flv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "the files of 1 are not there" in find_clips(recipe, root).partial


def test_more_clips_than_published_are_named():
    assert why_partial(RAVDESS, 1500, 0) == "1,500 clips, 1,440 expected"
    assert why_partial(recipe_named("mmi"), 213, 0) == ""  # nobody says which 205 are the published ones


def test_a_root_without_the_data_set_says_what_was_looked_for(tmp_path):
    with pytest.raises(UsageError, match=r"RAVDESS is not in .*looked for videos whose names tell what they are"):
        find_clips(RAVDESS, tmp_path)
    video(tmp_path / f"Actor_01/{ravdess_name(1, 3, channel=2)}.mp4")
    with pytest.raises(UsageError, match=r"1 clip below .*, and none of speech"):
        find_clips(RAVDESS, tmp_path)
    video(tmp_path / f"Actor_01/{ravdess_name(1, 3)}.mp4")
    with pytest.raises(UsageError, match="6 folds by subject, and the clips show 1 subject: 01"):
        find_clips(RAVDESS, tmp_path)


def test_folds_depend_on_who_is_there_and_on_nothing_else():
    cremad = recipe_named("crema-d")
    people = {str(1001 + number) for number in range(91)}
    folds = deal_folds(cremad, people)
    assert [folds[str(1001 + number)] for number in range(6)] == [1, 2, 3, 4, 5, 1]
    assert Counter(folds.values()) == {1: 19, 2: 18, 3: 18, 4: 18, 5: 18}
    numbered = deal_folds(recipe_named("rendered"), {f"s{number}" for number in range(1, 13)})  # s2 before s10
    assert [numbered[f"s{number}"] for number in (1, 2, 3, 4, 9, 10, 12)] == [1, 1, 1, 2, 3, 4, 4]
    with pytest.raises(UsageError, match="some without a name"):
        deal_folds(cremad, {*people, ""})


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("protocol.folds=3", "est train"),
        ("select=val", "est train"),
        ("control=false", "est train"),
        ("seeds=1", "--seeds"),
        ("model.name=gru", "--model"),
        ("allow_leak=true", "--allow-leak"),
    ],
)
def test_settings_of_the_protocol_cannot_be_set(text, remedy):
    with pytest.raises(UsageError, match=r"belongs to ravdess protocol 1") as caught:
        RecipeChoice(settings=(text,)).training(RAVDESS)
    assert remedy in caught.value.remedy


def test_what_no_recipe_can_train_is_refused_before_anything_is_extracted(tmp_path):
    with pytest.raises(UsageError, match="window-head reads windows, and a recipe extracts frames") as caught:
        RecipeChoice(model="window-head").training(RAVDESS)
    assert caught.value.remedy == "est cache import, then est train --cache CACHE --model window-head"
    absent = f"model.class_vectors={tmp_path / 'absent.npz'}"
    with pytest.raises(UsageError, match=r"absent\.npz"):
        RecipeChoice(model="clip-temporal", settings=(absent,)).training(RAVDESS)


def test_the_settings_on_a_card_name_a_file_and_not_where_it_lies(tmp_path):
    config = TrainConfig(model=model_config("clip-temporal", class_vectors=str(tmp_path / "vectors.npz"), layers=2))
    settings = changed_settings(config, "official")
    assert settings == {"model.class_vectors": "vectors.npz", "model.layers": 2}


def test_an_extraction_is_of_the_pictures_and_annotations_that_it_read(tmp_path):
    root = make_dfew(tmp_path)
    recipe = recipe_named("dfew")

    def digest(clips):
        return replace(clips, partial=clips.partial).digest  # a copy has not computed it yet

    clips = find_clips(recipe, root)
    first = next(one for one in clips.inputs if one.kind == "frames")
    before, picture = digest(clips), min(first.path.iterdir())
    assert digest(find_clips(recipe, root)) == before
    kept = first.path.stat().st_mtime_ns
    picture.write_bytes(picture.read_bytes() + b"other")
    assert first.path.stat().st_mtime_ns == kept  # writing into a file leaves the time of its folder
    after = digest(find_clips(recipe, root))
    assert after != before
    others = tuple(replace(one, split="val") if one.id == first.id else one for one in clips.inputs)
    assert digest(replace(clips, found=replace(clips.found, inputs=others))) not in (before, after)


def test_another_model_adds_what_it_reads():
    def features(**choice):
        chosen = RecipeChoice(**choice)
        return chosen.extraction_config(RAVDESS, chosen.training(RAVDESS), are_crops=True)

    assert features(model="stt").features == ("gap", "layer3")
    assert features(model="r3d18").crops
    assert features(model="gru").features == ("gap",)
    assert features().detector == "none"
