"""Signals by name, as scripts write them."""

from __future__ import annotations

_NAMES = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1",
    "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP",
    "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR",
    "SYS",
)  # fmt: skip
_NUMBERS = {f"SIG{name}": number for number, name in enumerate(_NAMES, 1)}
_NUMBERS |= {"SIGIOT": 6, "SIGPOLL": 29}
LAST = 64


def signal_number(text: str) -> int | None:
    """The number of a signal's name in any case; `SIG` may be left out unless the rest begins with S. None if there is none."""
    name = text.upper()
    return _NUMBERS.get(name if name.startswith("S") else f"SIG{name}")
