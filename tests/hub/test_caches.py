"""`est cache push` and `pull`: what goes out tells no name and no face, what comes in is verified, and terms are kept."""

from __future__ import annotations

import json
import os
import stat

import pytest
from hub_samples import FakeHub
from train_samples import LABELS, learning_cache, learning_clip, learning_recipes

from est.cache import CacheWriter, Source, convert_cache, merge_caches, open_cache, verify_cache
from est.cache.reading.datasets import datasets_of
from est.cache.schema import STRING, ColumnSpec
from est.cache.trained import TrainedOn
from est.cli import main
from est.errors import EstError, UsageError
from est.hub import client
from est.hub.client import HubError
from est.hub.sharing.caches import FILE, pull_cache, push_cache
from est.hub.sharing.terms import Permission, Terms
from est.inputs.published import DATASETS

ALLOWED = Permission(licence="CC BY 4.0", confirmed=True)
PEOPLE = [f"Planted{letter}" for letter in "ABCDEF"]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    found = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(client, "open_hub", lambda: found)
    return found


def cache_of(path, dataset=""):
    """Write a cache of planted names, whose features have learnt from one clip of it and one of elsewhere."""
    record = TrainedOn(
        clips=("planted/0", "planted/gone"), digests=("01" * 16,), subjects=("PlantedA",), how="est tune"
    )
    environment = {"dataset": {"name": dataset}} if dataset else {}
    recipes = learning_recipes(trained_on=record.fingerprint, weights="planted.safetensors", weights_digest="5a" * 16)
    with CacheWriter.open(path, recipes, labels=LABELS, trained_on=[record], environment=environment) as writer:
        for index in range(12):
            named = {"id": f"planted/{index}", "path": f"/videos/planted{index}.mp4", "subject": PEOPLE[index % 6]}
            source = Source(num_bytes=1000 + index, mtime_ns=7, digest=bytes([index + 1] * 16))
            writer.add(learning_clip(index, **named, source=source))
    return path


@pytest.fixture
def cache(tmp_path):
    return cache_of(tmp_path / "c.zarr")


def gap(cache):
    return sorted(cache.clip(place).features["gap"].tobytes() for place in range(len(cache)))


def test_what_is_pushed_comes_back_verified_and_without_names(cache, hub, tmp_path):
    pushed = push_cache(cache, "hub:me/faces", ALLOWED)
    assert hub.public["me/faces", "dataset"] is False
    files = hub.files("me/faces", "dataset")
    assert sorted(files) == ["README.md", FILE, "est.json"]
    everything = b"\n".join(files.values())
    for secret in ("planted", "Planted", "/videos", str(tmp_path)):
        assert secret.encode() not in everything, secret
    for out in ("back.zarr", "back.h5"):
        name = pull_cache("hub:me/faces", tmp_path / out)
        assert str(name) == pushed.name
        back = open_cache(tmp_path / out)
        assert verify_cache(tmp_path / out).problems == []
        assert gap(back) == gap(open_cache(cache))
        assert len(set(back.clips.subject)) == 6
        assert back.environment["hub"] == pushed.name
        assert (back.recipes.features["gap"].weights, back.recipes.features["gap"].weights_digest) == (
            "FILE",
            "5a" * 16,
        )
        assert back.trained_on("gap").knows_clips(["planted/gone", "planted/other"]).tolist() == [True, False]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.h5", "back.zarr", "c.zarr", "hub"]


def test_the_card_has_terms_personal_data_and_the_record(cache, hub):
    push_cache(cache, "hub:me/faces", ALLOWED)
    card = hub.files("me/faces", "dataset")["README.md"].decode()
    for text in (
        'license_name: "cc-by-4.0"',
        "Features of faces are personal data.",
        "confirmed that it may be passed on: **CC BY 4.0**",
        "learnt from 2 clips of 1 subject (est tune)",
        "est cache pull hub:me/faces --out cache.zarr",
        "apparent expressions",
        "12 clips of 6 subjects",
    ):
        assert text in card, text


def test_the_licence_is_named_and_confirmed_before_the_hub_is_asked(cache, hub):
    for permission, says in (
        (Permission(licence=None, confirmed=True), "No licence is given"),
        (Permission(licence=" ", confirmed=True), "No licence is given"),
        (Permission(licence="CC BY 4.0\nlicense: mit", confirmed=True), "No licence is given"),
        (Permission(licence="CC BY 4.0", confirmed=False), "is not confirmed"),
    ):
        with pytest.raises(UsageError, match=says):
            push_cache(cache, "hub:me/faces", permission)
    with pytest.raises(UsageError, match="A push goes to a repository"):
        push_cache(cache, "hub:me/faces@main", ALLOWED)
    assert hub.calls == []


@pytest.mark.parametrize("name", ["dfew", "ck+", "megc", "AffectNet", "RAF-DB"])
def test_data_sets_by_agreement_are_refused(name, hub, tmp_path):
    with pytest.raises(UsageError, match="features of the clips are not passed on"):
        push_cache(cache_of(tmp_path / "c.zarr", name), "hub:me/faces", ALLOWED)
    assert hub.calls == []


def test_a_data_set_is_known_behind_a_merge_a_shared_copy_and_a_cache_that_grew(hub, tmp_path):
    """Wherever its clips come into a cache of one's own, features of a data set by agreement stay."""
    own, dfew = cache_of(tmp_path / "own.zarr"), cache_of(tmp_path / "dfew.zarr", "dfew")
    merge_caches([own, dfew], tmp_path / "all.zarr", duplicates="first")
    shared = convert_cache(tmp_path / "all.zarr", tmp_path / "shared.h5", share=True)
    column = learning_cache(
        tmp_path / "column.zarr", 6, columns={"database": ColumnSpec(dtype=STRING)}, extra={"database": "CASME II"}
    )
    named = convert_cache(column, tmp_path / "named.zarr", share=True)
    recipes = open_cache(own).recipes
    with CacheWriter.open(own, recipes, environment={"dataset": {"name": "dfew"}}):
        pass
    for cache in (tmp_path / "all.zarr", shared, own, named):
        with pytest.raises(UsageError, match=r"features of the clips are not passed on"):
            push_cache(cache, "hub:me/faces", Permission(licence="CC-BY", confirmed=True, public=True))
    assert datasets_of(open_cache(tmp_path / "all.zarr")) == datasets_of(open_cache(own)) == ["dfew"]
    assert open_cache(dfew).environment == {"dataset": {"name": "dfew"}}
    assert hub.calls == []


def test_each_data_set_says_whether_it_goes_by_agreement():
    for dataset in DATASETS:
        assert dataset.by_agreement == any(
            word in dataset.licence for word in ("agreement", "password", "Binghamton", "those of CASME II")
        ), dataset.name
    open_ones = Terms.of(["ravdess", "crema-d"])
    open_ones.expect_features_may_go()
    assert "CC BY-NC-SA" in open_ones.describe()


def test_a_push_is_private_and_refuses_a_public_repository(cache, hub):
    hub.put("me/open", {"README.md": b"old"}, kind="dataset")
    with pytest.raises(UsageError, match="is there already, and public"):
        push_cache(cache, "hub:me/open", ALLOWED)
    assert list(hub.files("me/open", "dataset")) == ["README.md"]
    pushed = push_cache(cache, "hub:me/open", Permission(licence="CC BY 4.0", confirmed=True, public=True))
    assert pushed.public


def test_a_repository_that_is_public_by_now_gets_nothing(cache, hub, monkeypatch):
    """It was not there when it was looked for, and somebody made it meanwhile."""
    create = hub.create
    monkeypatch.setattr(hub, "create", lambda repo, kind, *, private: create(repo, kind, private=False))
    with pytest.raises(UsageError, match="is there already, and public"):
        push_cache(cache, "hub:me/faces", ALLOWED)
    assert hub.calls == ["is_public", "create", "is_public"]


def test_a_pulled_cache_has_the_rights_of_any_other(cache, hub, tmp_path):
    """It is made beside a folder that this user alone may read, and everybody who works on it is to read it."""
    push_cache(cache, "hub:me/faces", ALLOWED)
    before = os.umask(0o022)
    try:
        for out in ("back.zarr", "back.h5"):
            pull_cache("hub:me/faces", tmp_path / out)
    finally:
        os.umask(before)
    made = [tmp_path / "back.h5", tmp_path / "back.zarr", *(tmp_path / "back.zarr").rglob("*")]
    assert len(made) > 10
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


@pytest.mark.parametrize("spoils", ["half", "byte"])
def test_other_bytes_leave_nothing_behind(spoils, cache, hub, tmp_path):
    push_cache(cache, "hub:me/faces", ALLOWED)
    hub.spoils = spoils
    with pytest.raises(HubError, match="is not the one that it lists"):
        pull_cache("hub:me/faces", tmp_path / "back.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.zarr", "hub"]


def test_a_repository_of_something_else_is_refused(cache, hub, tmp_path):
    hub.put("me/other", {"data.csv": b"x"}, kind="dataset")
    with pytest.raises(HubError, match=r"holds no cache of est: it lacks cache\.h5 and est\.json"):
        pull_cache("hub:me/other", tmp_path / "back.zarr")
    push_cache(cache, "hub:me/faces", ALLOWED)
    files = hub.files("me/faces", "dataset")
    later = json.dumps({**json.loads(files["est.json"]), "version": 9}).encode()
    hub.put("me/later", {**files, "est.json": later}, kind="dataset")
    with pytest.raises(HubError, match="this est reads est-shared-cache 1"):
        pull_cache("hub:me/later", tmp_path / "back.zarr")
    hub.put("me/wrong", {**files, FILE: files[FILE] + b"!"}, kind="dataset")
    with pytest.raises(HubError, match="is not what was pushed"):
        pull_cache("hub:me/wrong", tmp_path / "back.zarr")
    with pytest.raises(UsageError, match="exists already"):
        pull_cache("hub:me/faces", cache)


def test_a_hub_that_is_down_leaves_nothing_behind(cache, hub, tmp_path):
    hub.down = True
    with pytest.raises(HubError, match="cannot be reached"):
        push_cache(cache, "hub:me/faces", ALLOWED)
    with pytest.raises(HubError, match="cannot be reached"):
        pull_cache("hub:me/faces", tmp_path / "back.zarr")
    hub.down = False
    push_cache(cache, "hub:me/faces", ALLOWED)
    with pytest.raises(EstError, match="No folder can be made beside"):
        pull_cache("hub:me/faces", tmp_path / "nowhere" / "back.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.zarr", "hub"]


def test_the_command_line_does_the_same(cache, hub, tmp_path, capsys):
    for arguments, status in (
        (["cache", "push", str(cache), "hub:me/faces", "--licence", "CC BY 4.0"], 2),  # nobody to ask
        (["cache", "push", str(cache), "hub:me/faces", "--licence", "CC BY 4.0", "--yes", "--features", "gap"], 0),
        (["cache", "pull", "hub:me/faces", "--out", str(tmp_path / "back.h5"), "--json"], 0),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == status, capsys.readouterr()
    assert "--yes confirms it" in capsys.readouterr().err
    assert len(open_cache(tmp_path / "back.h5")) == 12


def test_many_clips_of_a_plain_cache_go_too(hub, tmp_path):
    path = learning_cache(tmp_path / "plain.h5", 6, failures=[("lost", LABELS[0], "P1", "test")])
    push_cache(path, "hub:me/plain", ALLOWED)
    pull_cache("hub:me/plain", tmp_path / "back.zarr")
    (failure,) = open_cache(tmp_path / "back.zarr").failures
    assert failure.subject.startswith("person-")
    assert "no labelled clips are on record" in hub.files("me/plain", "dataset")["README.md"].decode()
