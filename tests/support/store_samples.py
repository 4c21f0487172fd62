"""Servers on loopback for tests of object stores: S3 (moto), and one before another that answers as badly as a test wants.

`tests/conftest.py` puts this folder on the path, so that tests and the processes they start import it by name.
"""

from __future__ import annotations

import http.server
import json
import logging
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from est.cli import main

BUCKET = "bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
SIGNED = "AWS4-HMAC-SHA256 Credential=key/20261130/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
OWN = ("content-length", "connection", "transfer-encoding", "date", "server")  # headers that each server writes itself
CUT = "cut"  # an answer that breaks off in the middle


def folder_of(tmp_path):
    """Return the folder whose files are the objects of a test's store."""
    return tmp_path / "store"


def run(capsys, *arguments):
    """Run a command; return its status and the last of its JSON events."""
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments), "--json"])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return stop.value.code, events[-1]


@contextmanager
def s3_server():
    """Serve one bucket; yield the address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    try:
        urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT")).close()
        yield address
    finally:
        server.stop()


class Proxy:
    """A server before another one: `answer` says how a request is answered, None lets it pass."""

    def __init__(self, behind="", answer=lambda method, path, number: None):
        self.behind = behind
        self.answer = answer  # (method, path, how many came before) → None, CUT, or a status and a body
        self.asked = []  # method and path of every request
        self.signed = []  # its header of authorization
        self.address = ""

    def __enter__(self):
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Proxy

    def log_message(self, *args):
        pass

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        number = len(self.owner.asked)
        self.owner.asked.append((self.command, self.path))
        self.owner.signed.append(self.headers.get("Authorization", ""))
        wanted = self.owner.answer(self.command, self.path, number)
        if isinstance(wanted, tuple):
            status, data = wanted
            self._reply(status, data.encode(), len(data.encode()))
            return
        status, headers, data = self._pass_on(body)
        self._reply(status, data[: len(data) // 2] if wanted == CUT else data, len(data), headers)
        if wanted == CUT:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

    def _pass_on(self, body):
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN}
        headers.setdefault("Authorization", SIGNED)  # of requests without one: everybody may read
        headers.setdefault("Content-Type", "application/octet-stream")  # urllib's own would be a form's
        asked = urllib.request.Request(self.owner.behind + self.path, body or None, headers, method=self.command)
        try:
            with urllib.request.urlopen(asked) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def _reply(self, status, data, length, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            if name.lower() not in OWN:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
