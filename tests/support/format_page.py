"""A reader that knows docs/cache-format.md and nothing of the package, and the comparison of a cache with what the package reads."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import xxhash
import zarr

from est.cache import open_cache

PAGE = (Path(__file__).parents[2] / "docs" / "cache-format.md").read_text(encoding="utf-8")
RECORD = re.search(r"A record has the members (.*?\.)\s", PAGE, re.DOTALL)[1]
FRAMES = ("box", "landmarks", "score", "time", "state")


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Page:
    """A reader that knows the page and nothing of the package."""

    def __init__(self, path):
        self.file = self.staging = None
        directory = path.with_name(path.name + ".staging") if path.suffix != ".zarr" else path
        if path.suffix != ".zarr" and path.exists():
            self.file = h5py.File(path, "r")
            self.attributes = {name: json.loads(text) for name, text in self.file.attrs.items()}
        if directory.exists():
            staging = zarr.open_group(directory, mode="r")
            if self.file is None or self.attributes.get("folded") != staging.attrs["commit"]["id"]:
                if self.file is not None:
                    assert staging.attrs["staging"]["commit"] == self.attributes["commit"]["id"]
                self.staging, self.attributes = staging, dict(staging.attrs)
        attributes = dict(self.attributes)
        checksum = attributes.pop("checksum")
        assert attributes["format"] == "est-cache"
        self.version = attributes["version"]
        assert checksum == f"{xxhash.xxh3_64_intdigest(canonical(attributes).encode()):016x}"
        self.counts = attributes["commit"]["counts"]
        self.crops = attributes["crops"]
        recipes = attributes["recipes"]["features"]
        self.features = {name: recipe for name, recipe in recipes.items() if not recipe.get("window")}
        self.windows = {name: recipe for name, recipe in recipes.items() if recipe.get("window")}

    def array(self, name, rows, base):
        """Return the committed rows of an array, from the file and from the staging."""
        continued = self.attributes.get("staging", {"commit": ""})
        if self.staging is None or (continued["commit"] and name not in continued["whole"]):
            first = self.file[name][:]
            if self.staging is None:
                assert len(first) == rows
                return texts(first)
            assert len(first) == base(continued["base"])
            return np.concatenate([texts(first), texts(self.staging[name][: rows - len(first)])])
        return texts(self.staging[name][:rows])

    def frames(self, name):
        return self.array(f"frames/{name}", self.counts["frames"], lambda counts: counts["frames"])

    def crop_arrays(self):
        data = self.array("crops/data", self.counts["crop_bytes"], lambda counts: counts["crop_bytes"])
        offset = self.array("crops/offset", self.counts["frames"] + 1, lambda counts: counts["frames"] + 1)
        return data, offset

    def table(self, table, names):
        columns = {n: self.array(f"{table}/{n}", self.counts[table], lambda counts: counts[table]) for n in names}
        for name, rows in self.attributes.get("edits", {}).get(table, {}).items():
            for row, value in rows.items():
                columns[name][int(row)] = value
        return columns


def texts(values):
    """Return strings as an array of Python's own, numbers as they are."""
    values = np.asarray(values)
    if values.dtype.kind not in "OTSU":
        return values
    return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()], dtype=object)


def tables_of_the_page():
    """Return the rows of every table of the page, by the section that it is in."""
    sections = re.split(r"^##+ (.*)$", PAGE, flags=re.MULTILINE)[1:]
    return {
        title: [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in re.findall(r"^\| *`.*$", text, re.MULTILINE)
        ]
        for title, text in zip(sections[::2], sections[1::2], strict=True)
    }


TABLES = tables_of_the_page()


def columns_of_the_page(section, page, *, checked=()):
    """Return the columns of a table in the page's order, with their types."""
    found = {}
    for name, dtype, _, meaning in TABLES[section]:
        name = name.strip("`").removeprefix(section + "/")
        if name == "xxh3/ARRAY":
            found |= {f"xxh3/{array}": dtype for array in checked}
        elif name == "extra/NAME":
            extra = page.attributes.get("extra", {})
            here = [name for name in sorted(extra) if section == "clips" or extra[name].get("failures")]
            found |= {f"extra/{column}": extra[column]["dtype"] for column in here}
        elif not (
            (name == "target" and not page.attributes["targets"])
            or (name in ("first_window", "windows") and not page.windows)
            or (meaning.startswith("*2*") and page.version < 2)
        ):
            found[name] = dtype
    return found


def checksum_of_row(columns, types, row):
    digest = xxhash.xxh3_64(seed=0)
    for name, dtype in types.items():
        if name.startswith("xxh3/"):
            continue
        if dtype == "string":
            encoded = columns[name][row].encode()
            digest.update(struct.pack("<I", len(encoded)) + encoded)
        else:
            digest.update(np.asarray(columns[name][row]).astype(np.dtype(dtype).newbyteorder("<")).tobytes())
    return digest.intdigest()


def compare(path):
    """Read a cache by the page, check every checksum of it, and compare it with the package's reader."""
    page, cache = Page(path), open_cache(path)
    checked = [*FRAMES, *page.features, *(["crops"] if page.crops else [])]
    if page.windows:
        checked += ["window_start", "window_stop", "window_rate", *page.windows]
    arrays = {name: page.frames(name) for name in [*FRAMES, *page.features]}
    for name, rows in arrays.items():
        known = cache.load(name).rows if name in page.features else cache.load_column(name)
        np.testing.assert_array_equal(rows, known)
        assert rows.dtype == known.dtype
    types = columns_of_the_page("clips", page, checked=checked)
    clips = page.table("clips", types)
    for name, dtype in types.items():
        assert dtype == "string" or clips[name].dtype == np.dtype(dtype), name
    ends = np.cumsum(clips["count"])
    np.testing.assert_array_equal(clips["start"], ends - clips["count"])
    assert page.counts["frames"] == (ends[-1] if len(ends) else 0)
    live = np.flatnonzero(clips["live"])
    for name in types:
        if not name.startswith("xxh3/") and name != "live":
            np.testing.assert_array_equal(clips[name][live], texts(cache.clips.columns[name]), name)
    for name in checked[len(checked) - len(page.windows) - 3 :] if page.windows else ():
        expect_windows(page, cache, clips, name)
    data, offset = page.crop_arrays() if page.crops else (None, None)
    for place, row in enumerate(live):
        start, stop = clips["start"][row], clips["start"][row] + clips["count"][row]
        for name, rows in arrays.items():
            assert clips[f"xxh3/{name}"][row] == xxhash.xxh3_64_intdigest(rows[start:stop].tobytes()), name
        if page.crops:
            cuts = offset[start : stop + 1]
            crops = [data[a:b].tobytes() for a, b in pairwise(cuts)]
            assert crops == cache.crops(place)
            assert [not crop for crop in crops] == [state == 0 for state in arrays["state"][start:stop]]
            lengths = np.array([len(crop) for crop in crops], "<i8").tobytes()
            assert clips["xxh3/crops"][row] == xxhash.xxh3_64_intdigest(lengths + b"".join(crops))
    for row in range(page.counts["clips"]):
        assert clips["xxh3/row"][row] == checksum_of_row(clips, types, row)
    names = page.attributes["labels"]
    assert [names[code] if code >= 0 else None for code in clips["label"][live]] == cache.clips.label_names
    kinds = columns_of_the_page("failures", page)
    failures = page.table("failures", kinds)
    for row in range(page.counts["failures"]):
        assert failures["xxh3/row"][row] == checksum_of_row(failures, kinds, row)
    columns = ("id", "path", "stage", "error", "subject", "split", "fold")
    shown = [
        [*(failures[name][row] for name in columns), (*names, None)[failures["label"][row]]]
        for row in np.flatnonzero(failures["live"])
    ]
    assert shown == [[getattr(failure, name) for name in (*columns, "label")] for failure in cache.failures]
    fingerprints = {"frames": page.attributes["recipes"]["frames"], **page.features, **page.windows}
    for name, recipe in fingerprints.items():
        assert page.attributes["fingerprints"][name] == hashlib.sha256(canonical(recipe).encode()).hexdigest()[:32]
    if page.file is not None:
        page.file.close()
    return page


def expect_windows(page, cache, clips, name):
    """Compare an array of windows with its checksums, and with what the package reads."""
    short = name.removeprefix("window_")
    rows = page.array(f"windows/{short}", page.counts["windows"], lambda counts: counts["windows"])
    for row in range(page.counts["clips"]):
        first, last = clips["first_window"][row], clips["first_window"][row] + clips["windows"][row]
        assert clips[f"xxh3/{name}"][row] == xxhash.xxh3_64_intdigest(rows[first:last].tobytes()), name
    shown = cache.load_windows(next(iter(page.windows)) if name.startswith("window_") else name)
    np.testing.assert_array_equal(rows, getattr(shown, short) if name.startswith("window_") else shown.features[name])
