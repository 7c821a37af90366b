"""The settings of a terminal: struct termios as TCGETS and TCSETS pass it (asm-generic/termbits.h, termios(3))."""

from __future__ import annotations

import struct
from typing import Final

TCGETS, TCSETS, TCSETSW, TCSETSF = range(0x5401, 0x5405)
TCGETA, TCSETA, TCSETAW, TCSETAF = range(0x5405, 0x5409)
TCSBRK, TCXONC, TCFLSH = range(0x5409, 0x540C)
TIOCEXCL, TIOCNXCL, TIOCSCTTY, TIOCGPGRP, TIOCSPGRP, TIOCOUTQ, TIOCSTI, TIOCGWINSZ, TIOCSWINSZ = range(0x540C, 0x5415)
TIOCPKT, TIOCNOTTY, TIOCSETD, TIOCGETD, TCSBRKP, TIOCGSID = 0x5420, 0x5422, 0x5423, 0x5424, 0x5425, 0x5429
TCGETS2, TCSETS2, TCSETSW2, TCSETSF2 = 0x802C542A, 0x402C542B, 0x402C542C, 0x402C542D
TIOCGPTN, TIOCSPTLCK, TIOCGPTLCK, TIOCGPKT, TIOCGPTPEER, TIOCSIG = 0x80045430, 0x40045431, 0x80045439, 0x80045438, 0x5441, 0x40045436

TIOCGLCKTRMIOS: Final = 0x5456

#: the older requests, of struct termio: which of the newer ones does the same
TERMIO_SETTERS: Final = {TCSETA: TCSETS, TCSETAW: TCSETSW, TCSETAF: TCSETSF}
TERMIO: Final = struct.Struct("<4HB8sx")

#: requests that set: (drains first, throws unread input away, size of the structure)
SETTERS: Final = {
    TCSETS: (False, False, 36), TCSETSW: (True, False, 36), TCSETSF: (True, True, 36),
    TCSETS2: (False, False, 44), TCSETSW2: (True, False, 44), TCSETSF2: (True, True, 44),
}  # fmt: skip
GETTERS: Final = {TCGETS: 36, TCGETS2: 44}

# c_iflag
ISTRIP, INLCR, IGNCR, ICRNL, IUCLC, IXON, IXANY, IMAXBEL, IUTF8 = 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800, 0x2000, 0x4000
# c_oflag
OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET, TABDLY, XTABS = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x1800, 0x1800
# c_lflag
ISIG, ICANON, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH, TOSTOP = 0x1, 0x2, 0x8, 0x10, 0x20, 0x40, 0x80, 0x100
ECHOCTL, ECHOPRT, ECHOKE, IEXTEN = 0x200, 0x400, 0x800, 0x8000
# c_cc
VINTR, VQUIT, VERASE, VKILL, VEOF, VTIME, VMIN, VSWTC, VSTART, VSTOP, VSUSP, VEOL, VREPRINT, VDISCARD, VWERASE, VLNEXT, VEOL2 = range(17)

_LAYOUT: Final = struct.Struct("<4IB19s")
_SPEEDS: Final = struct.Struct("<II")
_B38400: Final = 38400
_DEFAULT: Final = (
    ICRNL | IXON,
    OPOST | ONLCR,
    0xBF,  # B38400 | CS8 | CREAD
    ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
    0,
    bytes((3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0)),
)


def to_termio(raw: bytes) -> bytes:
    """struct termio of a struct termios: what it has room for."""
    *flags, line, cc = _LAYOUT.unpack(raw)
    return TERMIO.pack(*(flag & 0xFFFF for flag in flags), line, cc[:8])


def from_termio(raw: bytes, before: bytes) -> bytes:
    """struct termios with what a struct termio sets; the rest stays as it was."""
    *flags, line, cc = TERMIO.unpack(raw)
    *old, _, old_cc = _LAYOUT.unpack(before)
    return _LAYOUT.pack(*(was & ~0xFFFF | flag for was, flag in zip(old, flags, strict=True)), line, cc + old_cc[8:])


class Termios:
    """One terminal's settings; cc holds the 19 control characters, 0: none."""

    __slots__ = ("cc", "cflag", "iflag", "lflag", "line", "oflag", "speeds")

    def __init__(self) -> None:
        self.iflag, self.oflag, self.cflag, self.lflag, self.line, self.cc = _DEFAULT
        self.speeds = (_B38400, _B38400)

    def pack(self, size: int) -> bytes:
        """The structure; size: 36 (struct termios of the kernel) or 44 (struct termios2)."""
        packed = _LAYOUT.pack(self.iflag, self.oflag, self.cflag, self.lflag, self.line, self.cc)
        return packed if size == _LAYOUT.size else packed.ljust(36, b"\0") + _SPEEDS.pack(*self.speeds)

    def unpack(self, raw: bytes) -> None:
        """Take over a structure that `pack` could have made."""
        self.iflag, self.oflag, self.cflag, self.lflag, self.line, self.cc = _LAYOUT.unpack_from(raw)
        if len(raw) > 36:
            self.speeds = _SPEEDS.unpack_from(raw, 36)

    def has(self, byte: int, *indexes: int) -> bool:
        """Is the byte one of these control characters?"""
        return byte != 0 and any(self.cc[index] == byte for index in indexes)
