"""The line discipline of a terminal: editing, echo, signals, and what is done to output (drivers/tty/n_tty.c, termios(3))."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.user.jobcontrol import signal_group
from pyprobe.runtime.user.signals import Sig
from pyprobe.runtime.user.vfs import termios as tio
from pyprobe.runtime.user.vfs.termios import Termios
from pyprobe.runtime.user.vfs.tty import Terminal
from pyprobe.runtime.user.vfs.views import Views, scatter

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel

LINE_MAX: Final = 4095  # N_TTY_BUF_SIZE without the end of the line
OUTPUT_MAX: Final = 65536
_TAB: Final = 8
_SIGNALS: Final = ((tio.VINTR, Sig.INT), (tio.VQUIT, Sig.QUIT), (tio.VSUSP, Sig.TSTP))
_NEWLINE, _RETURN, _DELETE = 10, 13, 127
_END_OF_FILE: Final = b"\0"  # __DISABLED_CHAR, which stands for VEOF among what was typed


class Line(Terminal):
    """A terminal that is no device: bytes typed come in by `receive`, what it shows is in `shown`.

    typed_events, shown_events: counts that only grow, for edge-triggered waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.termios = Termios()
        self.shown = bytearray()
        self.held = False  # XOFF
        self.typed_events = self.shown_events = 0
        self._winsize = bytes(8)
        self._records: deque[tuple[bytearray, bytes]] = deque()  # finished lines, and what shows of their end if ICANON is turned off
        self._line = bytearray()  # the one that is being typed
        self._raw = bytearray()  # what came while ICANON was off
        self._column = 0
        self._literal = False  # VLNEXT came

    # settings

    def settings(self, size: int) -> bytes:
        return self.termios.pack(size)

    def set_settings(self, raw: bytes, *, flush: bool) -> None:
        before = self.canonical
        self.termios.unpack(raw)
        if flush:
            self.flush(typed=True, shown=False)
        if before and not self.canonical:
            self._raw += b"".join(line + end for line, end in self._records) + self._line
            self._records.clear()
            self._line.clear()
        elif self.canonical and not before and self._raw:
            self._records.append((self._raw, b""))
            self._raw = bytearray()
        if not self.termios.iflag & tio.IXON:
            self.held = False
        self.typed_events += 1

    def window(self) -> bytes:
        return self._winsize

    def set_window(self, raw: bytes) -> bool:
        changed, self._winsize = raw != self._winsize, raw
        return changed

    def flush(self, *, typed: bool, shown: bool) -> None:
        if typed:
            self._records.clear()
            self._line.clear()
            self._raw.clear()
        if shown:
            self.shown.clear()
            self.shown_events += 1

    def hold(self, on: bool) -> None:
        self.held = on

    @property
    def canonical(self) -> bool:
        """Are lines edited before they can be read?"""
        return bool(self.termios.lflag & tio.ICANON)

    # reading

    def typed(self) -> int:
        return sum(len(line) for line, _ in self._records) if self.canonical else len(self._raw)

    def readable(self) -> bool:
        """Would a read find something?"""
        if self.canonical:
            return bool(self._records)
        cc = self.termios.cc
        return len(self._raw) >= (1 if cc[tio.VTIME] else max(1, cc[tio.VMIN]))

    def take(self, views: Views) -> int:
        """Move what there is into `views`: one line at most, while lines are edited."""
        if self.canonical:
            if not self._records:
                return 0
            source = self._records[0][0]
        else:
            source = self._raw
        done = scatter(views, source)
        del source[:done]
        if self.canonical and not source:
            self._records.popleft()
        return done

    # output

    def show(self, data: bytes) -> None:
        """Put output of a program on the line, as OPOST and its like want it."""
        flags = self.termios.oflag
        if flags & tio.OPOST:
            if flags & (tio.OLCUC | tio.OCRNL | tio.ONOCR | tio.ONLRET) or flags & tio.TABDLY == tio.XTABS:
                data = b"".join(self._processed(byte, flags) for byte in data)
            else:
                self._advance(data)
                if flags & tio.ONLCR:
                    data = data.replace(b"\n", b"\r\n")
        self.shown += data
        self.shown_events += 1

    def _advance(self, data: bytes) -> None:
        """Follow the column over plain output."""
        start = max(data.rfind(b"\n"), data.rfind(b"\r"))
        if start >= 0:
            self._column = 0
        for byte in data[start + 1 :][-256:]:
            self._step(byte)

    def _step(self, byte: int) -> None:
        if byte == 8:
            self._column = max(0, self._column - 1)
        elif byte == 9:
            self._column += _TAB - self._column % _TAB
        elif byte >= 32 and byte != _DELETE and byte & 0xC0 != 0x80:
            self._column += 1

    def _processed(self, byte: int, flags: int) -> bytes:
        if flags & tio.OLCUC and 97 <= byte <= 122:
            byte -= 32
        if byte == _NEWLINE:
            if flags & (tio.ONLCR | tio.ONLRET):
                self._column = 0
            return b"\r\n" if flags & tio.ONLCR else b"\n"
        if byte == _RETURN:
            if flags & tio.ONOCR and not self._column:
                return b""
            self._column = 0
            return b"\n" if flags & tio.OCRNL else b"\r"
        before = self._column
        self._step(byte)
        if byte == 9 and flags & tio.TABDLY == tio.XTABS:
            return b" " * (self._column - before)
        return bytes((byte,))

    # input

    def receive(self, k: Kernel, data: bytes) -> None:
        """Bytes are typed."""
        for byte in data:
            self._receive(k, byte)
        self.typed_events += 1

    def _receive(self, k: Kernel, byte: int) -> None:
        settings = self.termios
        iflag, lflag = settings.iflag, settings.lflag
        if iflag & tio.ISTRIP:
            byte &= 0x7F
        if iflag & tio.IUCLC and lflag & tio.IEXTEN and 65 <= byte <= 90:
            byte += 32
        if self._literal:
            self._literal = False
            self._accept(byte)
            return
        if iflag & tio.IXON:
            if settings.has(byte, tio.VSTART):
                self.held = False
                return
            if settings.has(byte, tio.VSTOP):
                self.held = True
                return
            if self.held and iflag & tio.IXANY:
                self.held = False
        if lflag & tio.ISIG:
            for index, signo in _SIGNALS:
                if settings.has(byte, index):
                    self._interrupt(k, byte, signo)
                    return
        if byte == _RETURN:
            if iflag & tio.IGNCR:
                return
            byte = _NEWLINE if iflag & tio.ICRNL else byte
        elif byte == _NEWLINE and iflag & tio.INLCR:
            byte = _RETURN
        if not self.canonical:
            self._echo(byte)
            if len(self._raw) < LINE_MAX:
                self._raw.append(byte)
        elif not self._edit(byte):
            self._accept(byte)

    def _interrupt(self, k: Kernel, byte: int, signo: Sig) -> None:
        self.held = False
        if not self.termios.lflag & tio.NOFLSH:
            self.flush(typed=True, shown=False)
        self._echo(byte)
        if self.foreground:
            signal_group(k, self.foreground, signo)

    def _edit(self, byte: int) -> bool:
        """Handle what edits or ends the line; False: an ordinary byte."""
        settings, lflag = self.termios, self.termios.lflag
        extended = lflag & tio.IEXTEN
        if settings.has(byte, tio.VERASE) or (extended and settings.has(byte, tio.VWERASE)):
            self._erase(byte, word=not settings.has(byte, tio.VERASE))
        elif settings.has(byte, tio.VKILL):
            self._kill(byte)
        elif extended and settings.has(byte, tio.VLNEXT):
            self._literal = True
            if lflag & tio.ECHO and lflag & tio.ECHOCTL:
                self._out(b"^\b")
        elif extended and lflag & tio.ECHO and settings.has(byte, tio.VREPRINT):
            self._echo(byte)
            self._out(b"\n")
            for one in self._line:
                self._echo(one)
        elif settings.has(byte, tio.VEOF):
            self._finish(_END_OF_FILE)
        elif byte == _NEWLINE:
            if lflag & (tio.ECHO | tio.ECHONL):
                self._out(b"\n")
            self._line.append(byte)
            self._finish()
        elif settings.has(byte, tio.VEOL) or (extended and settings.has(byte, tio.VEOL2)):
            self._echo(byte)
            self._line.append(byte)
            self._finish()
        else:
            return False
        return True

    def _accept(self, byte: int) -> None:
        if not self.canonical:
            self._raw.append(byte)
        elif len(self._line) < LINE_MAX:
            self._line.append(byte)
        elif self.termios.iflag & tio.IMAXBEL:
            self._out(b"\a")
            return
        self._echo(byte)

    def _finish(self, end: bytes = b"") -> None:
        self._records.append((self._line, end))
        self._line = bytearray()

    def _out(self, data: bytes) -> None:
        self.show(data)

    def _pictured(self, byte: int) -> bytes:
        """How a byte is echoed."""
        if self.termios.lflag & tio.ECHOCTL and (byte < 32 or byte == _DELETE) and byte not in (9, _NEWLINE):
            return bytes((94, byte ^ 0x40))
        return bytes((byte,))

    def _echo(self, byte: int) -> None:
        if self.termios.lflag & tio.ECHO:
            self._out(self._pictured(byte))

    def _erase(self, byte: int, *, word: bool) -> None:
        if not self._line:
            return
        removed = self._last()
        if word:
            text = bytes(self._line)
            kept = text.rstrip(b" \t")
            while kept and (kept[-1:].isalnum() or kept[-1] == 95):
                kept = kept[:-1]
            if len(kept) == len(text.rstrip(b" \t")):
                kept = kept[:-1]
            removed = len(text) - len(kept)
        self._remove(removed, byte)

    def _last(self) -> int:
        """How many bytes the last character takes."""
        count = 1
        if self.termios.iflag & tio.IUTF8:
            while count < len(self._line) and self._line[-count] & 0xC0 == 0x80:
                count += 1
        return count

    def _remove(self, count: int, byte: int) -> None:
        lflag = self.termios.lflag
        for _ in range(count):
            gone = self._line.pop()
            if not lflag & tio.ECHO or not lflag & tio.ECHOE or (gone & 0xC0 == 0x80 and self.termios.iflag & tio.IUTF8):
                continue
            if gone == 9:
                self._out(b"\b" * self._tab_width())
            else:
                self._out(b"\b \b" * len(self._pictured(gone)))
        if lflag & tio.ECHO and not lflag & tio.ECHOE:
            self._echo(byte)

    def _tab_width(self) -> int:
        """Columns the tab at the end of the line took."""
        after_tab = self._line.rpartition(b"\t")[2]
        return _TAB - sum(len(self._pictured(byte)) for byte in after_tab) % _TAB

    def _kill(self, byte: int) -> None:
        lflag = self.termios.lflag
        if lflag & tio.ECHO and lflag & tio.ECHOKE and lflag & tio.ECHOE and lflag & tio.ECHOK:
            self._remove(len(self._line), byte)
            return
        self._line.clear()
        if lflag & tio.ECHO:
            self._echo(byte)
            if lflag & tio.ECHOK:
                self._out(b"\n")
