"""An S3 server on loopback (moto), and one that answers as badly as a test wants.

`tests/conftest.py` puts this folder on the path, so that tests and the processes they start import it by name.
"""

from __future__ import annotations

import http.server
import logging
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

BUCKET = "bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


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
    """A server before another one: a test says how it answers some requests, by their path; the others pass."""

    def __init__(self, behind):
        self.behind = behind
        self.asked = []  # method and path of every request
        self.answer = lambda method, path, number: None  # None, a status and a body, or "cut": half of the bytes

    @contextmanager
    def serving(self):
        """Serve; yield the address."""
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def handle_one(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                proxy.asked.append((self.command, self.path))
                wanted = proxy.answer(self.command, self.path, len(proxy.asked))
                if isinstance(wanted, tuple):
                    return self.reply(*wanted)
                status, headers, data = self.pass_on(body)
                if wanted == "cut":
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data[: len(data) // 2])
                    self.wfile.flush()
                    self.close_connection = True
                    self.connection.shutdown(2)
                    return None
                return self.reply(status, data, headers)

            def pass_on(self, body):
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                asked = urllib.request.Request(
                    proxy.behind + self.path, data=body or None, headers=headers, method=self.command
                )
                try:
                    with urllib.request.urlopen(asked) as answer:
                        return answer.status, answer.headers, answer.read()
                except urllib.error.HTTPError as error:
                    return error.code, error.headers, error.read()

            def reply(self, status, data, headers=None):
                self.send_response(status)
                for name, value in (headers or {}).items():
                    if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one  # noqa: N815

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
