"""What the script's functions do at run time: strings, memory, network addresses, names of numbers, and the calls that print.

Everything here is plain Python on plain values. Functions that need the machine are made once per handler from the context.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyprobe.lang.source import Span
from pyprobe.runtime.names import ERRORS, SIGNALS, syscalls
from pyprobe.runtime.times import format_time

if TYPE_CHECKING:
    from pyprobe.runtime.context import Memory, RuntimeContext

Fail = Callable[[int], Any] | None
"""What is told of an address that could not be read."""

# ---- reading memory


def string_reader(memory: Memory, fail: Fail) -> Callable[[int, int], bytes]:
    """The function that reads a NUL-terminated string of at most so many bytes; b"" when nothing can be read."""
    read_string = memory.read_string

    def read(address: int, limit: int) -> bytes:
        if limit <= 0:
            return b""
        text = read_string(address, limit)
        if text is None:
            if fail is not None:
                fail(address)
            return b""
        return text

    return read


def buffer_reader(memory: Memory, limit: int, fail: Fail) -> Callable[[int, int], bytes]:
    """The function that reads so many bytes, at most `limit`; zeros when they cannot be read."""
    read_bytes = memory.read

    def read(address: int, size: int) -> bytes:
        size = min(size, limit)
        data = read_bytes(address, size) if size > 0 else b""
        if data is None:
            if fail is not None:
                fail(address)
            return bytes(size)
        return data

    return read


def exact_reader(memory: Memory, size: int, fail: Fail) -> Callable[[int], bytes]:
    """The function that reads exactly `size` bytes; zeros when they cannot be read."""
    read = buffer_reader(memory, size, fail)
    return lambda address: read(address, size)


# ---- strings


def cut(text: bytes, length: int, limit: int) -> bytes:
    """str(string, n) with n known only now: n counts the final NUL."""
    return text[: max(0, min(length, limit) - 1)]


def strstr(haystack: bytes, needle: bytes) -> int:
    """Index of the needle; -2 (the kernel's -ENOENT) when there is none."""
    at = haystack.find(needle)
    return at if at >= 0 else -2


def strcontains(haystack: bytes, needle: bytes) -> bool:
    return needle in haystack


def str_concat(a: bytes, b: bytes) -> bytes:
    """Both strings, at most 1023 bytes."""
    return (a + b)[:1023]


def memcmp(a: bytes, b: bytes, count: int) -> int:
    """Difference of the first bytes that differ, as signed ones."""
    for x, y in zip(a[:count], b[:count], strict=False):
        if x != y:
            return (x ^ 0x80) - (y ^ 0x80)
    return 0


def _swapper(size: int) -> Callable[[int], int]:
    def swap(value: int) -> int:
        return int.from_bytes(value.to_bytes(size, "little"), "big")

    return swap


SWAP = {size: _swapper(size) for size in (2, 4, 8)}

# ---- names of numbers


def strerror(number: int) -> bytes:
    """The C library's text for an error number; its sign does not matter."""
    return ERRORS.get(abs(number), "Unknown error").encode()


def signal_name(number: int) -> bytes:
    """The C library's description of a signal; 32 and 33 are the ones it keeps for itself."""
    if number in (0, 32, 33):
        return b"Unknown signal %d" % number
    return SIGNALS.get(number, "N/A").encode()


def syscall_namer(arch: str) -> Callable[[int], bytes]:
    """syscall_name() for an architecture."""
    return lambda number: syscalls(arch).get(number, "Unknown syscall").encode()


# ---- network


def pton(text: bytes) -> bytes:
    """An IPv4 or IPv6 address as bytes in network order. Raises OSError on anything else (the checker has looked)."""
    import socket

    return socket.inet_pton(socket.AF_INET6 if b":" in text else socket.AF_INET, text.decode())


def address_of_family(family: int, address: bytes) -> bytes:
    """ntop(af, address): AF_INET is 2, AF_INET6 is 10 on Linux."""
    return address[:4] if family == 2 else address[:16].ljust(16, b"\0") if family == 10 else address


# ---- calls that print


def messenger(context: RuntimeContext, kind: str, span: Span) -> Callable[[bytes], None]:
    """errorf() or warnf() at one place."""

    def message(text: bytes) -> None:
        if kind == "errorf":
            context.failures += 1
        context.output.message(kind, span, text)

    return message


def time_printer(context: RuntimeContext, fmt: bytes) -> Callable[[], None]:
    """time(format) of at most 63 bytes, like the buffer it is formatted into."""

    def print_time() -> None:
        text = format_time(fmt, context.clock.wall(), context.output.renderer.tz)
        if 0 < len(text) < 64:
            context.output.time(text)
        else:
            context.output.error(b"strftime returned zero (Invalid argument)")

    return print_time


JOINED = 16  # strings that join() looks for


def joiner(memory: Memory, separator: bytes, lost_pointer: Fail = None, lost_text: Fail = None) -> Callable[[int], bytes]:
    """join(): up to 16 strings of up to 1023 bytes from a NULL-terminated array of pointers; it shows those before the first empty one.

    bpftrace reads all the 16, so what cannot be read behind the last one is told as well: `lost_pointer` gets the address of an element,
    `lost_text` that of a string.
    """
    text_at = string_reader(memory, lost_text)

    def joined(array: int) -> bytes:
        parts: list[bytes] = []
        ended = False
        for address in range(array, array + 8 * JOINED, 8):
            pointer = memory.read(address, 8)
            if pointer is None and lost_pointer is not None:
                lost_pointer(address)
            text = text_at(int.from_bytes(pointer or b"", "little"), 1023)
            ended = ended or not text
            if ended and lost_text is None:
                break
            if not ended:
                parts.append(text)
        return separator.join(parts)

    return joined


def cat(context: RuntimeContext) -> Callable[[bytes], None]:
    """cat(): the beginning of a file."""
    limit = context.config.max_cat_bytes

    def show(path: bytes) -> None:
        try:
            data = (context.read_file or _host_file)(path, limit)
        except IsADirectoryError:
            return  # it can be opened, but holds nothing to read
        except OSError as error:
            reason = error.strerror or os.strerror(error.errno or 0)
            context.output.error(b"failed to open file '%s' (%s)" % (path, reason.encode()))
            return
        context.output.cat(data)

    return show


def _host_file(path: bytes, limit: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(limit)


def system(context: RuntimeContext) -> Callable[[bytes], None]:
    """system(): a shell command whose output is shown."""

    def run(command: bytes) -> None:
        data, status = (context.run_command or _host_command)(command)
        if not status:
            context.output.system(data)
        else:
            context.output.error(b"command exited with code %d (Invalid argument)" % status)

    return run


def _host_command(command: bytes) -> tuple[bytes, int]:
    import subprocess

    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, check=False)
    return done.stdout, done.returncode
