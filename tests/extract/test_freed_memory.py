"""What an extraction leaves in memory: none of its models, and nothing freed that the allocator keeps."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import weakref
from pathlib import Path

import pytest
from extract_samples import extract, face_frames
from video_samples import make_video

from est.extract.planning import machine
from est.extract.workers import freed_memory
from est.extract.workers.device_worker import DeviceWorker
from est.extract.workers.freed_memory import return_freed_memory, returning_freed_memory


def test_models_go_with_the_extraction_that_loaded_them(tmp_path, monkeypatch):
    loaded: list[weakref.ref] = []

    class Noted(DeviceWorker):
        def __init__(self, *others, **more):
            super().__init__(*others, **more)
            loaded.append(weakref.ref(self))

    monkeypatch.setattr(machine, "DeviceWorker", Noted)
    make_video(tmp_path / "clip.mp4", face_frames(6))
    gc.collect()
    gc.disable()  # models in a reference cycle would wait for it
    try:
        for features in (("gap",), ("gap", "layer3")):
            extract(tmp_path / "clip.mp4", tmp_path / "cache.zarr", features=features)
        alive = [one() for one in loaded]
    finally:
        gc.enable()
    assert len(alive) == 2
    assert not any(alive)


def test_freed_memory_is_returned_when_a_function_has_ended(monkeypatch):
    said, held = [], []

    class Large:
        pass

    monkeypatch.setattr(freed_memory, "return_freed_memory", lambda: said.append(held[-1]()))

    @returning_freed_memory
    def work(number: int, *, fails: bool = False) -> int:
        """Work."""
        large = Large()
        held.append(weakref.ref(large))
        if fails:
            raise ValueError(number)
        return number + 1

    assert work(1) == 2
    assert said == [None]  # what the function held was freed before
    with pytest.raises(ValueError, match="7"):
        work(7, fails=True)
    assert isinstance(said[1], Large), "a traceback keeps it"
    assert (work.__name__, work.__doc__) == ("work", "Work.")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have no function for it")
def test_what_lies_between_blocks_in_use_is_returned():
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    size, number = 60_000, 1_200  # below the size from which the allocator asks the system for each block
    blocks = [b"x" * size for _ in range(number)]
    kept = blocks[::10]
    del blocks
    before = resident()
    return_freed_memory()
    assert before - resident() > size * number / 2
    assert len(kept) == number // 10


def test_allocators_without_such_a_function_are_left_alone(monkeypatch):
    class Other:
        """A C library without malloc_trim: musl's, or that of macOS."""

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Other())
    return_freed_memory()
