"""The parts of extraction on Ray that need no cluster: the package, the sizes of actors, an actor's own work, what nodes tell."""

from __future__ import annotations

import sys
import threading
import time
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from est import __version__
from est.cluster.rayengine import extractor
from est.cluster.rayengine.connection import LISTENER, connected
from est.cluster.rayengine.crew import RayCrew, why_died
from est.cluster.rayengine.extractor import Extractor
from est.cluster.rayengine.package import import_ray
from est.cluster.rayengine.sizes import Node, Sizes, sizes_for
from est.cluster.rayengine.stages import Lost
from est.encoders.engines.choice import Computation
from est.errors import EstError
from est.extract.config import ExtractConfig
from est.extract.workers.messages import Failed, Work
from est.inputs.input import Input

PLAIN = Node(name="n1", cpus=16)
GPUS = [Node(name="g1", cpus=16, gpus=2), Node(name="g2", cpus=8, gpus=2)]
AUTO = {"device": "auto", "actors": None, "num_gpus": None, "workers": None}


def test_ray_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EstError, match=r"needs the package ray; ray is not installed\.") as refused:
        import_ray()
    assert refused.value.remedy == "pip install 'est-fer[ray]'"


def test_ray_of_another_version(monkeypatch):
    other = ModuleType("ray")
    other.__spec__ = ModuleSpec("ray", None)
    other.__version__ = "2.49.1"
    monkeypatch.setitem(sys.modules, "ray", other)
    with pytest.raises(EstError, match=r"est runs on Ray 2\.60, and ray 2\.49\.1 is installed"):
        import_ray()
    other.__version__ = "2.60.3"
    assert import_ray() is other


@pytest.mark.parametrize(
    ("nodes", "asked", "found"),
    [
        ([PLAIN, Node(name="head", cpus=0), PLAIN], {}, (2, 0, 16)),
        ([PLAIN], {"actors": 3}, (3, 0, 5)),
        ([PLAIN], {"workers": 4}, (4, 0, 4)),
        (GPUS, {}, (4, 1, 4)),
        (GPUS, {"num_gpus": 0.5}, (8, 0.5, 2)),
        (GPUS, {"actors": 2}, (2, 1, 8)),
        (GPUS, {"device": "cpu"}, (3, 0, 8)),
        (GPUS, {"num_gpus": 0, "actors": 1}, (1, 0, 16)),
    ],
)
def test_actors_fill_the_cluster(nodes, asked, found):
    sizes = sizes_for(nodes, **AUTO | asked)
    assert (sizes.actors, sizes.num_gpus, sizes.num_cpus) == found
    assert sizes.device == ("cuda" if found[1] else "cpu")


@pytest.mark.parametrize(
    ("nodes", "asked", "message", "remedy"),
    [
        (
            GPUS,
            {"actors": 5},
            r"5 actors with 1 GPU and 1 processor each do not fit: .* room for 4 \(g1 16 processors, 2 GPUs, g2",
            "--actors 4",
        ),
        ([PLAIN], {"num_gpus": 1}, r"1 actor with 1 GPU and .* room for 0", "--num-gpus 0"),
        ([PLAIN], {"workers": 99}, r"1 actor with 99 processors", "fewer --workers"),
        ([Node(name="head", cpus=0)], {}, r"room for 0 \(head 0 processors", "add nodes"),
        (GPUS, {"num_gpus": 2}, r"from 0 to 1; found 2", "more --actors"),
        (GPUS, {"device": "cuda:1"}, r"--device cuda:1 names one of this machine", "--device cuda"),
        (GPUS, {"device": "cpu", "num_gpus": 1}, "does not go with --num-gpus 1", "leave out"),
        (GPUS, {"actors": 0}, "at least 1", "leave out"),
    ],
)
def test_what_does_not_fit_is_refused(nodes, asked, message, remedy):
    with pytest.raises(EstError, match=message) as refused:
        sizes_for(nodes, **AUTO | asked)
    assert remedy in refused.value.remedy


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ConnectionError("Could not find any running Ray instance. More."),
            r"There is no cluster of Ray at auto: Could not",
        ),
        (
            RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.59.0\n"),
            "Version mismatch.*2.59.0",
        ),
        (ImportError("Ray Client requires grpcio"), "requires grpcio"),
        (ValueError("Invalid address"), "--address is auto, local, HOST:PORT"),
        (
            ValueError("Ray Client requires pip package `ray[client]`."),
            "Ray cannot connect to auto: Ray Client requires pip",
        ),
    ],
)
def test_a_cluster_that_cannot_be_reached(error, message):
    def init(**options):
        raise error

    with (
        pytest.raises(EstError, match=message),
        connected(SimpleNamespace(is_initialized=lambda: False, init=init), "auto"),
    ):
        pass


def test_what_ray_prints_is_not_on_stdout(capsys):
    """Its thread writes what daemons report; results and JSON lines of est are there alone."""
    ray = SimpleNamespace(is_initialized=lambda: True)
    with connected(ray, "auto"):
        thread = threading.Thread(target=print, args=("(raylet) died",), name=LISTENER)
        thread.start()
        thread.join()
        sys.stdout.write("a result\n")
    assert capsys.readouterr().out == "a result\n"


class FakeStages:
    """Ends inputs in the order opposite to that in which they came, two at a time; breaks at one."""

    def __init__(self, specs, device_workers, config, workers, encoding):
        self.held, self.workers, self.seconds = [], workers, {"decode": 0.0}

    @property
    def has_room(self):
        return len(self.held) < self.workers

    def begin(self, job):
        if job.input.id == "breaks":
            raise OSError("the device is gone")
        self.held.append(job)

    def advance(self):
        if self.has_room:
            time.sleep(0.001)
            return {}
        self.seconds["decode"] += 1
        job = self.held.pop()
        return {job.index: Failed(index=job.index, stage="decode", error=job.input.id)}

    def close(self):
        pass


@pytest.fixture
def actor(monkeypatch, tmp_path):
    monkeypatch.setattr(extractor, "LocalStages", FakeStages)
    monkeypatch.setattr(extractor, "DeviceWorker", lambda *_: SimpleNamespace(seconds={"encode": 2.0}))
    monkeypatch.chdir(tmp_path)
    config = ExtractConfig(device="cpu", workers=2)
    return Extractor(tmp_path, config, Computation(engine="torch", precision="fp32", searching="fp32", why=""), [])


def call_together(actor, names, folder):
    """Call the actor from a thread for each input, as Ray does; return the answers, in that order."""
    found = {}

    def call(number, name):
        try:
            found[number] = actor.rows_of(
                Work(index=number, input=Input(id=name, path=folder / name, kind="video")), {}
            )
        except OSError as error:
            found[number] = error

    threads = [threading.Thread(target=call, args=pair) for pair in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(len(names))]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_actor_takes_inputs_while_it_works(actor, tmp_path):
    (tmp_path / "b").touch()
    waiting = threading.Thread(target=call_together, args=(actor, ["first"], tmp_path))  # ends when nothing is newer
    waiting.start()
    while not actor._serving:
        time.sleep(0.001)
    found = call_together(actor, ["a"], tmp_path) + call_together(actor, ["b"], tmp_path)
    call_together(actor, ["breaks"], tmp_path)  # ends the thread of the stages
    waiting.join()
    assert [one.ended.error for one in found] == ["a", "b"]
    assert [one.is_seen for one in found] == [False, True]
    assert [one.seconds for one in found] == [{"decode": 1.0, "encode": 2.0}, {"decode": 1.0, "encode": 0.0}]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_breaks_an_actor_is_the_answer_to_every_call(actor, tmp_path):
    found = call_together(actor, ["a", "breaks"], tmp_path)
    assert [str(error) for error in found] == ["the device is gone"] * 2
    assert str(call_together(actor, ["b"], tmp_path)[0]) == "the device is gone"


def crew(strict=False):
    """Return a crew whose first actor was ready on n1."""
    made = RayCrew.__new__(RayCrew)
    made.facts, made._strict, made._known, told = facts("n1"), strict, set(), []
    made._warn = told.append
    return made, told


def facts(node, version=__version__, cpu=("avx2",), warnings=()):
    return SimpleNamespace(node=node, version=version, environment={"cpu": list(cpu)}, warnings=warnings)


def test_nodes_that_round_in_another_way_are_told_once():
    made, told = crew()
    for _ in range(2):
        made.greet(facts("n2"))
        made.greet(facts("n3", cpu=("avx2", "avx512f"), warnings=("slow",)))
    assert told == ["cpu: ['avx2'] on n1, ['avx2', 'avx512f'] on n3", "n3: slow"]
    with pytest.raises(EstError, match="with --strict they may not: cpu"):
        crew(strict=True)[0].greet(facts("n3", cpu=()))


def test_a_node_with_another_est_is_refused():
    with pytest.raises(EstError, match=r"Node n2 has est 0\.0\.1, and the cache is written by est") as refused:
        crew()[0].greet(facts("n2", version="0.0.1"))
    assert refused.value.remedy == f"pip install est-fer=={__version__} on every node"


def test_why_an_actor_died_is_the_sentence_of_ray():
    text = "The actor died unexpectedly before finishing this task.\n\tclass_name: A\n\tpid: 3\nIts node has died."
    assert why_died(Exception(text)) == "Its node has died."
    assert why_died(Exception("gone")) == "gone"


def test_an_actor_that_is_not_reached_may_live():
    class Died(Exception):
        actor_init_failed = False

    class Unavailable(Died):
        pass

    def get(call):
        raise call

    made, _ = crew()
    kinds = SimpleNamespace(RayTaskError=KeyError, RayActorError=Died, ActorUnavailableError=Unavailable)
    made._ray = SimpleNamespace(get=get, exceptions=kinds)
    assert made._answer(Unavailable("no answer")) == Lost("no answer", is_away=True)
    assert made._answer(Died("gone")) == Lost("gone")


def test_sizes_are_said():
    assert Sizes(actors=2, num_gpus=1, num_cpus=8).line() == "2 actors on Ray, each with 8 processors and 1 GPU"
