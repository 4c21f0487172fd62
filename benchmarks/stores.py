"""Object stores: two clients side by side on one server on loopback, and a cache opened and read through its mirror.

The server is a process of its own that answers with files, as fast as Python can; what is compared is the seconds of processor that the
client takes, which a network does not hide. s3fs is compared where it is installed: it is not one of est's dependencies.
"""

from __future__ import annotations

import argparse
import http.server
import importlib.metadata
import importlib.util
import multiprocessing
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine
from cache_io import MEAN_FRAMES, NUM_CLIPS, WIDTH, write

from est.cache import open_cache, upload_cache
from est.cache.remote.client import THREADS, ObjectStore
from est.cache.remote.mirror import list_mirrors, mirror_of, remove_mirrors

LARGE, SMALL = 4 * 2**20, 64 * 2**10
ROUNDS = 5
HAVE = ("numpy", "torch", "h5py", "zarr", "typer")  # what est needs in any case brings these, and theirs


class Handler(http.server.BaseHTTPRequestHandler):
    """Objects are files: GET, a range of it, PUT, and one page of a listing."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer with a file, a part of it, or a listing."""
        path, _, query = self.path.partition("?")
        if "list-type=2" in query:
            return self._list(path, re.search(r"prefix=([^&]*)", query))
        file = self.folder / path.strip("/")
        if not file.is_file():
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        first, last = 0, file.stat().st_size - 1
        if found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            first, last = int(found[1]), min(int(found[2]), last)
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(last - first + 1))
        if found:
            self.send_header("Content-Range", f"bytes {first}-{last}/{file.stat().st_size}")
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Mon, 30 Nov 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.flush()
        with file.open("rb") as opened:
            while first <= last:
                first += os.sendfile(self.connection.fileno(), opened.fileno(), first, last + 1 - first)
        return None

    def do_PUT(self) -> None:
        """Write a file."""
        file = self.folder / self.path.strip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(200, b"")

    def _list(self, bucket: str, prefix: re.Match[str] | None) -> None:
        root = self.folder / bucket.strip("/")
        below = root / (prefix[1].replace("%2F", "/").strip("/") if prefix else "")
        rows = [
            f"<Contents><Key>{path.relative_to(root)}</Key><LastModified>2026-11-30T00:00:00.000Z</LastModified>"
            f'<ETag>"0"</ETag><Size>{path.stat().st_size}</Size></Contents>'
            for path in below.glob("*")
            if path.is_file()
        ]
        self._answer(200, f"<ListBucketResult>{''.join(rows)}</ListBucketResult>".encode())

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", '"0"')
        self.end_headers()
        self.wfile.write(data)


def serve(folder: str, pipe: Any) -> None:
    """Serve a folder until the process is ended."""
    Handler.folder = Path(folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(server.server_port)
    server.serve_forever()


def cost(read: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of this process's processor, and those on the clock, that a call takes."""
    clock, processor = time.perf_counter(), time.process_time()
    read()
    return time.process_time() - processor, time.perf_counter() - clock


def by_obstore(names: list[str]) -> Callable[[], object]:
    """Read objects as est does."""
    store = ObjectStore("s3://bucket/objects")

    def read() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(store.read, names):
                pass

    return read


def by_s3fs(names: list[str], endpoint: str) -> Callable[[], object]:
    """Read the same by s3fs, many at a time; told the sizes, as est knows them, it does not ask for them."""
    import s3fs

    files = s3fs.S3FileSystem(key="key", secret="secret", endpoint_url=endpoint)
    size = int(names[0].partition("-")[0])

    def read() -> None:
        for part in split(names, 64):
            places = [f"bucket/objects/{name}" for name in part]
            files.cat_ranges(places, [0] * len(part), [size] * len(part), on_error="raise")

    return read


def split(names: list[str], size: int) -> list[list[str]]:
    """Return parts of a list: so much is in memory at once."""
    return [names[first : first + size] for first in range(0, len(names), size)]


def tree(name: str) -> dict[str, int]:
    """Return the packages that one brings beside what est has in any case, and their bytes on disk."""
    from packaging.requirements import Requirement

    def closure(name: str, seen: set[str]) -> set[str]:
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in seen:
            return seen
        try:
            distribution = importlib.metadata.distribution(key)
        except importlib.metadata.PackageNotFoundError:
            return seen
        seen.add(key)
        for text in distribution.requires or ():
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                closure(one.name, seen)
        return seen

    had: set[str] = set()
    for one in HAVE:
        closure(one, had)
    brought = closure(name, set()) - had
    return {
        one: sum(
            file.locate().stat().st_size
            for file in importlib.metadata.files(one) or ()
            if file.locate().exists() and "__pycache__" not in str(file)
        )
        for one in sorted(brought)
    }


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=int, default=64, help="objects of 4 MB")
    parser.add_argument("--small", type=int, default=2000, help="objects of 64 kB")
    parser.add_argument("--share", type=int, default=4, help="the cache has DFEW's clips, divided by this")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        server = context.Process(target=serve, args=(str(folder / "served"), theirs), daemon=True)
        server.start()
        endpoint = f"http://127.0.0.1:{ours.recv()}"
        os.environ.update(
            AWS_ENDPOINT_URL=endpoint,
            AWS_ACCESS_KEY_ID="key",
            AWS_SECRET_ACCESS_KEY="secret",
            AWS_REGION="us-east-1",
            EST_MIRRORS=str(folder / "mirrors"),
        )
        try:
            compare_clients(folder, endpoint, arguments.large, arguments.small)
            read_a_cache(folder, arguments.share)
        finally:
            server.kill()


def compare_clients(folder: Path, endpoint: str, large: int, small: int) -> None:
    """Print what the clients take for large and for small objects."""
    have = importlib.util.find_spec("s3fs") is not None
    clients = {"obstore": by_obstore} | ({"s3fs": lambda names: by_s3fs(names, endpoint)} if have else {})
    print(machine("obstore", *(["s3fs"] if have else [])), "\n")
    objects = folder / "served/bucket/objects"
    objects.mkdir(parents=True)
    rng = np.random.default_rng(0)
    print("| client | objects | client's processor, s | s a GB | s on the clock |\n|---|---|---|---|---|")
    for number, size in ((large, LARGE), (small, SMALL)):
        names = [f"{size}-{index}" for index in range(number)]
        for name in names:
            (objects / name).write_bytes(rng.bytes(size))
        reads = {name: make(names) for name, make in clients.items()}
        for read in reads.values():
            read()
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in reads}
        for _ in range(ROUNDS):
            for name, read in reads.items():  # by turns
                found[name].append(cost(read))
        for name, costs in found.items():
            processor, clock = (statistics.median(values) for values in zip(*costs, strict=True))
            what = f"{number} of {size // 1024} kB"
            print(f"| {name} | {what} | {processor:.2f} | {processor / (number * size / 1e9):.2f} | {clock:.2f} |")
    print("\n| client | packages beside est's | MB |\n|---|---|---|")
    for name in clients:
        brought = tree(name)
        print(f"| {name} | {len(brought)}: {', '.join(brought)} | {sum(brought.values()) / 1e6:.1f} |")
    print()


def read_a_cache(folder: Path, share: int) -> None:
    """Print what a cache at a URL takes beside one of this machine."""
    path, url = folder / "c.zarr", "s3://bucket/c.zarr"
    lengths = np.full(NUM_CLIPS // share, MEAN_FRAMES)
    write(path, lengths, WIDTH)
    sent = cost(lambda: upload_cache(path, url))
    again = cost(lambda: upload_cache(path, url))
    upload = mirror_of(url).upload
    remove_mirrors(list_mirrors())
    size = f"{upload.num_bytes / 1e6:.0f} MB, {len(upload.files):,} files, {len(upload.objects):,} objects"
    print(f"A cache of {len(lengths):,} clips: {size}\n")
    rows = {"upload (verified and hashed first)": sent, "the same again, nothing sent": again}
    rows["open, no mirror yet"] = cost(lambda: open_cache(url))
    rows["open, mirror there"] = cost(lambda: open_cache(url))
    rows["open on this machine"] = cost(lambda: open_cache(path))
    rows["read all rows, first time"] = cost(lambda: open_cache(url).load())
    rows["read all rows, mirror there"] = cost(lambda: open_cache(url).load())
    rows["read all rows on this machine"] = cost(lambda: open_cache(path).load())
    print("| what | processor, s | s on the clock |\n|---|---|---|")
    for name, (processor, clock) in rows.items():
        print(f"| {name} | {processor:.2f} | {clock:.2f} |")


if __name__ == "__main__":
    main()
