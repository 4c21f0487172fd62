"""Published files from where the user says: recorded at first, refused when they differ, and never left by half."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from est.encoders.kinds import fetched
from est.encoders.kinds.fetched import FROM, PublishedFile
from est.encoders.kinds.published import NotHere
from est.errors import EstError, UsageError

NAME = "net.pt"


def read_through(path):
    if not torch.load(path, weights_only=True)["a"].numel():
        raise EstError(f"{path} holds nothing.")


def expect(path):
    try:
        read_through(path)
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise EstError(f"{path} is no file of tensors.") from error
    except Exception as error:
        raise EstError(f"{path} cannot be unpickled.") from error


@pytest.fixture
def published():
    return PublishedFile(name="kind:net", file=NAME, where="the project", licence="research only", expect=expect)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    torch.save({"a": torch.ones(3)}, tmp_path / "source" / NAME)
    return tmp_path / "source" / NAME


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def server(source):
    """Serve the file below /files; break off below /half, answer with a page below /page, and with an error elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            data = source.read_bytes()
            if not self.path.startswith(("/files/", "/half/", "/page/")):
                return self.send_error(503)
            if self.path.startswith("/page/"):
                data = b"<!DOCTYPE html><title>net.pt</title>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if self.path.startswith("/half/") else data)
            return None

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_it_is_taken_from_a_file_a_folder_or_an_address_and_recorded(published, source, models, server, tmp_path):
    sources = (source, source.parent, f"{server}/files", f"{server}/files/", f"{server}/files/{NAME}?raw=true")
    for number, where in enumerate(map(str, sources)):
        folder = models / str(number)
        path = published.take(where, folder)
        assert path.read_bytes() == source.read_bytes()
        assert names(folder) == [NAME, NAME + ".fetched.json"]
        record = json.loads((folder / f"{NAME}.fetched.json").read_text())
        assert (record["from"], record["bytes"], len(record["sha256"])) == (
            where.partition("?")[0],
            path.stat().st_size,
            64,
        )
        assert published.find(folder, download=False) == path


def test_without_a_source_the_file_its_project_and_the_command_are_named(published, models, monkeypatch):
    monkeypatch.delenv(FROM, raising=False)
    for download in (True, False):
        with pytest.raises(NotHere, match=r"net\.pt, published in the project \(research only\)") as told:
            published.find(models, download=download)
        assert "est doctor --weights kind:net --fetch --from FILE" in told.value.remedy
    assert names(models) == []


def test_at_first_use_the_environment_says_where(published, source, models, monkeypatch):
    monkeypatch.setenv(FROM, str(source.parent))
    with pytest.raises(NotHere):
        published.find(models)
    assert published.find(models, download=True).read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("below", "says"),
    [("half", "was interrupted: "), ("page", "is not the file of kind:net"), ("gone", "the server answers 503")],
)
def test_nothing_is_left_of_what_did_not_arrive(below, says, published, models, server):
    with pytest.raises(EstError, match=says):
        published.take(f"{server}/{below}", models)
    assert names(models) == []


def test_a_server_that_is_down_and_a_source_that_is_none_are_said(published, models, server):
    with pytest.raises(EstError, match=r"could not be read from http://127\.0\.0\.1:9/"):
        published.take("http://127.0.0.1:9/", models)
    with pytest.raises(UsageError, match=r"--from is a file, a folder with net\.pt in it"):
        published.take("nowhere", models)
    with pytest.raises(UsageError, match="--from is a file"):
        published.take("ftp://127.0.0.1/net.pt", models)
    assert names(models) == []


def test_half_a_file_by_hand_is_refused(published, source, models):
    half = source.read_bytes()[:-200]
    source.write_bytes(half)
    with pytest.raises(EstError, match=r"is not the file of kind:net: net\.pt"):
        published.take(str(source), models)
    assert names(models) == []
    models.mkdir(exist_ok=True)
    (models / NAME).write_bytes(half)
    with pytest.raises(EstError, match="is not the file of kind:net"):
        published.find(models)
    assert names(models) == [NAME]  # it is the user's


def test_other_bytes_than_the_first_are_refused(published, source, models):
    path = published.take(str(source), models)
    first = path.read_bytes()
    torch.save({"a": torch.zeros(3)}, path)
    with pytest.raises(EstError, match="has changed since it was first used") as refused:
        published.find(models)
    assert "rm " in refused.value.remedy
    path.unlink()
    torch.save({"a": torch.full((3,), 2.0)}, source)
    with pytest.raises(EstError, match=r"gave another net\.pt than before"):
        published.take(str(source), models)
    assert names(models) == [NAME + ".fetched.json"]
    source.write_bytes(first)
    assert published.take(str(source), models).read_bytes() == first
    (models / f"{NAME}.fetched.json").write_text("{")
    with pytest.raises(EstError, match="cannot be read"):
        published.find(models)


def test_a_later_source_is_compared_with_the_file_that_is_here(published, source, models, server):
    path = published.take(str(source), models)
    first = path.read_bytes()
    assert published.take(f"{server}/files", models) == path
    torch.save({"a": torch.full((3,), 2.0)}, source)
    for where in (str(source), f"{server}/files"):
        with pytest.raises(EstError, match=r"gave another net\.pt than before.*Nothing was kept") as refused:
            published.take(where, models)
    assert f"rm {path} {path}.fetched.json" in refused.value.remedy
    assert path.read_bytes() == first
    assert names(models) == [NAME, NAME + ".fetched.json"]


@pytest.mark.parametrize(
    "where",
    [
        "{}/half?token=SECRET",
        "{}/gone?token=SECRET",
        "{}/page/?token=SECRET#SECRET",
        "{}/fi les/?token=SECRET",
        "http://127.0.0.1:9/?token=SECRET",
        "ftp://me:SECRET@127.0.0.1/net.pt",
    ],
)
def test_no_message_tells_a_token(where, published, models, server):
    with pytest.raises(EstError) as refused:
        published.take(where.format(server), models)
    assert "SECRET" not in f"{refused.value.message} {refused.value.remedy}"


def test_an_address_with_a_users_name_is_refused(published, models, server):
    with pytest.raises(UsageError, match="--from takes no address with a user's name") as refused:
        published.take(server.replace("//", "//me:SECRET@"), models)
    assert "SECRET" not in f"{refused.value.message} {refused.value.remedy}"


def test_a_record_without_its_source_or_of_earlier_code_is_read(published, source, models):
    path = published.take(str(source), models)
    record = path.with_name(f"{NAME}.fetched.json")
    told = json.loads(record.read_text())
    torch.save({"a": torch.full((3,), 2.0)}, source)
    for known in ({}, {"from": "https://me:SECRET@host/files?token=SECRET"}):
        record.write_text(json.dumps({"sha256": told["sha256"], **known}))
        with pytest.raises(EstError, match="gave another") as refused:
            published.take(str(source), models)
        assert "SECRET" not in refused.value.remedy
        assert ("https://host/files" in refused.value.remedy) == bool(known)
    for damaged in ("[]", '{"sha256": 3}', "{}"):
        record.write_text(damaged)
        with pytest.raises(EstError, match="cannot be read"):
            published.find(models)


def test_a_file_that_was_put_there_is_recorded_at_its_first_use(published, source, models):
    models.mkdir()
    (models / NAME).write_bytes(source.read_bytes())
    assert published.find(models, download=False) == models / NAME
    torch.save({"a": torch.zeros(3)}, models / NAME)
    with pytest.raises(EstError, match="has changed since it was first used"):
        published.find(models)


def test_a_source_without_an_end_is_not_kept(published, source, models, monkeypatch):
    monkeypatch.setattr(fetched, "MOST", 100)
    with pytest.raises(EstError, match="more than 100 bytes"):
        published.take(str(source), models)
    assert names(models) == []
