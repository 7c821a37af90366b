"""Sessions, process groups and the terminals they share: who may use a terminal now, and who is told when that changes.

References: credentials(7), setpgid(2), tty_ioctl(4), drivers/tty/tty_jobctrl.c, kernel/exit.c (kill_orphaned_pgrp) and POSIX.1-2017
section 11.1.4.
"""

from __future__ import annotations

from errno import EIO, EPERM
from typing import TYPE_CHECKING

from pyprobe.runtime.user.capabilities import CAP_SYS_ADMIN
from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.signals import SIG_IGN, Sig, SigInfo, action_of, bit, send_to_process

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task


class ControllingTerminal:
    """What a terminal knows of the session it controls; sid and foreground are 0 while there is none."""

    def __init__(self) -> None:
        self.sid = 0
        self.foreground = 0  # process group

    def acquire(self, k: Kernel, t: Task, *, steal: bool = False) -> None:
        """Become the controlling terminal of the task's session (TIOCSCTTY). Raises Errno(EPERM)."""
        process = t.process
        if process.sid == process.pid and self.sid == process.sid:
            return
        if process.sid != process.pid or process.ctty is not None:
            raise Errno(EPERM)
        if self.sid:
            if not steal or not t.cred.capable(CAP_SYS_ADMIN):
                raise Errno(EPERM)
            self._let_go(k)
        self.sid, self.foreground = process.sid, process.pgid
        for member in k.processes.values():
            if member.sid == self.sid:
                member.ctty = self  # type: ignore[assignment]  # every one of them is a Terminal

    def opened(self, k: Kernel, t: Task) -> None:
        """A session leader without a terminal opens this one: it gets it, unless another session has."""
        process = t.process
        if process.sid == process.pid and process.ctty is None and not self.sid:
            self.acquire(k, t)

    def _let_go(self, k: Kernel) -> None:
        for member in k.processes.values():
            if member.ctty is self:
                member.ctty = None
        self.sid = self.foreground = 0

    def disassociate(self, k: Kernel, process: Process) -> None:
        """TIOCNOTTY; when the session's leader does it, or ends, the foreground group hears SIGHUP and everybody loses the terminal."""
        if process.sid != process.pid:
            process.ctty = None
            return
        foreground = self.foreground
        self._let_go(k)
        if foreground:
            signal_group(k, foreground, Sig.HUP)
            signal_group(k, foreground, Sig.CONT)

    def hang_up(self, k: Kernel) -> None:
        """The line is gone: the session's leader and the foreground group hear of it."""
        leader, foreground = k.processes.get(self.sid), self.foreground
        self._let_go(k)
        if leader is not None:
            send_to_process(k, leader, SigInfo(Sig.HUP))
            send_to_process(k, leader, SigInfo(Sig.CONT))
        if foreground and (leader is None or foreground != leader.pgid):
            signal_group(k, foreground, Sig.HUP)
            signal_group(k, foreground, Sig.CONT)

    def check(self, k: Kernel, t: Task, signo: Sig) -> None:
        """Stop a background group that uses the terminal with SIGTTIN (reads) or SIGTTOU (changes).

        Raises:
            Block: the group has been told; the call is made again when the task goes on.
            Errno: EIO, there is nobody who could continue the group, or it does not want to hear of it.
        """
        process = t.process
        if process.ctty is not self or process.pgid == self.foreground or not self.foreground:
            return
        if t.blocked & bit(signo) or action_of(process, signo).handler == SIG_IGN:
            if signo == Sig.TTIN:
                raise Errno(EIO)
            return
        if is_orphaned(k, process.pgid):
            raise Errno(EIO)
        signal_group(k, process.pgid, signo)
        raise Block(lambda: False, why="the terminal")


def signal_group(k: Kernel, pgid: int, signo: int) -> None:
    """Send a signal of the kernel's to every process of a group."""
    for process in list(k.processes.values()):
        if process.pgid == pgid and process.alive:
            send_to_process(k, process, SigInfo(signo))


def from_terminal(k: Kernel, signo: int) -> None:
    """The host's terminal has sent a signal: it is for the foreground group of the machine's, which stands for it.

    SIGTSTP does not reach the group of the first process: nobody in the machine could continue it.
    """
    terminal = k.vfs.devices.terminal
    if terminal is None or not terminal.foreground or (signo == Sig.TSTP and k.first is not None and k.first.pgid == terminal.foreground):
        return
    signal_group(k, terminal.foreground, signo)


def is_orphaned(k: Kernel, pgid: int, without: Process | None = None) -> bool:
    """Has no member of the group a parent in the same session but outside the group? `without`: one that does not count."""
    for process in k.processes.values():
        if process.pgid != pgid or process is without or not process.alive:
            continue
        parent = process.parent
        if parent is None:
            if process is k.first:
                return False  # whoever started the machine cares for its first process
        elif parent.pgid != pgid and parent.sid == process.sid:
            return False
    return True


def leave(k: Kernel, process: Process) -> None:
    """A process ends: groups it kept from being orphans are told if some member is stopped; a leader's terminal is given up.

    Called while its children are still its own.
    """
    for child in process.children.values():
        if child.pgid != process.pgid and child.sid == process.sid:
            _wake_orphans(k, child.pgid, process, of_parent=True)
    if process.parent is not None and process.parent.pgid != process.pgid and process.parent.sid == process.sid:
        _wake_orphans(k, process.pgid, process, of_parent=False)
    terminal = process.ctty
    if terminal is not None and process.sid == process.pid:
        terminal.disassociate(k, process)


def _wake_orphans(k: Kernel, pgid: int, gone: Process, *, of_parent: bool) -> None:
    members = [p for p in k.processes.values() if p.pgid == pgid and p.alive and p is not gone]
    if not any(p.stopped for p in members):
        return
    for member in members:
        parent = member.parent
        if parent is not None and not (of_parent and parent is gone) and parent.pgid != pgid and parent.sid == member.sid:
            return
    signal_group(k, pgid, Sig.HUP)
    signal_group(k, pgid, Sig.CONT)
