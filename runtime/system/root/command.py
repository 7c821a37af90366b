"""What runs in the guest, and the form in which our init receives it."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

SEED_SIZE: Final = 64
DEFAULT_PATH: Final = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HEADER: Final = struct.Struct(f"<5I{SEED_SIZE}s")  # struct command of stdlib/guest/init.c
_STDIN_FROM_HOST: Final = 1


@dataclass(frozen=True, slots=True)
class Command:
    """A command and its surroundings. Strings are bytes without NUL.

    arguments: the program first; without a slash it is searched in the PATH of `environ`. directory: its working directory in the guest's
    root.
    stdin: it reads what the host gives, not /dev/null. seed: what the guest's random numbers come from, SEED_SIZE bytes.
    """

    arguments: Sequence[bytes]
    environ: Mapping[bytes, bytes] = field(default_factory=dict)
    directory: bytes = b"/"
    stdin: bool = False
    uid: int = 0
    gid: int = 0
    seed: bytes = bytes(SEED_SIZE)

    def pack(self) -> bytes:
        """struct command and its strings.

        Raises:
            ValueError: there is no program, or a string holds a NUL.
        """
        if not self.arguments:
            raise ValueError("no command")
        path = self.environ.get(b"PATH", DEFAULT_PATH)
        variables = [name + b"=" + value for name, value in self.environ.items()]
        strings = [self.directory, path, *self.arguments, *variables]
        if any(b"\0" in string for string in strings):
            raise ValueError("a NUL byte in the command or its environment")
        flags = _STDIN_FROM_HOST if self.stdin else 0
        header = _HEADER.pack(flags, self.uid, self.gid, len(self.arguments), len(variables), self.seed)
        return header + b"".join(string + b"\0" for string in strings)
