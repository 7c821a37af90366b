"""Room for recursion.

The passes follow the tree by calling themselves, which is the plainest way to write them; but a sum of ten thousand terms is a tree of
ten thousand levels. So the depth of a tree is known from the parser on, and what goes down a deep one does so here, on a stack that is
large enough (as rustc does in `ensure_sufficient_stack`). Ordinary scripts never leave the caller's own stack.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MOST_LEVELS = 50_000  # of a tree; 3 kB each is what the passes and the stack need
ORDINARY_LEVELS = 500  # no stack of their own
_FRAMES = 12_000  # Python calls inside each other: ordinary trees, and what macros put into each other
_FRAMES_PER_LEVEL = 24
_BYTES_PER_LEVEL = 8 << 10  # of address space; what is not used is never touched
_BYTES = 64 << 20


def with_room(levels: int, work: Callable[[], T]) -> T:
    """The result of `work`, which may recurse over a tree of so many levels; what it raises is raised here."""
    if levels <= ORDINARY_LEVELS:
        return _limited(_FRAMES, work)
    outcome: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # raised again by the caller's thread
            failures.append(error)

    before = threading.stack_size(_BYTES + levels * _BYTES_PER_LEVEL)
    try:
        thread = threading.Thread(target=run, daemon=True)  # a daemon, so that Ctrl-C need not wait for it
        _limited(_FRAMES + levels * _FRAMES_PER_LEVEL, lambda: _finish(thread))
    finally:
        threading.stack_size(before)
    if failures:
        raise failures[0]
    return outcome[0]


def _finish(thread: threading.Thread) -> None:
    thread.start()
    thread.join()


def _limited(frames: int, work: Callable[[], T]) -> T:
    """`work` with at least so many Python calls allowed inside each other."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, frames))
    try:
        return work()
    finally:
        sys.setrecursionlimit(before)
