"""The channel between our init in the guest and the host: trap instructions that the machine hands to `Channel.handle`.

A trap is `svc #0x7070` on arm64 and SYSCALL with one of these numbers on x86-64; number, arguments and result are in the registers of a
system call. Only init's own address space may use it: the one that executed the first HELLO, when nothing else ran yet. For all others
these are ordinary system calls, which the kernel refuses. Memory is handed over by address; where a page is away the answer is EFAULT,
init looks at its pages and tries again.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from enum import Enum, IntEnum
from typing import Final, Protocol

from pyprobe.runtime.system.root.command import Command
from pyprobe.runtime.system.root.fuse import NoRequest
from pyprobe.runtime.system.root.tree import Node, resolve

PROTOCOL: Final = 1
#: Process id of init: it and its threads are ours, and no probe shows them.
HIDDEN_PID: Final = 1
UPPER, UPPER_FILES = b"upper", b"files"  # where init has the changed files: a mount beside the root, and a directory in it

_MAX_TEXT: Final = 4096


class Trap(IntEnum):
    """Numbers of traps; stdlib/guest/init.c has the same."""

    HELLO = 0x50590000
    WAIT = 0x50590001
    COMMAND = 0x50590002
    FUSE = 0x50590003
    START = 0x50590004
    FAILED = 0x50590005
    OUT = 0x50590006
    EXIT = 0x50590007


def is_trap(number: int) -> bool:
    """Whether a system call number is one of these (x86-64, where the instruction says nothing)."""
    return number >> 8 == Trap.HELLO >> 8


class Event(Enum):
    """What a trap means for the run.

    NOTHING: the guest goes on. REFUSED: not ours, deliver it to the guest's kernel as a system call. READY: the state from which every
    command can start; stop here, before the next instruction, to take a snapshot. START: the next instruction of this task becomes the
    command. EXIT: it ended, see `status`. FAILED: there will be no command, see `failure`.
    """

    NOTHING = 0
    REFUSED = 1
    READY = 2
    START = 3
    EXIT = 4
    FAILED = 5


class Caller(Protocol):
    """The guest's context in a trap instruction, as the machine shows it."""

    def arguments(self) -> tuple[int, int, int, int, int]:
        """The number and four arguments, by the system call convention."""

    def set_result(self, value: int) -> None:
        """Put the result where a system call has it."""

    def address_space(self) -> int:
        """Physical address of the page tables in use, without identifiers or flags."""

    def read_virtual(self, address: int, size: int) -> bytes | None:
        """Memory of the caller; None where a page is away."""

    def write_virtual(self, address: int, data: bytes) -> bool:
        """Write all of it, or, where a page is away, nothing and False."""


class RequestServer(Protocol):
    """One FUSE file system of the host."""

    def handle(self, request: bytes) -> bytes | None: ...


class Channel:
    """One guest's channel.

    space: the address space that may use it, None until HELLO. It belongs to the machine's snapshot; all else here starts anew with a
    restored one.
    command: what to run; needed only after READY. root: what it sees as `/`. servers: of the root and of the streams, in that order.
    output: called with 1 or 2 and what was written to standard output or error; raises OSError when nobody listens any more.
    status: exit status as wait(2) has it, once the command ended. failure: (errno, what failed, whether it was the command that could not
    be started).
    """

    def __init__(self, space: int | None = None) -> None:
        self.space = space
        self.command: Command | None = None
        self.root: Node | None = None
        self.servers: tuple[RequestServer, ...] = ()
        self.output: Callable[[int, bytes], object] = lambda stream, data: None
        self.status: int | None = None
        self.failure: tuple[int, bytes, bool] | None = None
        self._answers: dict[int, tuple[bytes, bytes | None]] = {}
        self._handlers: dict[int, Callable[[Caller, int, int, int, int], tuple[int, Event]]] = {
            Trap.WAIT: lambda caller, *_: (0, Event.READY),
            Trap.START: lambda caller, *_: (0, Event.START),
            Trap.COMMAND: self._command,
            Trap.FUSE: self._fuse,
            Trap.FAILED: self._failed,
            Trap.OUT: self._out,
            Trap.EXIT: self._exit,
        }

    def handle(self, caller: Caller) -> Event:
        """Answer one trap and say what it means for the run."""
        number, *arguments = caller.arguments()
        if number == Trap.HELLO and self.space is None:
            self.space = caller.address_space()
            caller.set_result(0 if arguments[0] == PROTOCOL else -errno.EPROTO)
            return Event.NOTHING
        handler = self._handlers.get(number)
        if handler is None or caller.address_space() != self.space:
            return Event.REFUSED
        result, event = handler(caller, *arguments)
        caller.set_result(result)
        return event

    def node(self, names: Iterable[bytes]) -> Node | None:
        """The file of the root at a path without links."""
        return resolve(self.root, names) if self.root is not None else None

    def _command(self, caller: Caller, address: int, size: int, room: int, last: int) -> tuple[int, Event]:
        """Without room: the command's size. With it: the command."""
        if self.command is None:
            return -errno.ENOENT, Event.NOTHING
        data = self.command.pack()
        if not room:
            return len(data), Event.NOTHING
        if room < len(data):
            return -errno.E2BIG, Event.NOTHING
        return (len(data) if caller.write_virtual(address, data) else -errno.EFAULT), Event.NOTHING

    def _fuse(self, caller: Caller, address: int, size: int, room: int, number: int) -> tuple[int, Event]:
        """A request comes, and its answer goes back into the same buffer."""
        if number >= len(self.servers) or size > room:
            return -errno.ENODEV, Event.NOTHING
        request = caller.read_virtual(address, size)
        if request is None:
            return -errno.EFAULT, Event.NOTHING
        asked, answer = self._answers.pop(number, (b"", None))
        if asked != request:  # else it is the second try of one that could not be handed over
            try:
                answer = self.servers[number].handle(request)
            except NoRequest:  # another error is a fault of ours: to tell the guest of it would leave it waiting
                return -errno.EINVAL, Event.NOTHING
        if answer is None:
            return 0, Event.NOTHING
        if len(answer) > room:
            return -errno.E2BIG, Event.NOTHING
        if not caller.write_virtual(address, answer):
            self._answers[number] = request, answer
            return -errno.EFAULT, Event.NOTHING
        return len(answer), Event.NOTHING

    def _out(self, caller: Caller, address: int, size: int, room: int, stream: int) -> tuple[int, Event]:
        data = caller.read_virtual(address, min(size, room))
        if data is None:
            return -errno.EFAULT, Event.NOTHING
        try:
            self.output(stream, data)
        except OSError as error:
            return -(error.errno or errno.EIO), Event.NOTHING
        return len(data), Event.NOTHING

    def _failed(self, caller: Caller, address: int, size: int, room: int, last: int) -> tuple[int, Event]:
        what = caller.read_virtual(address, min(size, _MAX_TEXT))
        if what is None:
            return -errno.EFAULT, Event.NOTHING
        self.failure = last & 0xFFFFFFFF, what, bool(last >> 32)
        return 0, Event.FAILED

    def _exit(self, caller: Caller, status: int, *_: int) -> tuple[int, Event]:
        self.status = status & 0xFFFF
        return 0, Event.EXIT
