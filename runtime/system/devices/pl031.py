"""The real-time clock of the arm64 board: an ARM PL031 (DDI 0224), which counts seconds since 1970. Its alarm never fires."""

from __future__ import annotations

from pyprobe.runtime.machine.clock import Clock

SIZE = 0x1000
_IDENTITY = (0x31, 0x10, 0x04, 0x00, 0x0D, 0xF0, 0x05, 0xB1)  # PeriphID and PCellID


class Pl031:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def read(self, offset: int, size: int) -> int:
        if offset == 0:
            return self.clock.wall() // 10**9 & 0xFFFF_FFFF
        if offset == 0xC:
            return 1  # RTCCR: started
        if 0xFE0 <= offset < 0x1000:
            return _IDENTITY[offset - 0xFE0 >> 2]
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        """Nothing: Linux sets the time only when it is told to."""
