"""The real-time clock of the PC: a Motorola MC146818, in decimal (BCD) and 24 hours. Its alarm never fires."""

from __future__ import annotations

import datetime

from pyprobe.runtime.machine.clock import Clock

_CENTURY = 0x32
_A, _B, _D = 0xA, 0xB, 0xD
_24H = 0x02
_VALID = 0x80


class Cmos:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.index = 0

    def read(self, port: int) -> int:
        """Ports 0x70 and 0x71."""
        if not port & 1:
            return 0xFF
        now = datetime.datetime.fromtimestamp(self.clock.wall() // 10**9, datetime.UTC)
        values = {0: now.second, 2: now.minute, 4: now.hour, 6: now.isoweekday() % 7 + 1, 7: now.day, 8: now.month, 9: now.year % 100}
        values[_CENTURY] = now.year // 100
        if self.index in values:
            return int(str(values[self.index]), 16)
        return {_A: 0x26, _B: _24H, _D: _VALID}.get(self.index, 0)

    def write(self, port: int, value: int) -> None:
        if not port & 1:
            self.index = value & 0x7F
