"""Patterns in the names of probes: `*` is any run of characters; everything else, `[` and `]` too, stands for itself."""

from __future__ import annotations

import re
from collections.abc import Callable


def wildcard(pattern: str) -> str:
    """The regular expression of a pattern."""
    return "(?s:" + ".*".join(map(re.escape, pattern.split("*"))) + ")"


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name matches a pattern."""
    if pattern == "*":
        return lambda name: True
    if "*" not in pattern:
        return lambda name: name == pattern
    found = re.compile(wildcard(pattern)).fullmatch
    return lambda name: found(name) is not None


def traceable(name: str) -> bool:
    """Compilers split functions into parts that are not entered like functions; patterns never match these."""
    return ".part." not in name
