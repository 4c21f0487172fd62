"""Damaged videos through extraction: none hangs it, no lost worker goes unnoticed, and every video is a clip or a failure.

    python benchmarks/hardening/videos.py                  # 5,000 videos, about a quarter of an hour on two cores
    python benchmarks/hardening/videos.py --count 200 --seed 7

Small clips in every codec and container that PyAV writes here are damaged in one of the ways of `WAYS`, and extracted in one call,
each frame as a crop (`--detector none`), so that the decoders have most of the work. Counted is what each became. The exit status is 1 if a
video is neither clip nor failure, or both; if the cache does not verify; or if the same call again does anything.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tests" / "support")]

import av  # noqa: E402
from _machine import machine  # noqa: E402
from _watching import Sampler, growth_lines  # noqa: E402
from video_samples import AV1, CODECS, QUIET_X265, make_video  # noqa: E402

from est.cache import Watch, open_cache, verify_cache  # noqa: E402
from est.extract.config import ExtractConfig  # noqa: E402
from est.extract.extraction import extract_videos  # noqa: E402
from est.extract.report import Report  # noqa: E402
from est.inputs.input import find_inputs  # noqa: E402

FRAMES, SIZE = 8, (64, 48)
TIMEOUT = 20.0  # seconds in which a decoder must get somewhere
MADE = {
    **CODECS,
    **AV1,
    "h264.mkv": {"pixels": "yuv420p"},
    "h264.mov": {"pixels": "yuv420p"},
    "h264.ts": {"pixels": "yuv420p", "container": "mpegts"},
    "hevc.mkv": {"codec": "libx265", "pixels": "yuv420p", "options": QUIET_X265},
    "mpeg4.avi": {"codec": "mpeg4", "pixels": "yuv420p"},
    "mpeg2.mpg": {"codec": "mpeg2video", "pixels": "yuv420p", "container": "mpeg"},
    "flv1.flv": {"codec": "flv", "pixels": "yuv420p"},
    "wmv2.wmv": {"codec": "wmv2", "pixels": "yuv420p", "container": "asf"},
    "fragmented.mp4": {"pixels": "yuv420p", "muxer": {"movflags": "frag_keyframe+empty_moov"}},
}
SUFFIXES = (
    ".mp4",
    ".avi",
    ".webm",
    ".mkv",
    ".mov",
    ".mpg",
    ".ts",
    ".flv",
    ".wmv",
    ".y4m",
    ".mjpeg",
    ".ogv",
    ".3gp",
    ".mxf",
)
NO_VIDEOS = (
    b"",
    b"\0" * 4096,
    b"<!DOCTYPE html><title>404</title>" * 20,
    b"PK\x03\x04" + b"\0" * 500,
    b"\xff\xd8\xff\xe0" + b"\7" * 900,
)
LENGTHS = (0, 1, 7, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x00FFFFFF, 16, 0x10000)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A sound video."""

    name: str
    suffix: str
    data: bytes


def flip_bits(data: bytearray, draw: random.Random) -> None:
    """Flip 1 to 64 bits anywhere."""
    for _ in range(draw.choice((1, 2, 4, 16, 64))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def cut_out(data: bytearray, draw: random.Random) -> None:
    """Leave out a piece in the middle."""
    first = draw.randrange(len(data))
    del data[first : first + draw.randrange(1, 1 + len(data) // 3)]


def truncate(data: bytearray, draw: random.Random) -> None:
    """Leave out the end, as of a download that was cut."""
    del data[draw.randrange(1, len(data)) :]


def change_length(data: bytearray, draw: random.Random) -> None:
    """Write another number where four bytes may be the length of a box, a chunk or an element."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        place = draw.randrange(min(len(data) - 4, draw.choice((64, 1024, len(data)))))
        data[place : place + 4] = draw.choice(LENGTHS).to_bytes(4, draw.choice(("big", "little")))


def change_header(data: bytearray, draw: random.Random) -> None:
    """Write random bytes into the beginning, where sizes and codecs stand."""
    for _ in range(draw.choice((1, 4, 16, 64))):
        data[draw.randrange(min(len(data), 700))] = draw.randrange(256)


def change_index(data: bytearray, draw: random.Random) -> None:
    """Write random bytes into the end, where many containers have their index."""
    for _ in range(draw.choice((1, 4, 16, 64))):
        data[-draw.randrange(1, min(len(data), 1200))] = draw.randrange(256)


def swap_blocks(data: bytearray, draw: random.Random) -> None:
    """Exchange two pieces of the same length."""
    length = draw.choice((16, 128, 512))
    one, other = (draw.randrange(max(1, len(data) - length)) for _ in range(2))
    data[one : one + length], data[other : other + length] = data[other : other + length], data[one : one + length]


def repeat_block(data: bytearray, draw: random.Random) -> None:
    """Write a piece twice."""
    first = draw.randrange(len(data))
    data[first:first] = data[first : first + draw.choice((16, 512, 4096))]


def zero_block(data: bytearray, draw: random.Random) -> None:
    """Fill a piece with zeros, as of a file whose blocks never reached the disk."""
    first, length = draw.randrange(len(data)), draw.choice((64, 512, 4096))
    data[first : first + length] = bytes(len(data[first : first + length]))


def leave_alone(data: bytearray, draw: random.Random) -> None:
    """Change nothing."""


def hold_no_video(data: bytearray, draw: random.Random) -> None:
    """Hold something that is no video at all."""
    data[:] = draw.choice(NO_VIDEOS)


WAYS: dict[str, Callable[[bytearray, random.Random], None]] = {
    "bits flipped": flip_bits,
    "piece cut out": cut_out,
    "truncated": truncate,
    "lengths changed": change_length,
    "header changed": change_header,
    "end changed": change_index,
    "pieces swapped": swap_blocks,
    "piece repeated": repeat_block,
    "piece zeroed": zero_block,
    "another suffix": leave_alone,
    "no video": hold_no_video,
}


def sound_videos(folder: Path) -> list[Source]:
    """Write a video of each kind that PyAV can write here."""
    found = []
    for name, how in MADE.items():
        path = folder / f"{name.replace('.', '-')}{Path(name).suffix}"
        try:
            make_video(path, FRAMES, size=SIZE, **how)
        except (av.FFmpegError, ValueError, OSError) as error:
            print(f"  not written here: {name} ({error})")
            continue
        found.append(Source(name=path.stem, suffix=path.suffix, data=path.read_bytes()))
    return found


def write_damaged(sources: Sequence[Source], count: int, seed: int, folder: Path) -> list[str]:
    """Write so many damaged videos; return the way of each, by its number."""
    draw, ways = random.Random(seed), []
    for number in range(count):
        source, way = draw.choice(sources), draw.choice(list(WAYS))
        data = bytearray(source.data)
        WAYS[way](data, draw)
        suffix = (
            draw.choice([one for one in SUFFIXES if one != source.suffix]) if way == "another suffix" else source.suffix
        )
        (folder / f"{number:05d} {source.name}{suffix}").write_bytes(data)
        ways.append(way)
    return ways


def main(arguments: Sequence[str] | None = None) -> int:
    """Damage, extract, count."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--count", type=int, default=5000)
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--workers", type=int, default=2)
    asked = reader.parse_args(arguments)
    print(machine("av", "opencv-python-headless", "numpy"))
    with tempfile.TemporaryDirectory(prefix="est-videos-") as name:
        return run(Path(name), asked.count, asked.seed, asked.workers)


def run(folder: Path, count: int, seed: int, workers: int) -> int:
    """Print what so many damaged videos became; return the exit status."""
    for inner in ("sound", "damaged", "temporary"):
        (folder / inner).mkdir()
    tempfile.tempdir = str(folder / "temporary")
    sources = sound_videos(folder / "sound")
    ways = write_damaged(sources, count, seed, folder / "damaged")
    config = ExtractConfig(
        weights="random", size=32, detector="none", precision="fp32", device="cpu", workers=workers, timeout=TIMEOUT
    )
    print(f"{count:,} videos of {len(sources)} kinds, seed {seed}, {workers} workers\n")
    whole = extract_videos(find_inputs([folder / "sound"]), folder / "sound.zarr", config)
    frames = dict(
        zip(open_cache(folder / "sound.zarr").ids, open_cache(folder / "sound.zarr").clips.count, strict=True)
    )
    print(
        f"undamaged: {whole.clips} of {len(sources)} are clips, {sum(frames.values())} frames, {len(whole.failures)} failures"
    )
    watch = Sampler(max(1, count // 100), folder / "temporary", told=max(100, count // 5))
    begun = time.monotonic(), time.process_time()
    found = find_inputs([folder / "damaged"])
    report = extract_videos(found, folder / "damaged.zarr", config, watch=watch)
    print(f"one extraction of {time.monotonic() - begun[0]:,.0f} s\n")
    wrong = count_all(report, folder / "damaged.zarr", ways, sum(found.ignored.values()))
    print("\nheld while it ran:")
    print("\n".join(growth_lines(watch.samples)))
    problems = verify_cache(folder / "damaged.zarr").problems
    again = extract_videos(find_inputs([folder / "damaged"]), folder / "damaged.zarr", config, watch=Watch())
    wrong += [str(one) for one in problems]
    if again.clips or again.unchanged + len(again.failures) != count - sum(found.ignored.values()):
        wrong.append(
            f"the same call again: {again.clips} new clips, {again.unchanged} unchanged, {len(again.failures)} failures"
        )
    print(
        f"\nverified: {len(problems)} problems; the same call again: {again.unchanged:,} unchanged, {len(again.failures):,} failed before"
    )
    print("\n".join(["", *(f"WRONG: {one}" for one in wrong)]) if wrong else "every video is a clip or a failure")
    return 1 if wrong else 0


def count_all(report: Report, cache: Path, ways: Sequence[str], ignored: int) -> list[str]:
    """Print what the videos became, by the way in which they were damaged; return what is not accounted for."""
    opened = open_cache(cache)
    kept = dict(zip(opened.ids, opened.clips.count, strict=True))
    failed = {failure.id: failure for failure in opened.failures}
    incomplete, reported = set(report.incomplete), set(report.damaged)
    table: dict[str, Counter[str]] = {way: Counter() for way in WAYS}
    wrong = []
    ids = Counter(int(name.split()[0]) for name in (*kept, *failed))
    wrong += [f"video {number} is {times} times on record" for number, times in ids.items() if times > 1]
    lost = [number for number in range(len(ways)) if not ids[number]]
    print(f"{ignored} files were no videos by their content and suffix (text in a .ts), and were told as ignored\n")
    if len(lost) != ignored:
        wrong.append(
            f"{len(lost)} videos are neither clip nor failure, and {ignored} were told as ignored: {lost[:20]}"
        )
    for name, rows in kept.items():
        way = ways[int(name.split()[0])]
        what = (
            "incomplete"
            if name in incomplete
            else "with errors"
            if name in reported
            else "whole"
            if rows == FRAMES
            else "shorter"
        )
        table[way][what] += 1
    for name in failed:
        table[ways[int(name.split()[0])]]["failure"] += 1
    columns = ("whole", "shorter", "with errors", "incomplete", "failure")
    print(f"{'':<18}" + "".join(f"{column:>13}" for column in columns))
    for way, counts in table.items():
        print(f"{way:<18}" + "".join(f"{counts[column]:>13,}" for column in columns))
    total = sum(table.values(), Counter())
    print(f"{'all':<18}" + "".join(f"{total[column]:>13,}" for column in columns))
    print("\nfailures, by reason:")
    reasons = Counter(_reason(failure.error) for failure in failed.values())
    for reason, number in reasons.most_common(12):
        print(f"  {number:>6,}  {reason}")
    return wrong


def _reason(text: str) -> str:
    """Return a reason without the file, its bytes and what to do."""
    what = text.partition(": ")[2] or text
    for end in (" Try", "; the file starts", " (tracks", ": '"):
        what = what.partition(end)[0]
    return what


if __name__ == "__main__":
    sys.exit(main())
