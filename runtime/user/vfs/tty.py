"""What every terminal of the machine has, be it the host's or one end of a pseudoterminal: settings, size, job control (tty_ioctl(4))."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.jobcontrol import ControllingTerminal, signal_group
from pyprobe.runtime.user.signals import Sig
from pyprobe.runtime.user.vfs.abi import FIONREAD
from pyprobe.runtime.user.vfs.termios import (
    GETTERS,
    SETTERS,
    TCFLSH,
    TCGETA,
    TCGETS,
    TCSBRK,
    TCSBRKP,
    TCXONC,
    TERMIO,
    TERMIO_SETTERS,
    TIOCEXCL,
    TIOCGETD,
    TIOCGLCKTRMIOS,
    TIOCGPGRP,
    TIOCGSID,
    TIOCGWINSZ,
    TIOCNOTTY,
    TIOCNXCL,
    TIOCOUTQ,
    TIOCSCTTY,
    TIOCSETD,
    TIOCSPGRP,
    TIOCSTI,
    TIOCSWINSZ,
    from_termio,
    to_termio,
)
from pyprobe.runtime.user.words import s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task
    from pyprobe.runtime.user.vfs.inode import Dentry
    from pyprobe.runtime.user.vfs.openfile import OpenFile

TCIFLUSH, TCOFLUSH, TCIOFLUSH = range(3)
TCOOFF, TCOON = range(2)
N_TTY = 0


class Terminal(ControllingTerminal):
    """One terminal. number: its device number, as /proc/PID/stat shows it."""

    number = 0

    def open(self, k: Kernel, t: Task, dentry: Dentry, flags: int) -> OpenFile:
        """A new open file of the terminal."""
        raise NotImplementedError

    def settings(self, size: int) -> bytes:
        """struct termios (36 bytes) or termios2 (44)."""
        raise NotImplementedError

    def set_settings(self, raw: bytes, *, flush: bool) -> None:
        """Take over such a structure; flush: what was typed and not read is thrown away."""
        raise NotImplementedError

    def window(self) -> bytes:
        """struct winsize."""
        raise NotImplementedError

    def set_window(self, raw: bytes) -> bool:
        """Set the size; has it changed?"""
        return False

    def typed(self) -> int:
        """Bytes that wait to be read."""
        return 0

    def flush(self, *, typed: bool, shown: bool) -> None:
        """Throw away what was typed and not read, or written and not shown."""

    def hold(self, on: bool) -> None:
        """Stop or go on showing what is written (tcflow)."""

    def ioctl(self, k: Kernel, t: Task, request: int, argument: int, *, master: bool = False) -> int:
        """The requests terminals know; master: made from the other end of the line.

        Raises:
            Errno: ENOTTY, and what a background process gets.
            Block: a background process was stopped.
        """
        if request in GETTERS:
            t.space.write(argument, self.settings(GETTERS[request]))
        elif request in SETTERS:
            _, flush, size = SETTERS[request]
            raw = t.space.read(argument, size)
            self._changing(k, t, master)
            self.set_settings(raw, flush=flush)
        elif request == TCGETA:
            t.space.write(argument, to_termio(self.settings(GETTERS[TCGETS])))
        elif request in TERMIO_SETTERS:
            _, flush, size = SETTERS[TERMIO_SETTERS[request]]
            raw = from_termio(t.space.read(argument, TERMIO.size), self.settings(size))
            self._changing(k, t, master)
            self.set_settings(raw, flush=flush)
        elif request == TIOCGLCKTRMIOS:
            t.space.write(argument, bytes(GETTERS[TCGETS]))  # nothing can be locked
        elif request == TIOCGWINSZ:
            t.space.write(argument, self.window())
        elif request == TIOCSWINSZ:
            if self.set_window(t.space.read(argument, 8)) and self.foreground:
                signal_group(k, self.foreground, Sig.WINCH)
        elif request == FIONREAD:
            t.space.write(argument, struct.pack("<i", self.typed()))
        elif request == TIOCOUTQ:
            t.space.write(argument, bytes(4))
        elif request == TCFLSH:
            self._changing(k, t, master)
            if not 0 <= s32(argument) <= TCIOFLUSH:
                raise Errno(errno.EINVAL)
            self.flush(typed=s32(argument) in (TCIFLUSH, TCIOFLUSH), shown=s32(argument) in (TCOFLUSH, TCIOFLUSH))
        elif request == TCXONC:
            self._changing(k, t, master)
            if s32(argument) in (TCOOFF, TCOON):
                self.hold(s32(argument) == TCOOFF)
        elif request == TIOCGETD:
            t.space.put_u32(argument, N_TTY)
        elif request == TIOCSETD:
            if t.space.u32(argument) != N_TTY:
                raise Errno(errno.EINVAL)
        elif request in (TCSBRK, TCSBRKP):
            self._changing(k, t, master)
        elif request not in (TIOCEXCL, TIOCNXCL):
            return self._job_control(k, t, request, argument, master)
        return 0

    def _changing(self, k: Kernel, t: Task, master: bool) -> None:
        if not master:
            self.check(k, t, Sig.TTOU)

    def _job_control(self, k: Kernel, t: Task, request: int, argument: int, master: bool) -> int:
        mine = t.process.ctty is self
        if request == TIOCGPGRP:
            if not mine and not master:
                raise Errno(errno.ENOTTY)
            t.space.write(argument, struct.pack("<i", self.foreground))
        elif request == TIOCSPGRP:
            if not mine:
                raise Errno(errno.ENOTTY)
            group = struct.unpack("<i", t.space.read(argument, 4))[0]
            if group < 0:
                raise Errno(errno.EINVAL)
            self.check(k, t, Sig.TTOU)
            members = [p for p in k.processes.values() if p.pgid == group]
            if not members:
                raise Errno(errno.ESRCH)
            if all(p.sid != t.process.sid for p in members):
                raise Errno(errno.EPERM)
            self.foreground = group
        elif request == TIOCGSID:
            if (not mine and not master) or not self.sid:
                raise Errno(errno.ENOTTY)
            t.space.write(argument, struct.pack("<i", self.sid))
        elif request == TIOCSCTTY:
            self.acquire(k, t, steal=argument == 1)
        elif request == TIOCNOTTY:
            if not mine:
                raise Errno(errno.ENOTTY)
            self.disassociate(k, t.process)
        elif request == TIOCSTI:
            raise Errno(errno.EIO)  # dev.tty.legacy_tiocsti is off
        else:
            raise Errno(errno.ENOTTY)
        return 0
