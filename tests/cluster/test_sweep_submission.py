"""A sweep by several jobs: what est sweep refuses is refused before anything is submitted or written, by the same code."""

from __future__ import annotations

from dataclasses import replace

import pytest
from swept import base_config, folded_cache, rates_space, swept

from est.cluster import sweeping
from est.cluster.place import Place
from est.cluster.sweeping import submit_sweep
from est.commands.submitting.submissionpage import page
from est.errors import EstError, UsageError
from est.sweep.search.settings import SweepConfig
from est.train import FinetuneConfig, ProtocolConfig
from est.train.data import data, rows

ONE = ProtocolConfig(only=("fold0",))
HOW = SweepConfig(trials=1, inner=2, control=False)
BASE = base_config(protocol=ONE, epochs=1, stack="off")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return folded_cache(tmp_path_factory.mktemp("sweeps") / "cache.zarr")


def submitted(cache, out, base=BASE, space=None, how=HOW, **more):
    return submit_sweep(cache, out, base, space or rates_space(base), how, **{"engine": "debug", "workers": 1, **more})


WRONG = {
    "a missing cache": {"cache": "none.zarr"},
    "more folds than people": {"base": base_config(protocol=ProtocolConfig(kind="kfold", folds=40))},
    "inner folds that cannot be made": {"how": {"inner": 9}},
    "a fold that there is not": {"base": base_config(protocol=ProtocolConfig(only=("fold7",)))},
    "a feature that the cache has not": {"space": {"data": {"feature": ["gap", "layer3"]}}},
    "mirrored crops that the cache has not": {"base": base_config(mirrored=True)},
    "a grid of a range": {"how": {"sampler": "grid"}},
    "a batch larger than a training half": {"base": base_config(batch=512)},
    "a backbone that learns": {"base": base_config(finetune=FinetuneConfig(learns="layer4"))},
    "more processes than cores": {"more": {"workers": 100_000}},
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_sweep_refuses_is_refused_before_anything_is_written(cache, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    wrong = WRONG[what]
    path, base, more = wrong.get("cache", cache), wrong.get("base", BASE), wrong.get("more", {})
    how = replace(HOW, **wrong.get("how", {}))
    space = rates_space(base, **wrong["space"]) if "space" in wrong else rates_space()
    with pytest.raises(EstError) as refused:
        submitted(path, "sweep", base, space, how, **more)
    assert not list(tmp_path.iterdir())
    with pytest.raises(EstError) as by_sweep:
        swept(path, "sweep", base=base, space=space, **vars(how), **more)
    assert (refused.value.message, refused.value.remedy) == (by_sweep.value.message, by_sweep.value.remedy)


def test_other_machines_have_devices_of_their_own_and_no_features_are_read(cache, tmp_path, monkeypatch):
    def read(*_):
        raise AssertionError("features are read")

    class Submitted(Exception):
        pass

    def go_on(*_, **__):
        raise Submitted

    for owner, name in ((rows, "load_table"), (data, "ClipStatistics")):
        monkeypatch.setattr(owner, name, read)
    monkeypatch.setattr(sweeping, "expect_engine", lambda engine: None)
    monkeypatch.setattr(sweeping, "go_on", go_on)
    of_cluster = replace(BASE, device="cuda:1")
    more = {"storage": f"sqlite:///{tmp_path}/studies.db", "workers": 100_000}
    with pytest.raises(Submitted):
        submitted(cache, tmp_path / "sweep", of_cluster, engine="slurm", **more)
    assert sweeping.read_manifest(Place(tmp_path / "sweep")).base["device"] == "cuda:1"
    with pytest.raises(EstError, match="Device cuda:1 was asked for"):
        submitted(cache, tmp_path / "here", of_cluster, engine="local")
    assert not list(tmp_path.glob("here*"))


def test_jobs_search_and_the_same_call_resumes(cache, tmp_path):
    out = tmp_path / "sweep"
    submission = submitted(cache, out, jobs=1)
    assert submission.result == {"studies": 1, "trials": 1, "page": str(out / "sweep.html")}
    assert page(submission).splitlines()[1:] == ["1 trial", f"page: {out / 'sweep.html'}"]
    assert (out / "sweep.html").exists()
    assert submitted(cache, out, jobs=1).is_done
    assert submitted(cache, out, how=replace(HOW, trials=2)).result["trials"] == 2
    with pytest.raises(UsageError, match=r"has loop\.epochs 1, you asked for 2"):
        submitted(cache, out, base_config(protocol=ONE, epochs=2, stack="off"))


def test_a_folder_of_another_sweep_is_refused(cache, tmp_path):
    """The last job would write its page there."""
    out = tmp_path / "sweep"
    swept(cache, out, base=BASE, trials=1, control=False)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=rf"{out} has --storage none, you asked for sqlite:") as refused:
        submitted(cache, out)
    assert refused.value.remedy == "--out another folder, or the earlier settings"
    (tmp_path / "file").write_text("")
    with pytest.raises(EstError, match="cannot be made: Not a directory"):
        submitted(cache, tmp_path / "file" / "sweep")
    (tmp_path / "file").unlink()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_storage_that_cannot_be_reached_leaves_nothing(cache, tmp_path):
    with pytest.raises(EstError, match=r"The storage sqlite:///.* cannot be opened"):
        submitted(cache, tmp_path / "sweep", storage=f"sqlite:///{tmp_path}/no/folder/studies.db")
    assert not list(tmp_path.iterdir())
