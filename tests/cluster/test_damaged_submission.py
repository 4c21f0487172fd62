"""Files of a submission that somebody has damaged or edited: errors with a remedy, and nobody is signalled by mistake."""

from __future__ import annotations

import json
import os
import signal
import socket
from dataclasses import asdict

import pytest

from est.cache.stores.lock import WriterLock
from est.cluster import local
from est.cluster.computing import Computing, of_first
from est.cluster.manifest import read_inputs
from est.cluster.merging import is_in_place
from est.cluster.parts import read_manifest, run_part
from est.cluster.place import LAST, Place, write_json
from est.cluster.slurm.queue import Queue, write_queue
from est.cluster.status import read_submission
from est.cluster.submitting import cancel
from est.errors import EstError


def test_files_that_are_damaged_or_of_another_version_are_errors_with_a_remedy(place):
    run_part(place, 0)
    run_part(place, 1)
    run_part(place, 2)
    run_part(place, LAST)
    write_queue(place, Queue(engine="local"))
    sound = json.loads(place.manifest.read_text())
    changes = [{"config": {"foo": 1, **sound["config"]}}, {"config": sound["config"] | {"size": "x"}}, {"shards": 7}]
    changes += [{"problems": 5}, {"labels": "two"}, {"folder": None}, {"kind": "other"}, {"time": 10**400}]
    changes += [{"shards": [sound["shards"][0] | {"inputs": "two"}]}]
    without = {name: value for name, value in sound.items() if name != "kind"}
    states = [[], 5, {"part": "x"}, {"state": "done", "result": 5}, {"state": "soon"}]
    states += [{"state": "done", "result": {"clips": "six"}}]
    first = place.state(0)
    damaged = {
        place.manifest: [*({**sound, **change} for change in changes), without, [], 5],
        place.queue: [
            [],
            5,
            {"jobs": {"x": 1}},
            {"jobs": {}, "options": {"time": "soon"}},
            {"jobs": {}, "options": {"foo": 1}},
        ],
        first: states,
    }
    for path, contents in damaged.items():
        before = path.read_bytes()
        for content in contents:
            path.write_text(json.dumps(content))
            with pytest.raises(EstError, match=f"{path.name} is damaged") as found:
                read_submission(place.out)
            assert (
                f"rm {'-r ' if path == place.manifest else ''}{path.parent if path == place.manifest else path}"
                in found.value.remedy
            )
        path.write_bytes(before)
    assert read_submission(place.out).is_done
    (place.folder / "merged.json").write_text("5")
    with pytest.raises(EstError, match=r"merged\.json is damaged"):
        is_in_place(place)
    place.inputs(0).write_bytes(b"\xff")
    with pytest.raises(EstError, match=r"is not what manifest\.json says"):
        list(read_inputs(place, read_manifest(place), 0))


def test_a_damaged_choice_of_what_computes_is_an_error_with_a_remedy(place):
    from est.cluster.sweeping import SweepComputing

    of_first(place, 0, Computing, lambda: Computing(precision="fp32", engine="torch"))
    of_sweep = {"device": "cpu", "threads": 1, "precision": "fp32"}
    damaged = {
        Computing: ["", "{", "[]", "5", "{}", '{"precision": "fp64", "engine": "torch"}', '{"precision": "fp32"}']
    }
    changes = [
        {"device": 5},
        {"device": "gpu"},
        {"threads": 0},
        {"threads": "1"},
        {"threads": True},
        {"precision": "auto"},
    ]
    damaged[SweepComputing] = [json.dumps(of_sweep | change) for change in changes]
    for kind, contents in damaged.items():
        for content in contents:
            place.computation.write_text(content)
            with pytest.raises(EstError, match=r"chosen\.json (is damaged|cannot be read)") as found:
                of_first(place, 1, kind, list)
            assert found.value.remedy.startswith(f"rm -r {place.computation.parent}, then est submit retry {place.out}")
    place.computation.write_text(json.dumps(of_sweep))
    assert of_first(place, 1, SweepComputing, list) == SweepComputing(**of_sweep)


def test_cancel_signals_nobody_whom_a_damaged_lock_names(place, monkeypatch):
    killed = []
    monkeypatch.setattr(local.os, "kill", lambda *words: killed.append(words))
    monkeypatch.setattr(local, "PATIENCE", 2)
    sound = {"pid": 77, "host": socket.gethostname(), "since": "then"}
    for path in (place.starter, place.held(1)):
        lock = WriterLock(path)
        lock.acquire()
        for damage in ({"pid": -1}, {"pid": 0}, {"pid": True}, {"pid": "77"}, {"host": None}):
            lock.path.write_text(json.dumps(sound | damage))
            with pytest.raises(EstError, match=r"lock does not say which process holds it") as found:
                cancel(place.out)
            assert "Ctrl-C" in found.value.remedy
        for content in ("", "{", "[]", json.dumps({"pid": 77})):
            lock.path.write_text(content)
            with pytest.raises(EstError, match="does not say which process"):
                cancel(place.out)
        lock.path.write_text(json.dumps(sound | {"host": "elsewhere"}))
        with pytest.raises(EstError, match="worked on by elsewhere, which this machine cannot stop"):
            cancel(place.out)
        assert killed == []
        lock.path.write_text(json.dumps(sound))
        assert cancel(place.out) == [path.name]
        assert killed == [(77, signal.SIGTERM)]
        killed.clear()
        lock.release()


def test_cancel_of_another_users_process_is_refused(place, monkeypatch):
    def refuse(*words):
        raise PermissionError

    monkeypatch.setattr(local.os, "kill", refuse)
    lock = WriterLock(place.held(0))
    lock.acquire()
    with pytest.raises(EstError, match=rf"process {os.getpid()} on .* is another user's"):
        cancel(place.out)
    lock.release()


def test_a_damaged_manifest_of_a_sweep_is_an_error_with_a_remedy(tmp_path):
    from est.cluster.sweeping import SweepConfig, SweepManifest, TrainConfig, to_flat

    place = Place(tmp_path / "sweep")
    place.make()
    known = {"folder": "/", "cache": "c", "base": to_flat(TrainConfig()), "space": None, "how": asdict(SweepConfig())}
    known |= {"models": ("est",), "storage": "sqlite:///x", "workers": 0, "retrain_seeds": 0, "parts": 2}
    sound = SweepManifest(**known).to_json()
    write_json(place.manifest, sound)
    assert read_submission(place.out).counts == {"missing": 2}
    changes = [{"parts": 10**9}, {"base": {}}, {"base": {"device": 5}}, {"base": 5}, {"how": {"x": 1}}, {"space": {}}]
    for change in [*changes, {"models": "est"}, {"workers": "1"}]:
        write_json(place.manifest, sound | change)
        with pytest.raises(EstError, match=r"manifest\.json is damaged"):
            read_submission(place.out)
