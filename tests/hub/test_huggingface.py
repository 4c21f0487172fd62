"""The adapter of Hugging Face's library against a local server that speaks the few endpoints; no test leaves the machine."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from est.errors import UsageError
from est.hub import huggingface
from est.hub.client import HubError
from est.hub.download import fetch_weights
from est.hub.huggingface import HuggingFace

COMMIT = "a" * 40
DATA = b"numbers " * 100
FILES = {"model.safetensors": DATA, "README.md": b"a page"}


def about(name):
    data = FILES[name]
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 100}
    return {"rfilename": name, "size": len(data), "blobId": blob} | (
        {"lfs": lfs} if name.endswith("safetensors") else {}
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status=200, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def tell(self, data, status=200, **headers):
        self.answer(status, json.dumps(data).encode(), Content_Type="application/json", **headers)

    def do_GET(self):
        path = self.path.partition("?")[0]
        if "/me/secret" in path:
            return self.tell({"error": "Invalid username or password."}, 401)
        if "/me/nothing" in path or "/me/new" in path:
            return self.tell({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        if "/me/gated" in path:
            return self.tell({"error": "Access is restricted"}, 403, X_Error_Code="GatedRepo")
        if path.endswith("/revision/gone"):
            return self.tell({"error": "Invalid rev id"}, 404, X_Error_Code="RevisionNotFound")
        if path.startswith("/api/models/"):
            files = [about(name) for name in FILES]
            return self.tell({"id": "me/enc", "sha": COMMIT, "private": "/me/private" in path, "siblings": files})
        data = FILES[path.rpartition("/")[2]]
        if "/me/other" in path:
            data = data[:-1] + b"!"
        etag = about(path.rpartition("/")[2])
        return self.answer(
            200, data, ETag=f'"{etag.get("lfs", {}).get("sha256") or etag["blobId"]}"', X_Repo_Commit=COMMIT
        )

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/api/repos/create"):
            self.server.made.append(json.loads(body))
            return self.tell({"url": f"http://{self.headers['Host']}/me/new", "id": "me/new", "name": "me/new"})
        if "/preupload/" in self.path:
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            return self.tell({"files": files})
        if self.path == "/api/validate-yaml":  # of the page, before anything is uploaded
            return self.tell({"errors": [], "warnings": []})
        self.server.commits.append([json.loads(line) for line in body.splitlines()])
        return self.tell(
            {"commitOid": "b" * 40, "commitUrl": f"http://{self.headers['Host']}/me/new/commit/{'b' * 40}"}
        )

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.made, running.commits = [], []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def hub(server):
    return HuggingFace(f"http://127.0.0.1:{server.server_port}")


def test_a_file_comes_at_its_commit_and_is_compared(hub, tmp_path):
    listing = hub.listing("me/enc", "model", "main")
    assert listing.commit == COMMIT
    assert listing.files["model.safetensors"].sha256 == hashlib.sha256(DATA).hexdigest()
    assert (listing.files["README.md"].sha256, len(listing.files["README.md"].git_blob)) == ("", 40)
    found = fetch_weights("hub:me/enc", tmp_path, hub=hub)
    assert found.path.read_bytes() == DATA
    assert str(found.name) == f"hub:me/enc/model.safetensors@{COMMIT}"
    assert hub.cached("me/enc", "model", COMMIT, "model.safetensors", tmp_path) == found.path
    assert hub.cached("me/enc", "model", COMMIT, "other", tmp_path) is None
    with pytest.raises(HubError, match="is not the one that it lists: its SHA-256"):
        fetch_weights("hub:me/other", tmp_path, hub=hub)
    assert hub.cached("me/other", "model", COMMIT, "model.safetensors", tmp_path) is None


@pytest.mark.parametrize(
    ("name", "says", "remedy"),
    [
        ("hub:me/secret", "The hub refuses this for me/secret", "hf auth login"),
        ("hub:me/nothing", "The hub has no me/nothing", "check the name"),
        ("hub:me/gated", "whom its owners have approved", "ask for access"),
        ("hub:me/enc@gone", "me/enc has no revision gone", "hub:me/enc, or @"),
    ],
)
def test_what_a_hub_refuses_is_a_sentence_with_a_remedy(name, says, remedy, hub, tmp_path):
    with pytest.raises(HubError, match=says) as refused:
        fetch_weights(name, tmp_path, hub=hub)
    assert remedy in refused.value.remedy


def test_a_hub_that_is_down_is_said(tmp_path):
    with pytest.raises(HubError, match="The hub cannot be reached for me/enc"):
        fetch_weights("hub:me/enc", tmp_path, hub=HuggingFace("http://127.0.0.1:9"))


def test_a_folder_is_pushed_as_one_commit(hub, server, tmp_path):
    (tmp_path / "README.md").write_text("a page")
    (tmp_path / "est.json").write_text("{}")
    assert hub.is_public("me/new", "model") is None
    assert hub.is_public("me/enc", "model") is True
    assert hub.is_public("me/private", "model") is False
    hub.create("me/new", "model", private=True)
    assert server.made[0].get("private") is True or server.made[0].get("visibility") == "private", server.made
    assert hub.upload("me/new", "model", tmp_path, "shared by est") == "b" * 40
    header, *files = server.commits[0]
    assert header["value"]["summary"] == "shared by est"
    assert sorted(one["value"]["path"] for one in files) == ["README.md", "est.json"]


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match="needs the package huggingface-hub") as refused:
        HuggingFace()
    assert refused.value.remedy == "pip install 'est-fer[hub]'"
    assert huggingface.TOKEN
