"""Studies on a real PostgreSQL server: passwords, a job that is killed, a server that goes away.

Needs Debian's package postgresql (or `initdb` and `pg_ctl` elsewhere in PATH) and `pip install 'psycopg[binary]'`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from swept import arguments, folded_cache, space_file, start, wait_for

from est.cluster.status import read_submission

PASSWORD = "not/to be shown"
BINARIES = os.pathsep.join([os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])
INITDB, CONTROL = (shutil.which(name, path=BINARIES) for name in ("initdb", "pg_ctl"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(INITDB is None or CONTROL is None, reason="no PostgreSQL here: apt-get install postgresql"),
]


class Server:
    """A server in a folder of its own; as root it runs as another user, which is what it wants."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.user = None
        if os.geteuid() == 0:
            self.user = next(name for name in ("postgres", "nobody") if name in {one.pw_name for one in pwd.getpwall()})
            shutil.chown(self.folder, self.user)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        self._run(
            INITDB, "-D", self.folder / "data", "-A", "scram-sha-256", "-U", "me", f"--pwfile={secret}", "-E", "UTF8"
        )
        secret.unlink()
        self.start()

    def url(self, password=""):
        """Return what --storage takes."""
        return f"postgresql+psycopg://me{password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        self._run(CONTROL, "-D", self.folder / "data", "-l", self.folder / "log", "-o", options, "-w", "start")

    def stop(self, *, check: bool = True) -> None:
        """End it as a loss of power does."""
        self._run(CONTROL, "-D", self.folder / "data", "-m", "immediate", "-w", "stop", check=check)

    def _run(self, *words, check=True) -> None:
        subprocess.run(
            [str(one) for one in words], check=check, user=self.user, cwd=self.folder, stdout=subprocess.DEVNULL
        )


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("psycopg", reason="no driver here: pip install 'psycopg[binary]'")
    found = Server()
    yield found
    found.stop(check=False)  # a test may have stopped it
    shutil.rmtree(found.folder)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a cache and a space; the password is in the environment, as psycopg reads it."""
    folded_cache(tmp_path / "cache.zarr")
    space_file(tmp_path / "space.toml", epochs=40)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(out, server, *more, trials, seed=1):
    return [
        *arguments("cache.zarr", out, "space.toml", trials=trials),
        "--seed",
        str(seed),
        "--storage",
        server.url(),
        *more,
    ]


def holding_the_password(folder):
    return [path for path in folder.rglob("*") if path.is_file() and PASSWORD.split()[-1].encode() in path.read_bytes()]


def test_two_jobs_one_of_which_is_killed(server, here):
    asked = ["submit", *words("sweep", server, "--jobs", "2", "--max-parallel", "2", "--engine", "local", trials=6)]
    first = start(*asked)
    wait_for(lambda: Path("sweep.submit/queue.json").exists())

    def running():
        parts = read_submission("sweep").parts
        return len(parts) == 2 and all(part.state == "running" for part in parts)

    wait_for(running)
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    (victim,) = (int(one) for one in children if b"--part\x001\x00" in Path(f"/proc/{one}/cmdline").read_bytes())
    os.kill(victim, signal.SIGKILL)
    out, err = first.communicate(timeout=300)
    assert first.returncode == 1
    assert "1 job of 2 failed" in err
    again = subprocess.run(
        [sys.executable, "-m", "est", *asked], check=True, capture_output=True, text=True, timeout=300
    )
    assert read_submission("sweep").result["trials"] == 4 * 6
    assert Path("sweep/sweep.html").exists()
    assert PASSWORD not in out + err + again.stdout + again.stderr
    assert holding_the_password(here) == []


def test_a_server_that_goes_away(server, here):
    asked = words("sweep", server, trials=10, seed=2)
    first = start(*asked)
    for line in first.stderr:
        if line.startswith("trials:"):
            break
    server.stop()
    said = first.communicate(timeout=300)[1]
    assert first.returncode == 1
    assert "Error: The storage of the studies does not answer." in said
    down = subprocess.run(
        [sys.executable, "-m", "est", *asked], check=False, capture_output=True, text=True, timeout=120
    )
    assert down.returncode == 1
    assert "Connection refused" in down.stderr
    server.start()
    again = subprocess.run(
        [sys.executable, "-m", "est", *asked], check=True, capture_output=True, text=True, timeout=500
    )
    assert "40 trials" in again.stdout + again.stderr
    assert PASSWORD not in said + down.stderr + again.stdout + again.stderr
    assert holding_the_password(here) == []


def test_a_wrong_password_is_not_shown(server, here, monkeypatch):
    for url in (server.url(":wrong%2Fone"), server.url(":wrong%2Fone").replace("+psycopg", "")):
        asked = [*arguments("cache.zarr", "sweep", "space.toml"), "--storage", url, "--debug"]
        done = subprocess.run(
            [sys.executable, "-m", "est", *asked], check=False, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 1
        assert "password authentication failed" in done.stderr
        assert "wrong" not in done.stdout + done.stderr
