"""Caches at URLs against servers on loopback: S3 by moto, plain http, and servers that refuse, throttle and break off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial

import pytest
from cache_samples import contents, make_cache
from store_samples import BUCKET, CUT, KEYS, Proxy, s3_server
from train_samples import learning_cache

from est.cache import download_cache, open_cache, upload_cache
from est.cache.remote import client, credentials
from est.cache.remote.failures import StoreError
from est.cache.remote.mirror import list_mirrors, remove_mirrors
from est.cli import main
from est.errors import UsageError
from est.train import Run, evaluate
from est.train.runs.run import PREDICTIONS

URL = f"s3://{BUCKET}/shared/c.zarr"


@pytest.fixture(scope="module")
def server():
    with s3_server() as address:
        yield address


@pytest.fixture(scope="module")
def uploaded(server, tmp_path_factory):
    """A cache of this machine, and the same at `URL`."""
    path = make_cache(tmp_path_factory.mktemp("uploaded") / "c.zarr", range(4), layout=None)
    with pytest.MonkeyPatch.context() as patch:
        surroundings(patch, server, path.parent)
        upload_cache(path, URL)
    return path


@pytest.fixture(autouse=True)
def here(monkeypatch, server, tmp_path):
    surroundings(monkeypatch, server, tmp_path)


def surroundings(monkeypatch, server, folder):
    """Give a test credentials, and a home of its own; clients that wait for moments only."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "EST_"))]:
        monkeypatch.delenv(name)
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": server, "EST_MIRRORS": folder / "mirrors", "HOME": folder}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(client, "RETRIES", 3)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments), "--json"])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return stop.value.code, events[-1]


def before(monkeypatch, server, answer=lambda *_: None):
    """Return a server between est and the store."""
    proxy = Proxy(server, answer).__enter__()
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
    return proxy


def test_est_trains_from_a_url_and_finds_it_again(tmp_path, capsys, monkeypatch):
    """The acceptance of object stores: a server on loopback serves a cache that est trains from."""
    monkeypatch.chdir(tmp_path)
    url = f"s3://{BUCKET}/training/c.zarr"
    local = learning_cache(tmp_path / "c.zarr", range(24))
    assert run(capsys, "cache", "upload", local, url)[1]["clips"] == 24
    shutil.move(local, tmp_path / "away.zarr")
    model = ("--set", "model.dim=16", "--set", "model.heads=2", "--set", "model.ffn=32", "--set", "model.layers=1")
    settings = ("--folds", 2, "--epochs", 1, "--device", "cpu", "--precision", "fp32", *model)
    assert run(capsys, "train", "--cache", url, "--out", "remote", *settings)[0] == 0
    assert run(capsys, "train", "--cache", "away.zarr", "--out", "local", *settings)[0] == 0
    remote, here = Run.open("remote"), Run.open("local")
    assert (remote.facts["cache"]["path"], remote.facts["cache"]["commit"]) == (url, open_cache("away.zarr").commit_id)
    first = remote.parts[0]
    assert (remote.path / "parts" / first / PREDICTIONS).read_text() == (
        here.path / "parts" / first / PREDICTIONS
    ).read_text()
    remove_mirrors(list_mirrors())
    found = evaluate("remote")
    assert found.own
    assert found.cache == open_cache(url).path


def test_what_a_server_gives_is_the_cache(uploaded, tmp_path):
    assert contents(URL) == contents(uploaded)
    assert contents(download_cache(URL, tmp_path / "d.zarr")) == contents(uploaded)


def test_https_reads_without_credentials_and_http_on_this_machine_alone(uploaded, server, monkeypatch):
    with Proxy(server) as proxy:
        url = f"{proxy.address}/{BUCKET}/shared/c.zarr"
        assert contents(url) == contents(uploaded)
        assert not any(proxy.signed)
        with pytest.raises(StoreError, match=r"no cache at .*no est-upload\.json"):
            open_cache(f"{proxy.address}/{BUCKET}/shared/none.zarr")
    for host in ("192.0.2.1", "store.example:9000", "127.0.0.1.example", "[2001:db8::1]:80"):
        with pytest.raises(UsageError, match="is not encrypted"):
            open_cache(f"http://{host}/c.zarr")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}")
        with pytest.raises(UsageError, match="is not encrypted") as caught:
            open_cache(URL)
        assert "EST_ALLOW_HTTP=1" in caught.value.remedy
    monkeypatch.setenv("EST_ALLOW_HTTP", "1")
    assert client.Address.parse("http://192.0.2.1/c.zarr").host == "192.0.2.1"
    for url, message in {
        "https://user:word@host/c.zarr": "no user name or password, found one in that of host",
        "https://host/c.zarr?X-Amz-Signature=1/c.zarr": "no . or #",
        "s3://bucket.zarr": "has a bucket or host and a path",
    }.items():
        with pytest.raises(UsageError, match=message) as caught:
            open_cache(url)
        assert "word" not in caught.value.message.replace("password", "")


@pytest.mark.slow
def test_gs_is_read_by_its_own_client(uploaded, server, monkeypatch, tmp_path):
    with Proxy(server) as proxy:
        key = {
            "gcs_base_url": proxy.address,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        (tmp_path / "key.json").write_text(json.dumps(key))
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "key.json"))
        monkeypatch.setenv("EST_ALLOW_HTTP", "1")
        assert contents(URL.replace("s3:", "gs:")) == contents(uploaded)
        with pytest.raises(StoreError, match="There is no cache at gs"):
            open_cache(f"gs://{BUCKET}/none.zarr")


def test_a_store_that_is_busy_or_breaks_off_for_a_while_is_asked_again(uploaded, server, monkeypatch):
    seen = {}

    def answer(method, path, number):
        seen[path] = seen.get(path, 0) + 1
        return {1: (503, "<Code>SlowDown</Code>"), 2: CUT, 3: (429, "")}.get(seen[path])

    proxy = before(monkeypatch, server, answer)
    assert contents(URL) == contents(uploaded)
    assert set(seen.values()) == {4}
    proxy.__exit__()


@pytest.mark.parametrize(
    ("answer", "message", "remedy"),
    [
        ((503, "<Code>SlowDown</Code>"), "takes no more requests for now", "later"),
        ((429, ""), "takes no more requests for now", "later"),
        ((500, ""), "cannot be reached", "network"),
        (CUT, "lost again and again", "network"),
        ((403, "<Code>AccessDenied</Code>"), "these credentials may not do that", "rights"),
        ((403, "<Code>InvalidAccessKeyId</Code>"), "does not know the credentials", "aws configure"),
        ((403, "<Code>ExpiredToken</Code>"), "have expired", "log in again"),
        ((400, "<Code>ExpiredToken</Code>"), "have expired", "log in again"),
        ((403, "<Code>RequestTimeTooSkewed</Code>"), "clock is wrong", "set the clock"),
        ((401, ""), "these credentials may not do that", "rights"),
        ((404, "<Code>NoSuchBucket</Code>"), "no bucket of that name", "AWS_ENDPOINT_URL"),
        ((301, ""), "in another region", "AWS_REGION"),
    ],
)
def test_a_store_that_refuses_is_told_in_a_sentence(server, uploaded, monkeypatch, answer, message, remedy, capsys):
    proxy = before(monkeypatch, server, lambda *_: answer)
    status, event = run(capsys, "cache", "info", URL)
    assert (status, event["event"]) == (1, "error")
    assert message in event["message"]
    assert remedy in event["remedy"]
    proxy.__exit__()


def test_a_server_that_is_not_there(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="cannot be reached"):
        open_cache(URL)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match="obstore") as caught:
        open_cache(URL)
    assert "est-fer[stores]" in caught.value.remedy


@pytest.mark.slow
def test_an_upload_that_is_throttled_says_so_and_resumes(tmp_path, server, monkeypatch):
    local = make_cache(tmp_path / "c.zarr", range(3), layout=None)
    url = f"s3://{BUCKET}/throttled/c.zarr"
    proxy = before(
        monkeypatch, server, lambda method, path, number: (503, "") if method == "PUT" and number > 9 else None
    )
    with pytest.raises(StoreError, match="takes no more requests for now"):
        upload_cache(local, url)
    proxy.__exit__()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    with pytest.raises(StoreError, match="not uploaded to its end"):
        open_cache(url)
    objects = len({entry.sha256 for entry in upload_cache_files(local)})
    assert upload_cache(local, url).sent < objects
    assert contents(url) == contents(local)


def upload_cache_files(path):
    from est.cache.changes.upload import _list_files
    from est.cache.stores.snapshot import open_snapshot
    from est.cache.watch import Watch

    return _list_files(open_snapshot(path), 0, Watch()).files.values()


def test_credentials_of_a_profile_the_environment_and_nobody(uploaded, server, monkeypatch, tmp_path):
    proxy = before(monkeypatch, server)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = of-default\naws_secret_access_key = s\n"
        "[lab]\naws_access_key_id = of-lab\naws_secret_access_key = s\naws_session_token = t\n"
    )
    (tmp_path / ".aws/config").write_text(
        f"[profile lab]\nregion = eu-north-1\nendpoint_url = {proxy.address}\n"
        "[profile work]\nsso_session = work\n[profile role]\nrole_arn = arn\n"
    )
    asked = partial(_signature, proxy)
    assert "Credential=key/" in asked()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    assert "Credential=of-default/" in asked()
    monkeypatch.setenv("AWS_PROFILE", "lab")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    signature = asked()
    assert "Credential=of-lab/" in signature
    assert "/eu-north-1/" in signature
    assert "x-amz-security-token" in signature
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.address)
    assert asked()
    for profile, message in {"work": "sso_session", "role": "role_arn", "none": "no profile none"}.items():
        monkeypatch.setenv("AWS_PROFILE", profile)
        with pytest.raises(UsageError, match=message):
            open_cache(URL)
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert asked() == ""
    monkeypatch.delenv("AWS_SKIP_SIGNATURE")
    monkeypatch.delenv("AWS_PROFILE")
    (tmp_path / ".aws/credentials").write_text("[default]\nregion = x\n")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # no machine of a cloud
    with pytest.raises(StoreError, match="There are no credentials") as caught:
        open_cache(URL)
    assert "AWS_SKIP_SIGNATURE" in caught.value.remedy
    (tmp_path / ".aws/credentials").write_text("no section")
    with pytest.raises(UsageError, match="file of profiles"):
        open_cache(URL)
    monkeypatch.setattr(credentials, "_machine_answers", lambda environment: True)
    (tmp_path / ".aws/credentials").unlink()
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", proxy.address)  # a machine with a role
    open_cache(URL)
    assert "Credential=" in proxy.signed[-1]
    assert ("PUT", "/latest/api/token") in proxy.asked
    proxy.answer = lambda method, path, number: (404, "") if path.startswith("/latest/") else None  # one without
    with pytest.raises(StoreError, match="There are no credentials"):
        open_cache(URL)
    proxy.__exit__()


def _signature(proxy):
    """Return how the next request is signed."""
    number = len(proxy.signed)
    open_cache(URL)
    return proxy.signed[number]


FORKED = """
import os
import est
from est.errors import EstError
cache = est.open_cache({url!r})
child = os.fork()
if child == 0:
    try:
        cache.load("gap")
    except EstError as error:
        print(error.message, flush=True)
    finally:
        os._exit(0)
os.waitpid(child, 0)
print(len(cache.load("gap").rows))
"""


def test_a_forked_process_is_refused_and_does_not_wait_for_ever(uploaded, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FORKED.format(url=URL)], capture_output=True, text=True, timeout=60, check=True
    )
    refused, rows = done.stdout.splitlines()
    assert "cannot be read in a process that was forked" in refused
    assert int(rows) == open_cache(uploaded).num_frames
