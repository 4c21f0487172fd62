"""Recipes: one text, one fingerprint; every difference by the name of its field."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from est.cache import FeatureRecipe, FramesRecipe, Recipes, current_environment
from est.cache.environment import environment_changes
from est.cache.recipe import canonical_json, expect_recipes, expect_same
from est.errors import CacheDamaged, FeaturesLeftOut, RecipeMismatch, UsageError

FRAMES = FramesRecipe(
    decoder="opencv", detector="retinaface", detector_digest="00ff", detect_size=640, score_threshold=0.5, margin=0.25
)
GAP = FeatureRecipe(parent=FRAMES.fingerprint, backbone="resnet18", weights="Gewichte.pt", normalize="imagenet")


def recipes(frames=FRAMES, **features):
    """Return recipes whose features have the right parent."""
    features = features or {"gap": GAP}
    return Recipes(frames=frames, features={n: replace(r, parent=frames.fingerprint) for n, r in features.items()})


def test_the_fingerprints_of_version_1_stay_what_they_are():
    """A cache names its recipes by these: a change of a field, a default or the text needs a new version of the format."""
    assert FRAMES.fingerprint == "744c412cd5328385245953e65ffa6c58"
    assert GAP.fingerprint == "1ae8cb21bad2555b1caffa6403667f34"


def test_a_fingerprint_is_the_hash_of_the_canonical_text():
    text = json.dumps(FRAMES.identity(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical_json(FRAMES.identity()) == text
    assert FRAMES.fingerprint == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_the_canonical_text_is_one():
    assert canonical_json({"b": [1, 2.0, None, True], "a": "é\n"}) == '{"a":"é\\n","b":[1,2.0,null,true]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


CHANGES = {
    "str": "other",
    "int": 7,
    "float": 0.125,
    "bool": True,
    "tuple[int, ...]": (3, 7),
}


@pytest.mark.parametrize("item", fields(FramesRecipe), ids=lambda item: item.name)
def test_every_field_of_the_frames_counts(item):
    other = replace(FRAMES, **{item.name: CHANGES[item.type]})
    assert other.fingerprint != FRAMES.fingerprint
    assert FRAMES.differences(other) == [item.name]
    assert recipes().differences(recipes(other)) == [item.name]


@pytest.mark.parametrize("item", fields(FeatureRecipe), ids=lambda item: item.name)
def test_every_field_of_a_feature_counts(item):
    other = replace(GAP, **{item.name: "float32" if item.name == "dtype" else CHANGES[item.type]})
    assert other.fingerprint != GAP.fingerprint
    assert GAP.differences(other) == [item.name]
    if item.name != "parent":
        assert recipes().differences(recipes(gap=other)) == [f"gap.{item.name}"]


def test_fields_that_came_later_are_written_only_where_they_say_something():
    assert FeatureRecipe.LATER == ("fold", "cross_fit", "view", "look", "window", "modality", "engine", "calibration")
    assert not set(GAP.identity()) & set(FeatureRecipe.LATER)
    assert FeatureRecipe.from_identity(GAP.identity()) == GAP
    view = replace(GAP, fold="fold 1", view=2, look="flip")
    assert view.identity() == GAP.identity() | {"fold": "fold 1", "view": 2, "look": "flip"}
    assert FeatureRecipe.from_identity(view.identity()) == view
    assert GAP.differences(view) == view.differences(GAP) == ["fold", "view", "look"]
    told = recipes().describe(recipes(gap=view), ["gap.fold", "gap.view"])
    assert told == "gap.fold: nothing here, fold 1 there, gap.view: 0 here, 2 there"
    assert FramesRecipe.LATER == ("flow",)
    assert "flow" not in FRAMES.identity()
    assert FramesRecipe.from_identity(FRAMES.identity()) == FRAMES
    assert replace(FRAMES, flow="farneback").identity() == FRAMES.identity() | {"flow": "farneback"}
    with pytest.raises(CacheDamaged, match="has the fields"):
        FeatureRecipe.from_identity({name: value for name, value in GAP.identity().items() if name != "tap"})
    with pytest.raises(UsageError, match="Views are counted from 1"):
        replace(GAP, view=-1)


def test_what_is_equal_is_written_in_one_way():
    same = FramesRecipe(
        decoder="opencv",
        detector="retinaface",
        detector_digest="00ff",
        detect_size=np.int64(640),
        score_threshold=np.float64(0.5),
        smooth=0,
        margin=np.float32(0.25),
    )
    assert same.fingerprint == FRAMES.fingerprint
    listed = replace(GAP, shape=[np.int64(512)])
    assert listed == GAP
    assert listed.fingerprint == GAP.fingerprint
    assert recipes().differences(recipes(same, gap=listed)) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": "224"}, "size has the type int, found '224'"),
        ({"size": True}, "size has the type int"),
        ({"size": 224.0}, "size has the type int"),
        ({"smooth": float("nan")}, "smooth has the type float, found nan"),
        ({"margin": "0.5"}, "margin has the type float"),
        ({"decoder": None}, "decoder has the type str, found None"),
        ({"size": 0}, "size ≥ 1"),
        ({"detect_every": 0}, "detect_every ≥ 1"),
        ({"detect_size": -1}, "detect_size ≥ 0"),
    ],
)
def test_frames_recipes_that_make_no_sense(values, message):
    with pytest.raises(UsageError, match=message) as error:
        replace(FRAMES, **values)
    assert error.value.status == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dtype": "int8"}, "float16 or float32, found 'int8'"),
        ({"dtype": "bfloat16"}, "float16 or float32"),
        ({"shape": (3, 0)}, "sides of at least 1"),
        ({"shape": 512}, "shape has the type"),
        ({"shape": (1.5,)}, "shape has the type"),
        ({"mirrored": 1}, "mirrored has the type bool, found 1"),
    ],
)
def test_feature_recipes_that_make_no_sense(values, message):
    with pytest.raises(UsageError, match=message):
        replace(GAP, **values)


@pytest.mark.parametrize(
    "name", ["box", "landmarks", "score", "time", "state", "crops", "row", "", "a/b", "a b", "ü", "1a", "../a"]
)
def test_names_that_collide_or_are_no_names(name):
    with pytest.raises(
        UsageError, match="letters, digits and _, and not box, landmarks, score, time, state, window_start"
    ):
        recipes(**{name: GAP})


def test_a_feature_names_its_parent():
    with pytest.raises(UsageError, match="'gap' names the parent"):
        Recipes(frames=replace(FRAMES, size=112), features={"gap": GAP})


def test_an_identity_reads_back():
    both = recipes(gap=GAP, map=replace(GAP, tap="layer4", shape=(512, 7, 7), mirrored=True))
    again = Recipes.from_identity(json.loads(canonical_json(both.identity())))
    assert again == both
    assert again.fingerprints() == both.fingerprints()
    assert set(both.fingerprints()) == {"frames", "gap", "map"}


@given(
    score=st.floats(allow_nan=False, allow_infinity=False),
    weights=st.text(st.characters(exclude_categories=["Cs"])),
    size=st.integers(1, 2**53),
    shape=st.lists(st.integers(1, 2**40), max_size=4),
)
@settings(max_examples=100, derandomize=True)
def test_any_identity_reads_back(score, weights, size, shape):
    frames = replace(FRAMES, score_threshold=score, size=size)
    both = recipes(frames, gap=replace(GAP, weights=weights, shape=tuple(shape)))
    again = Recipes.from_identity(json.loads(canonical_json(both.identity())))
    assert again == both
    assert again.fingerprints() == both.fingerprints()


def test_an_identity_with_other_fields_is_damage():
    identity = FRAMES.identity()
    with pytest.raises(CacheDamaged, match="A recipe has the fields"):
        FramesRecipe.from_identity(identity | {"more": 1})
    del identity["margin"]
    with pytest.raises(CacheDamaged, match="A recipe has the fields"):
        FramesRecipe.from_identity(identity)


def test_differences_name_features_that_only_one_has():
    both = recipes(gap=GAP, map=replace(GAP, tap="layer4"))
    other = recipes(replace(FRAMES, size=112), gap=replace(GAP, weights="synface", mirrored=True), late=GAP)
    found = both.differences(other)
    assert found == ["size", "gap.weights", "gap.mirrored", "late (only in one)", "map (only in one)"]
    assert both.describe(other, found) == (
        "size: 224 here, 112 there, gap.weights: Gewichte.pt here, synface there, gap.mirrored: False here, True there, "
        "late (only in one): absent here, present there, map (only in one): present here, absent there"
    )


def test_the_same_is_expected_but_for_what_is_allowed():
    other = recipes(replace(FRAMES, size=112), gap=replace(GAP, weights="synface"))
    with pytest.raises(
        RecipeMismatch, match=r"X was made with other settings: size: 224 here, 112 there, gap.weights"
    ) as error:
        expect_same(recipes(), other, where="X", remedy="do this")
    assert error.value.remedy == "do this"
    with pytest.raises(RecipeMismatch, match=r"other settings: size: 224 here, 112 there[.](?m:$)"):
        expect_same(recipes(), other, where="X", allow=("gap.weights",))
    assert expect_same(recipes(), other, where="X", allow=("gap.weights", "size", "margin")) == ["size", "gap.weights"]
    assert expect_same(recipes(), recipes(), where="X") == []


def test_features_may_come_and_none_may_go(tmp_path):
    both = recipes(gap=GAP, map=replace(GAP, tap="layer4"))
    assert list(expect_recipes(recipes(), both, tmp_path)) == ["map"]
    assert expect_recipes(both, both, tmp_path) == {}
    with pytest.raises(RecipeMismatch, match="also has the features map") as error:
        expect_recipes(both, recipes(), tmp_path)
    assert error.value.remedy == "ask for all of them: --features gap,layer4"
    assert error.value.status == 2
    with pytest.raises(FeaturesLeftOut, match="also has the features map") as error:
        expect_recipes(both, recipes(gap=GAP, late=replace(GAP, tap="layer3")), tmp_path)
    assert error.value.remedy == "ask for all of them: --features gap,layer4,layer3", "what is here, and what is new"
    mirrored, seen = replace(GAP, mirrored=True), replace(GAP, view=3, look="shift 0.1")
    with pytest.raises(RecipeMismatch, match="also has the features gap_flip, gap_view3") as error:
        expect_recipes(recipes(gap=GAP, gap_flip=mirrored, gap_view3=seen), recipes(), tmp_path)
    assert error.value.remedy == "ask for all of them: --features gap --flip --views 3"
    with pytest.raises(RecipeMismatch, match=r"gap.weights"):
        expect_recipes(recipes(), recipes(gap=replace(GAP, weights="x"), map=GAP), tmp_path)


def test_environments_are_compared_where_both_know():
    then = {"a": 1, "versions": {"x": "1", "y": "2"}, "platform": "p", "only": 1}
    now = {"a": 2, "versions": {"x": "1", "y": "3", "z": "4"}, "platform": "q", "new": 1}
    assert environment_changes(then, now) == ["a: 1 then, 2 now", "versions.y: 2 then, 3 now"]
    assert environment_changes(then, then) == []
    assert environment_changes(now, then, words=("here", "there"))[0] == "a: 2 here, 1 there"
    fused, earlier = {"device": ["cpu"], "kernels": "fused"}, {"device": ["cpu"]}
    assert environment_changes(earlier, fused) == ["kernels: plain then, fused now"]  # extracted before it was recorded
    assert environment_changes(fused, earlier) == ["kernels: fused then, plain now"]
    assert environment_changes(fused, {"imported_by": "x"}) == environment_changes(fused, fused) == []


def test_the_environment_of_this_machine():
    found = current_environment(["zarr", "no-such-package"], device="cpu")
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["no-such-package"] == "absent"
    assert found["device"] == "cpu"
    assert environment_changes(found, json.loads(canonical_json(found))) == []
