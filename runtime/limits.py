"""What a run's machine is given of this host, and its bounds."""

from __future__ import annotations

import re
from collections.abc import Sequence

TASKS = 4096
MEMORY = 2 << 30
DISK = 1 << 30
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
NAMES = ("tasks", "memory", "disk", "time")
MEMORY_MIN = 4 << 20
MEMORY_MAX = DISK_MAX = 1 << 40


class LimitError(ValueError):
    """A `NAME=VALUE` that is no limit; the message begins with it."""


class Limits:
    """Bounds of one machine.

    tasks: processes and threads at a time; memory: bytes for all of them and for files that are mapped; disk: bytes of files made or
    changed; time: ns of the machine's clock after which the run ends, None for no end.
    """

    def __init__(self, tasks: int = TASKS, memory: int = MEMORY, disk: int = DISK, time: int | None = None) -> None:
        self.tasks = tasks
        self.memory = memory
        self.disk = disk
        self.time = time

    @classmethod
    def parse(cls, settings: Sequence[str]) -> Limits:
        """From `NAME=VALUE` words: sizes take K, M, G, T; time is in seconds. Raises LimitError."""
        limits = cls()
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals or name not in NAMES:
                raise LimitError(f"{setting}: not NAME=VALUE with a NAME of {', '.join(NAMES)}")
            setattr(limits, name, _value(name, value, setting))
        return limits


def _value(name: str, text: str, setting: str) -> int:
    if name == "time":
        if not re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text):
            raise LimitError(f"{setting}: not a number of seconds")
        whole, _, fraction = text.partition(".")
        return int(whole) * 10**9 + int(fraction.ljust(9, "0"))
    match = re.fullmatch(r"(\d{1,15})([KMGT]?)", text)
    if match is None or (name == "tasks" and match[2]):
        raise LimitError(f"{setting}: not a {'number' if name == 'tasks' else 'size in bytes (K, M, G and T are units)'}")
    value = int(match[1]) * UNITS[match[2]]
    low, high = {"tasks": (1, 30000), "memory": (MEMORY_MIN, MEMORY_MAX), "disk": (0, DISK_MAX)}[name]
    if not low <= value <= high:
        raise LimitError(f"{setting}: must be from {low} to {high}")
    return value


class MachineOptions:
    """root: the host's directory that is the machine's `/`. view: paths below it that appear, None for all of it.
    uid, gid: of the first process. keep: a directory for the files that the guest made or changed. diff: list them.
    """

    def __init__(
        self,
        *,
        root: bytes = b"/",
        view: Sequence[bytes] | None = None,
        uid: int = 0,
        gid: int = 0,
        keep: str | None = None,
        diff: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.root = root
        self.view = view
        self.uid = uid
        self.gid = gid
        self.keep = keep
        self.diff = diff
        self.limits = limits or Limits()
