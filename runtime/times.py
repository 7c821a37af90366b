"""Times as text: strftime() and time() with the extensions %f, %k and %l.

The time zone is an explicit name, UTC unless the user asks for another one, so that output does not depend on the host's.
"""

from __future__ import annotations

import time as host_time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyprobe.runtime.context import Clock

SECOND = 1_000_000_000


def format_time(fmt: bytes, wall: int, tz: str = "UTC") -> bytes:
    """strftime(3) of nanoseconds since 1970; `%f`, `%l` and `%k` are micro-, milli- and nanoseconds of the second."""
    seconds, rest = divmod(wall, SECOND)
    fields, zone, offset = _fields(seconds, tz)
    replaced = {
        ord("f"): b"%06d" % (rest // 1000),
        ord("l"): b"%03d" % (rest // 1_000_000),
        ord("k"): b"%09d" % rest,
        ord("s"): b"%d" % seconds,  # this and the next two would be the host's
        ord("Z"): zone.encode(),
        ord("z"): offset.encode(),
    }
    out, i = bytearray(), 0
    while i < len(fmt):
        if fmt[i] == 0x25 and i + 1 < len(fmt):
            out += replaced.get(fmt[i + 1], fmt[i : i + 2])
            i += 2
        else:
            out.append(fmt[i])
            i += 1
    text = out.decode("utf-8", "surrogateescape")
    return host_time.strftime(text, fields).encode("utf-8", "surrogateescape") if text else b""


def _fields(seconds: int, tz: str) -> tuple[host_time.struct_time, str, str]:
    """The parts of a time, the name of the zone, and its distance from UTC as `+hhmm`."""
    if tz == "UTC":
        return host_time.gmtime(seconds), "UTC", "+0000"
    import datetime
    import zoneinfo

    local = datetime.datetime.fromtimestamp(seconds, zoneinfo.ZoneInfo(tz))
    return local.timetuple(), local.strftime("%Z"), local.strftime("%z")


def strftime(value: tuple[str, bytes | None, int], clock: Clock, tz: str) -> bytes | None:
    """The text of a timestamp value, None where it has none; nanoseconds of the boot clock are moved to wall-clock time."""
    mode, fmt, ns = value
    if fmt is None:  # a timestamp that was never made
        return b"(?)"
    wall = ns if mode in ("tai", "sw_tai") else ns + clock.wall() - clock.now()
    try:
        return format_time(fmt, wall, tz) or None
    except (ValueError, OverflowError, OSError):
        return None


class MapClock:
    """The clock of a run whose time sources all read a scalar map of the script (`BPFTRACE_DUMMY_TS_MAP`), for tests of scripts."""

    def __init__(self, elements: Mapping[Any, int]) -> None:
        self._elements = elements

    def now(self) -> int:
        """What the map holds, 0 before it is set."""
        return self._elements.get(0, 0)

    wall = now
