"""What several tests share. The folder `support` joins the path: tests, and processes that they start, import its modules by name."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

from est.cli import main, obey_ctrl_c

sys.path.insert(0, str(Path(__file__).parent / "support"))  # importlib mode does not; spawned workers inherit it

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")

# There are as many test processes as cores: more threads would wait for each other, spinning. A test of threads sets them itself.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A job in the background of a shell script starts with SIGINT ignored, and hands that on. Tests send it to processes that they start.
obey_ctrl_c()

# Temporary files are in memory where it is ample: they are many and short-lived, which makes file systems on disk search for inodes.
MEMORY, AMPLE_BYTES = Path("/dev/shm"), 4e9
if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > AMPLE_BYTES:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk():
    """A test loses no power: flushing would only make it wait. What is flushed, and in which order, test_cache_faults.py looks at."""
    before = os.fsync
    os.fsync = lambda descriptor: None
    yield
    os.fsync = before


@pytest.fixture(autouse=True, scope="session")
def own_engines(tmp_path_factory):
    """What onnxruntime computes is exported once for all tests of a process, and not into the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def same_random_numbers():
    """A test draws the same numbers alone and in the suite: else its result would depend on which tests its process ran before."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def trainings():
    """A process that trains on request, in children that can be killed: it has imported what takes longest."""
    from train_sessions import Trainings

    server = Trainings()
    yield server
    server.close()


@pytest.fixture(params=[".zarr", ".h5"])
def store(request):
    """The suffix of each store in turn."""
    return request.param


@pytest.fixture
def est(capsys):
    """`est(arguments…)` runs the command; returns its status, stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


@pytest.fixture
def cache_path(tmp_path, store):
    """A place for a cache, with a space and non-ASCII letters in it."""
    return tmp_path / f"cache é{store}"


@pytest.fixture
def ram_path(tmp_path):
    """A folder in memory, where there is one: quick for tests that write many small files and do not ask for durability."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < 50e6:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="est-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def make_clip():
    """`make_clip(index, version=0, frames=None, rng=None, crops=False, features=("gap",), **fields)` → Clip."""
    from cache_samples import make_clip

    return make_clip


@pytest.fixture(scope="session")
def sample_recipes():
    """`sample_recipes(features=("gap",), dtype="float16", **frames)` → Recipes with D = 16."""
    from cache_samples import sample_recipes

    return sample_recipes


@pytest.fixture(scope="session")
def make_cache():
    """`make_cache(path, indices, crops=False, features=("gap",), failures=(), **settings)` → path."""
    from cache_samples import make_cache

    return make_cache
