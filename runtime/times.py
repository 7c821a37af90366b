"""Times as text: strftime() and time() with the extensions %f, %k and %l.

The time zone is an explicit name, UTC unless the user asks for another one, so that output does not depend on the host's.
"""

from __future__ import annotations

import time as host_time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyprobe.runtime.context import Clock

SECOND = 1_000_000_000


def format_time(fmt: bytes, wall: int, tz: str = "UTC") -> bytes:
    """strftime(3) of nanoseconds since 1970; `%f`, `%l` and `%k` are micro-, milli- and nanoseconds of the second."""
    seconds, rest = divmod(wall, SECOND)
    extended = {ord("f"): b"%06d" % (rest // 1000), ord("l"): b"%03d" % (rest // 1_000_000), ord("k"): b"%09d" % rest}
    out, i = bytearray(), 0
    while i < len(fmt):
        if fmt[i] == 0x25 and i + 1 < len(fmt):
            out += extended.get(fmt[i + 1], fmt[i : i + 2])
            i += 2
        else:
            out.append(fmt[i])
            i += 1
    text = out.decode("utf-8", "surrogateescape")
    return host_time.strftime(text, _fields(seconds, tz)).encode("utf-8", "surrogateescape") if text else b""


def _fields(seconds: int, tz: str) -> host_time.struct_time:
    if tz == "UTC":
        return host_time.gmtime(seconds)
    import datetime
    import zoneinfo

    return datetime.datetime.fromtimestamp(seconds, zoneinfo.ZoneInfo(tz)).timetuple()


def strftime(value: tuple[str, bytes, int], clock: Clock, tz: str) -> bytes:
    """The text of a timestamp value; nanoseconds of the boot clock are moved to wall-clock time."""
    mode, fmt, ns = value
    wall = ns if mode in ("tai", "sw_tai") else ns + clock.wall() - clock.now()
    try:
        return format_time(fmt, wall, tz)
    except (ValueError, OverflowError, OSError):
        return b"(?)"
