"""Faults in the kernel's answers: the k-th system call that changes a file below a folder fails, whoever makes it.

A filter of the kernel (seccomp) sends such calls of a process and its children to this process, which lets them pass or answers with an
error in the kernel's place. So the writes of libraries in C and Rust (HDF5, FFmpeg, safetensors, SQLite) fail like Python's own, in all
threads. Needs Linux on x86-64. Files that are changed through a memory map are not seen.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import _warm
from _warm import Ended

PR_SET_NO_NEW_PRIVS, SYS_SECCOMP = 38, 317
SET_FILTER, NEW_LISTENER = 1, 8
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
X86_64 = 0xC000003E
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # of the kernel's filter language
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in what a filter reads
RECEIVE, SEND = 0xC0502100, 0xC0182101
PASS = 1  # an answer that lets a call happen
HERE = -100  # AT_FDCWD
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

BY_FILE = {  # number → name, place of the descriptor
    1: ("write", 0),
    18: ("write", 0),
    20: ("write", 0),
    40: ("write", 0),  # sendfile
    74: ("flush", 0),
    75: ("flush", 0),
    77: ("truncate", 0),
    91: ("chmod", 0),
    285: ("allocate", 0),
    296: ("write", 0),
    326: ("write", 2),  # copy_file_range
    328: ("write", 0),
}
BY_NAME = {  # number → name, place of the path, place of the folder's descriptor
    2: ("open", 0, None),
    76: ("truncate", 0, None),
    82: ("rename", 1, None),
    83: ("mkdir", 0, None),
    84: ("rmdir", 0, None),
    85: ("open", 0, None),
    86: ("link", 1, None),
    87: ("unlink", 0, None),
    88: ("link", 1, None),
    90: ("chmod", 0, None),
    257: ("open", 1, 0),
    258: ("mkdir", 1, 0),
    263: ("unlink", 1, 0),
    264: ("rename", 3, 2),
    265: ("link", 3, 2),
    266: ("link", 2, 1),
    268: ("chmod", 1, 0),
    316: ("rename", 3, 2),
    452: ("chmod", 1, 0),
}
FLAGS = {2: 1, 257: 2}  # number → place of the flags: opening for reading changes nothing


@dataclass(kw_only=True)
class Fault:
    """Which call fails, and how; `seen` are the calls that came."""

    at: int = 0  # from 1; 0: none
    number: int = errno.ENOSPC
    lasting: bool = False  # whether all later ones fail too
    seen: list[str] = field(default_factory=list)

    def answer(self, call: str) -> int:
        """Return the error of a call, 0 for none."""
        self.seen.append(call)
        place = len(self.seen)
        return self.number if self.at and (place == self.at or (self.lasting and place > self.at)) else 0


def expect_possible() -> None:
    """End where the kernel cannot do this."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        sys.exit("Faults are injected by a filter of the Linux kernel on x86-64, which this machine is not.")


def run(command: list[str], folder: Path, fault: Fault, before: Callable[[], None]) -> Ended:
    """Run `est COMMAND` in a folder; changes of files below it fail as told."""
    ours, theirs = socket.socketpair()

    def listened_to() -> None:
        before()
        ours.close()
        listener = _listen()
        socket.send_fds(theirs, [b"!"], [listener])
        os.close(listener)
        theirs.close()

    child = _warm.begin(command, folder, listened_to)
    theirs.close()
    _, (listener,), *_ = socket.recv_fds(ours, 1, 1)
    ours.close()
    ending = os.pidfd_open(child.pid)
    try:
        _serve(listener, ending, f"{folder}/", fault)
    finally:
        os.close(listener)
        os.close(ending)
    return child.wait()


def _listen() -> int:
    """Send this process's changes of files to another one; return the descriptor that they come to."""
    libc = ctypes.CDLL(None, use_errno=True)
    rules = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, X86_64), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, NUMBER)]
    for number, place in FLAGS.items():
        flags = ARGUMENTS + 8 * place
        rules += [(EQUAL, 0, 4, number), (LOAD, 0, 0, flags), (ANY_BIT, 0, 1, WRITING), (RETURN, 0, 0, NOTIFY)]
        rules += [(RETURN, 0, 0, ALLOW)]
    for number in (BY_FILE.keys() | BY_NAME.keys()) - FLAGS.keys():
        rules += [(EQUAL, 0, 1, number), (RETURN, 0, 0, NOTIFY)]
    rules += [(RETURN, 0, 0, ALLOW)]
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(text)))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = libc.syscall(SYS_SECCOMP, SET_FILTER, NEW_LISTENER, ctypes.byref(program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "the kernel takes no filter")
    return listener


def _serve(listener: int, ending: int, below: str, fault: Fault) -> None:
    """Answer calls until the process ends."""
    poll = select.poll()
    for descriptor in (listener, ending):
        poll.register(descriptor, select.POLLIN)
    while ready := poll.poll(1000 * _warm.PATIENCE):
        if (listener, select.POLLIN) not in [(descriptor, what & select.POLLIN) for descriptor, what in ready]:
            return  # the process has ended
        call = bytearray(80)
        try:
            fcntl.ioctl(listener, RECEIVE, call)
        except OSError:  # who called is gone
            continue
        key, pid, _, number, _, _, *arguments = struct.unpack("QIIiIQ6Q", call)
        name, path = _told(number, pid, arguments)
        failing = fault.answer(f"{name} {path.removeprefix(below)}") if path.startswith(below) else 0
        answer = struct.pack("QqiI", key, 0, -failing, 0 if failing else PASS)
        try:
            fcntl.ioctl(listener, SEND, answer)
        except OSError:
            continue


def _told(number: int, pid: int, arguments: list[int]) -> tuple[str, str]:
    """Return what a call does, and the path that it does it to; an empty one where that is not to be had."""
    try:
        if number in BY_FILE:
            name, place = BY_FILE[number]
            return name, os.readlink(f"/proc/{pid}/fd/{_signed(arguments[place])}")
        name, place, folder = BY_NAME[number]
        path = _text(pid, arguments[place])
        if not path.startswith("/"):
            start = HERE if folder is None else _signed(arguments[folder])
            path = f"{os.readlink(f'/proc/{pid}/cwd' if start == HERE else f'/proc/{pid}/fd/{start}')}/{path}"
    except OSError:
        return "", ""
    return name, path


def _signed(value: int) -> int:
    """Read a register as the int that a descriptor is."""
    return struct.unpack("i", struct.pack("Q", value)[:4])[0]


def _text(pid: int, address: int) -> str:
    """Read a string of another process."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        found = b""
        while b"\0" not in found and len(found) < os.pathconf("/", "PC_PATH_MAX"):
            memory.seek(address + len(found))
            found += memory.read(256 - (address + len(found)) % 256)  # never beyond a page that may be missing
    return os.fsdecode(found.partition(b"\0")[0])
