"""How work inside the emulated kernel ends early: with an error number, or because it has to wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyprobe.runtime.user.hrtimers import HrTimer


MAX_ERRNO = 4095  # include/linux/err.h


class Errno(Exception):
    """A system call fails with this error number, as in errno(3)."""

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno


class Block(Exception):
    """The running system call cannot finish now; the scheduler parks the task and runs the handler again later.

    ready: tells whether another try may make progress; None: try again whenever the machine has made progress.
    deadline: virtual time in ns since boot at which the handler must be tried again in any case.
    host: host descriptors and poll(2) masks that may make it ready; the host is asked only when nothing else can run.
    why: what is waited for, in words, for the report of a run in which every task waits.
    restart: after a signal handler the call is made again if SA_RESTART is set (ERESTARTSYS); else it fails with EINTR.
    interrupted: called when a signal ends the wait, to clean up; its result, if not None, is the result of the call
        (a partial write); it may raise Errno. Without it the result is EINTR or the restart.
    timer: what tells of the deadline, where that is one of a timer of high resolution, and somebody listens.
    interruptible: False: only a fatal signal ends the wait (vfork).
    """

    def __init__(
        self,
        ready: Callable[[], object] | None = None,
        deadline: int | None = None,
        *,
        host: Iterable[tuple[int, int]] = (),
        why: str = "",
        restart: bool = True,
        interrupted: Callable[[], int | None] | None = None,
        interruptible: bool = True,
        timer: HrTimer | None = None,
    ) -> None:
        super().__init__(why)
        self.ready = ready
        self.deadline = deadline
        self.host = tuple(host)
        self.why = why
        self.restart = restart
        self.interrupted = interrupted
        self.interruptible = interruptible
        self.timer = timer


class TaskGone(Exception):
    """The running task no longer exists or has a new image: nothing of the system call that raised this may go on."""


class ExecFailure(Exception):
    """The program the user asked for cannot be started; the message says why, for a person to read."""

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.errno = errno
