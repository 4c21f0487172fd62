"""Class names of two data sets: spelling is matched, meaning only by an alias."""

import itertools

import numpy as np
import pytest

from est.errors import UsageError
from est.train.folds.labels import align_truth, canonical, match_labels, parse_aliases

SEVEN = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
# the seven as AFEW, MAFW, RAVDESS and CREMA-D write them
SPELT = (
    ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear"),
    ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear"),
    ("happy", "sad", "neutral", "angry", "surprised", "disgust", "fearful"),
    ("HAP", "SAD", "NEU", "ANG", " sur ", "DIS", "FEA"),
)


@pytest.mark.parametrize("theirs", SPELT)
def test_spellings_match_in_any_order(theirs):
    expected = dict(zip(theirs, SEVEN, strict=True))
    for own, shown in ((SEVEN, theirs), (SEVEN[::-1], theirs), (SEVEN, theirs[3:] + theirs[:3])):
        assert match_labels(own, shown) == expected


def test_a_name_has_one_canonical_form():
    for names in zip(SEVEN, *SPELT, strict=True):
        assert len({canonical(name) for name in names}) == 1
    assert canonical(" Very_HAPPY  face") == "very happy face"


@pytest.mark.parametrize("name", ["calm", "contempt", "other", "anxiety"])
def test_other_classes_stay_themselves(name):
    assert canonical(name.title()) == name
    assert match_labels(SEVEN, ("sad", name)) == {"sad": "sad", name: None}
    assert match_labels((*SEVEN, name), (name.upper(), "sad")) == {name.upper(): name, "sad": "sad"}


def test_only_an_alias_merges():
    assert match_labels(SEVEN, ("calm", "neutral"), {"calm": "neutral"}) == {"calm": "neutral", "neutral": "neutral"}
    assert match_labels(SEVEN, ("Calm", "NEU"), {"calm": "Neutral"}) == {"Calm": "neutral", "NEU": "neutral"}
    with pytest.raises(UsageError, match="'happy', 'happiness' of the data would all become 'happy'") as caught:
        match_labels(SEVEN, ("happy", "happiness", "sad"))
    alias = parse_aliases([str(caught.value.remedy).split()[1]])
    assert match_labels(SEVEN, ("happy", "happiness", "sad"), alias)["happiness"] == "happy"


def test_equal_names_come_before_spellings():
    own = ("happy", "happiness", "sad")
    assert match_labels(own, ("happiness", "sad")) == {"happiness": "happiness", "sad": "sad"}
    with pytest.raises(UsageError, match="'HAP' of the data may be 'happy' or 'happiness' of the run"):
        match_labels(own, ("HAP", "sad"))
    assert match_labels(own, ("HAP", "sad"), {"HAP": "happiness"})["HAP"] == "happiness"


@pytest.mark.parametrize(
    ("aliases", "message"),
    [
        ({"clam": "neutral"}, "the data have 'calm', 'sad', not 'clam'"),
        ({"calm": "neutr"}, "the run has 'happy', 'sad', 'neutral'.*not 'neutr'"),
        ({"calm": "neutral", "CALM": "sad"}, "'calm' is an alias of both 'neutral' and 'sad'"),
    ],
)
def test_an_alias_names_both_sides(aliases, message):
    with pytest.raises(UsageError, match=message):
        match_labels(SEVEN, ("calm", "sad"), aliases)


def test_nothing_in_common_names_both_sides():
    with pytest.raises(UsageError, match="the run has 'happy', 'sad', the data have '0', '1'"):
        match_labels(("happy", "sad"), ("0", "1"))


def test_aliases_are_read():
    assert parse_aliases(["calm=neutral", " a b = c "]) == {"calm": "neutral", "a b": "c"}
    for text in ("calm", "=neutral", "calm=", ""):
        with pytest.raises(UsageError, match="THEIRS=OURS"):
            parse_aliases([text])
    with pytest.raises(UsageError, match="both 'x' and 'y'"):
        parse_aliases(["a=x", "a=y"])


def test_table_11_scores_290_of_352():
    own = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise")  # BU-4DFE has no neutral
    counts = {"anger": 59, "disgust": 39, "fear": 44, "happiness": 63, "neutral": 62, "sadness": 59, "surprise": 26}
    truth = list(itertools.chain.from_iterable([name] * number for name, number in counts.items()))
    assert len(truth) == 352
    matched = match_labels(own, list(counts))
    left = align_truth(truth, own, matched)
    assert len(left.rows) == 290
    assert left.excluded == {"neutral": 62}
    assert left.labels == own
    assert [own[code] for code in left.truth[:59]] == ["Angry"] * 59
    wrong = align_truth(truth, own, matched, unknown="wrong")
    assert len(wrong.rows) == 352
    assert wrong.excluded == {}
    assert wrong.labels == (*own, "neutral")
    assert (wrong.truth == len(own)).sum() == 62


def test_clips_without_a_label_are_counted_apart():
    found = align_truth(["b", None, "a", "x", None], ("a", "b"), {"a": "a", "b": "b", "x": None})
    np.testing.assert_array_equal(found.rows, [0, 2])
    np.testing.assert_array_equal(found.truth, [1, 0])
    assert (found.excluded, found.unlabelled) == ({"x": 1}, 2)
    with pytest.raises(UsageError, match="No clip is left to score"):
        align_truth(["x", None], ("a", "b"), {"a": "a", "x": None})
