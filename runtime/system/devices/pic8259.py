"""The interrupt controllers of the PC: two Intel 8259A, the second at line 2 of the first."""

from __future__ import annotations

from collections.abc import Callable

CASCADE = 2
_INITIALIZE, _READ = 0x10, 0x08  # bits of a command that say which one it is
_END, _SPECIFIC = 0x20, 0x40


class Chip:
    """One 8259A: requests, what is in service, the mask; `base` is the vector of its line 0."""

    NAMES = ("request", "service", "mask", "base", "step", "command", "show_service", "automatic", "level")

    def __init__(self) -> None:
        self.request = self.service = self.mask = self.base = self.level = 0
        self.step = 0  # of the initialization: which word comes next, 0 when it is done
        self.command = 0
        self.show_service = self.automatic = False

    def best(self) -> int:
        """The line to be served now, -1 if none is."""
        waiting = self.request & ~self.mask
        for line in range(8):
            if self.service & 1 << line:
                return -1
            if waiting & 1 << line:
                return line
        return -1

    def take(self, line: int) -> int:
        """Serve a line; its vector."""
        self.request &= ~(1 << line)
        if not self.automatic:
            self.service |= 1 << line
        return self.base + line

    def read(self, port: int) -> int:
        if port:
            return self.mask
        return self.service if self.show_service else self.request

    def write(self, port: int, value: int) -> None:
        if not port:
            self._command(value)
        elif self.step == 2:
            self.base = value & 0xF8
            self.step = 3
        elif self.step == 3:
            self.step = 4 if self.command & 1 else 0
        elif self.step == 4:
            self.automatic = bool(value & 2)
            self.step = 0
        else:
            self.mask = value

    def _command(self, value: int) -> None:
        if value & _INITIALIZE:
            self.request = self.service = self.mask = 0
            self.command, self.step, self.automatic = value, 2, False
        elif value & _READ:
            if value & 2:
                self.show_service = bool(value & 1)
        elif value & _END:
            if value & _SPECIFIC:
                self.service &= ~(1 << (value & 7))
            else:
                self.service &= self.service - 1  # the lowest line has the highest priority


class Pic8259:
    """Both chips. `output(level)` is the line to the processor, which calls `acknowledge` when it takes an interrupt."""

    def __init__(self, output: Callable[[bool], None]) -> None:
        self.output = output
        self.chips = (Chip(), Chip())

    def save(self) -> dict[str, object]:
        return {str(i): {name: getattr(chip, name) for name in Chip.NAMES} for i, chip in enumerate(self.chips)}

    def load(self, state: dict[str, dict[str, int]]) -> None:
        for i, chip in enumerate(self.chips):
            for name, value in state[str(i)].items():
                setattr(chip, name, value)
        self._update()

    def line(self, number: int, level: bool) -> None:
        """A device raises or lowers its line; raising it is a request, lowering it before it is served withdraws that."""
        chip, bit = self.chips[number >> 3], 1 << (number & 7)
        if bool(chip.level & bit) != level:
            chip.level ^= bit
            chip.request = chip.request | bit if level else chip.request & ~bit
            self._update()

    def pulse(self, number: int) -> None:
        """A device raises its line for a moment: a request that stays."""
        self.chips[number >> 3].request |= 1 << (number & 7)
        self._update()

    def acknowledge(self) -> int:
        """Take the most urgent interrupt; its vector, -1 if there is none."""
        first, second = self.chips
        line = first.best()
        if line < 0:
            return -1
        vector = first.take(line)
        if line == CASCADE:
            inner = second.best()
            vector = second.take(inner) if inner >= 0 else second.base + 7
        self._update()
        return vector

    def _update(self) -> None:
        first, second = self.chips
        if second.best() >= 0:
            first.request |= 1 << CASCADE
        else:
            first.request &= ~(1 << CASCADE)
        self.output(first.best() >= 0)

    def read(self, port: int) -> int:
        """Ports 0x20, 0x21, 0xA0 and 0xA1."""
        return self.chips[port >> 7].read(port & 1)

    def write(self, port: int, value: int) -> None:
        self.chips[port >> 7].write(port & 1, value)
        self._update()
