"""Votes: which clip a line means, what is learnt of it, and every mistake in a table, refused with its line and column."""

from __future__ import annotations

import numpy as np
import pytest
from train_samples import LABELS, Recorder, learning_cache, outcome, tiny_config

from est.cache import open_cache
from est.errors import EstError, UsageError
from est.sweep.audit.permutation import permuted
from est.sweep.search.ground import without_labels
from est.train import Run, evaluate, fit, model_config, prepare
from est.train.config.protocol import ProtocolConfig
from est.train.folds.annotations import Annotations
from est.train.folds.votes import Votes, digest_of

CLIPS = 36
GRU = model_config("gru", frames=9, hidden=8)
HOLDOUT = ProtocolConfig(kind="holdout")
HEADER = "id,anger,happiness,surprise"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("votes") / "c.zarr", CLIPS, frames=24)


@pytest.fixture(scope="module")
def table(cache):
    return Annotations.from_cache(open_cache(cache))


def written(folder, *lines, header=HEADER):
    path = folder / "votes.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def of_all(folder, header=HEADER):
    """Write seven votes for each clip's label and three for the next class."""
    lines = []
    for number in range(CLIPS):
        counts = [0, 0, 0]
        counts[number % 3], counts[(number + 1) % 3] = 7, 3
        lines.append(f"clip{number:03d}," + ",".join(map(str, counts)))
    return written(folder, *lines, header=header)


def test_lines_mean_clips_and_columns_classes(tmp_path, table):
    path = written(
        tmp_path,
        "/videos/clip003.mp4,4,0,6,x",
        "clip007.mp4,0,1,1,y",  # by its name alone
        "/elsewhere/clip008.avi,0.25,0.5,0.25,z",
        header="Path,Surprise,ANGER,happiness,Subject",
    )
    found = Votes.read(path, table)
    assert found.line == {"clip003": 0, "clip007": 1, "clip008": 2}
    shares = found.shares(LABELS)
    np.testing.assert_allclose(shares, [[0, 0.6, 0.4], [0.5, 0.5, 0], [0.5, 0.25, 0.25]])


def test_lines_of_clips_that_are_not_here_are_counted(cache, tmp_path):
    path = written(tmp_path, "clip001,1,2,3", "clip099,1,0,0", "clip100,1,0,0")
    watch = Recorder()
    fit(cache, tmp_path / "run", tiny_config(model=GRU, votes=str(path), epochs=1, protocol=HOLDOUT), watch=watch)
    assert any("; 2 lines are of clips that are not in the cache" in text for text in watch.said)


@pytest.mark.parametrize(
    ("lines", "header", "words"),
    [
        (["clip001,1,-2,3"], HEADER, ["line 2, column 'happiness'", "numbers from 0, found '-2'"]),
        (["clip001,1,2,3", "", "clip002,1,many,3"], HEADER, ["line 4, column 'happiness'", "found 'many'"]),
        (["clip001,nan,2,3"], HEADER, ["line 2, column 'anger'", "found 'nan'"]),
        (["clip001,1,2,3", "clip002,0,,0"], HEADER, ["line 3", "nobody voted for any class of 'clip002'"]),
        (
            ["clip098,1,2,3", "clip099,1,0,0"],
            HEADER,
            ["line 2: 'clip098' names no clip of the cache, nor does another line."],
        ),
        (["clip001,1,2,3", "clip001,1,0,0"], HEADER, ["line 3", "'clip001' has votes in line 2 already"]),
        (["clip001,1,2"], HEADER, ["line 2", "expected 4 cells, found 3"]),
        ([], HEADER, ["no line with votes"]),
        (
            ["1,2,3"],
            "anger,happiness,surprise",
            ["a column id or path and one for each class", "found anger, happiness"],
        ),
        (["clip001,P1"], "id,subject", ["a column id or path and one for each class"]),
        (["clip001,1,2,3"], "id,anger,anger,surprise", ["the column 'anger' twice"]),
    ],
)
def test_a_table_that_makes_no_sense(tmp_path, table, lines, header, words):
    with pytest.raises(UsageError) as caught:
        Votes.read(written(tmp_path, *lines, header=header), table)
    for word in (*words, "votes.csv"):
        assert word in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("id,anger,happiness,joy", ["the column 'joy' is no class of the run, which has anger, happiness, surprise"]),
        ("id,anger,joy,seed", ["the columns 'joy', 'seed' are no classes of the run, which has anger"]),
        ("id,anger,happiness", ["no column for surprise; it has anger, happiness"]),
    ],
)
def test_columns_are_the_classes(tmp_path, table, header, words):
    votes = Votes.read(written(tmp_path, "clip001" + ",1" * header.count(","), header=header), table)
    with pytest.raises(UsageError) as caught:
        votes.shares(LABELS)
    assert all(word in caught.value.message for word in words)


def test_a_file_that_is_not_there(tmp_path, cache):
    with pytest.raises(UsageError, match=r"The votes .*nowhere\.csv cannot be read"):
        fit(cache, tmp_path / "run", tiny_config(model=GRU, votes="nowhere.csv"), watch=Recorder())
    assert not (tmp_path / "run").exists()


def test_clips_without_votes_are_learnt_by_their_label(tmp_path, cache):
    path = written(tmp_path, "clip000,1,1,0", "clip004,0,0,5")
    ready = prepare(cache, tiny_config(model=GRU, votes=str(path), protocol=HOLDOUT))
    shares = dict(zip(ready.data.clips.ids, ready.data.votes.tolist(), strict=True))
    assert shares["clip000"] == [0.5, 0.5, 0]
    assert shares["clip004"] == [0, 0, 1]
    assert shares["clip005"] == [0, 0, 1]
    assert shares["clip006"] == [1, 0, 0]
    assert ready.data.labels == LABELS
    hidden = without_labels(ready.data, np.flatnonzero(ready.data.table.ids == "clip000"))
    assert hidden.votes[ready.data.clips.ids.index("clip000")].tolist() == [0, 0, 0]
    assert int((hidden.votes != ready.data.votes).any(1).sum()) == 1


def test_votes_change_places_with_labels(tmp_path, cache):
    ready = prepare(cache, tiny_config(model=GRU, votes=str(of_all(tmp_path)), protocol=HOLDOUT))
    teacher = np.arange(len(ready.data.table))
    fold = ready.plan.folds[0]
    a, b = fold.train[:2]
    teacher[[a, b]] = b, a
    other = permuted(ready, teacher, 1, 1).fold_data.of(fold.name)
    place = ready.data.place
    assert other.votes[place[a]].tolist() == ready.data.votes[place[b]].tolist()
    assert other.votes[place[b]].tolist() == ready.data.votes[place[a]].tolist()
    assert (other.votes[place[fold.test]] == ready.data.votes[place[fold.test]]).all()


def test_a_run_learns_from_them_and_notices_other_ones(tmp_path, cache, monkeypatch):
    path = of_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = tiny_config(model=GRU, votes=path.name, protocol=HOLDOUT, epochs=2)
    watch = Recorder()
    found = fit(cache, tmp_path / "run", config, watch=watch)
    learnt = found.run.facts["protocol"]["folds"]
    clips = sum(fold["train"] for fold in learnt.values())
    assert f"votes for {clips} of {clips} clips to learn from; scores go by the labels" in watch.said
    fit(cache, tmp_path / "labels", tiny_config(model=GRU, protocol=HOLDOUT, epochs=2))
    assert outcome(tmp_path / "labels")["history.csv"] != outcome(tmp_path / "run")["history.csv"]
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "again", config, watch=Recorder(3))
    monkeypatch.chdir(cache.parent)  # of relative paths the place is known
    path.rename(tmp_path / "moved.csv")
    with pytest.raises(
        EstError, match=r"again learns from the votes .*votes\.csv, and there is no such file"
    ) as caught:
        fit(None, tmp_path / "again", resume=True, watch=Recorder())
    assert caught.value.remedy == "restore the file"
    (tmp_path / "moved.csv").rename(path)
    path.write_text(path.read_text(encoding="utf-8").replace("clip000,7,3", "clip000,3,7"), encoding="utf-8")
    with pytest.raises(EstError, match=r"The votes .*votes\.csv have changed since"):
        fit(None, tmp_path / "again", resume=True, watch=Recorder())
    of_all(tmp_path)
    fit(None, tmp_path / "again", resume=True)
    assert outcome(tmp_path / "again") == outcome(tmp_path / "run")
    path.unlink()
    assert evaluate(Run.open(tmp_path / "run"), watch=Recorder()).scores.war == found.scores.war


def test_a_table_that_is_not_there_is_said_once(tmp_path):
    with pytest.raises(UsageError) as caught:
        digest_of(tmp_path / "absent.csv")
    assert caught.value.message == f"The votes {tmp_path / 'absent.csv'} cannot be read."
    assert "No such file" in str(caught.value.__cause__)
