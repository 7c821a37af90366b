"""The interrupt controller of the arm64 board: a GICv2 (ARM IHI 0048B) with 128 lines and one processor."""

from __future__ import annotations

from collections.abc import Callable

LINES = 128
WORDS = LINES // 32
SPURIOUS = 1023
SIZE = 0x10000

_DISTRIBUTOR_TYPE = WORDS - 1  # GICD_TYPER: ITLinesNumber, one processor
_IMPLEMENTER = 0x0200143B
_INTERFACE = 0x0202143B  # GICC_IIDR


class Gic:
    """`output(level)` is the line to the processor. Priorities and states are the architecture's; no groups."""

    def __init__(self, output: Callable[[bool], None]) -> None:
        self.output = output
        self.distributor = self.interface = self.mask = 0
        self.level = [0] * WORDS
        self.enabled = [0] * WORDS
        self.pending = [0] * WORDS
        self.active = [0] * WORDS
        self.priority = bytearray(LINES)
        self.configuration = bytearray(LINES // 4)

    def save(self) -> dict[str, object]:
        return {
            **{name: list(getattr(self, name)) for name in ("level", "enabled", "pending", "active")},
            **{name: bytes(getattr(self, name)).hex() for name in ("priority", "configuration")},
            **{name: getattr(self, name) for name in ("distributor", "interface", "mask")},
        }

    def load(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            setattr(self, name, bytearray.fromhex(value) if isinstance(value, str) else value)
        self._update()

    def line(self, number: int, level: bool) -> None:
        """A device raises or lowers its line."""
        word, bit = number >> 5, 1 << (number & 31)
        if bool(self.level[word] & bit) != level:
            self.level[word] ^= bit
            self._update()

    def best(self) -> int:
        """The interrupt that would be taken now, or SPURIOUS."""
        if not (self.distributor & 1 and self.interface & 1):
            return SPURIOUS
        found, priority = SPURIOUS, self.mask
        for word in range(WORDS):
            waiting = (self.pending[word] | self.level[word]) & self.enabled[word] & ~self.active[word]
            while waiting:
                number = word * 32 + (waiting & -waiting).bit_length() - 1
                waiting &= waiting - 1
                if self.priority[number] < priority:
                    found, priority = number, self.priority[number]
        if found != SPURIOUS:
            for word in range(WORDS):
                active = self.active[word]
                while active:
                    number = word * 32 + (active & -active).bit_length() - 1
                    active &= active - 1
                    if self.priority[number] <= priority:
                        return SPURIOUS
        return found

    def _update(self) -> None:
        self.output(self.best() != SPURIOUS)

    # the distributor

    def read_distributor(self, offset: int, size: int) -> int:
        word = offset >> 2 & WORDS - 1
        match offset >> 8:
            case 0:
                return {0: self.distributor, 4: _DISTRIBUTOR_TYPE, 8: _IMPLEMENTER}.get(offset, 0)
            case 1:
                return self.enabled[word]
            case 2:
                return self.pending[word] | self.level[word]
            case 3:
                return self.active[word]
            case 4 | 5 | 6 | 7 if offset < 0x400 + LINES:
                return int.from_bytes(self.priority[offset - 0x400 : offset - 0x400 + size], "little")
            case 8 | 9 | 10 | 11:
                return 0x01010101 & (1 << 8 * size) - 1  # everything goes to the one processor
            case 12 if offset < 0xC00 + LINES // 4:
                return int.from_bytes(self.configuration[offset - 0xC00 : offset - 0xC00 + size], "little")
        return 0x2B if offset == 0xFE8 else 0  # ICPIDR2: a GICv2

    def write_distributor(self, offset: int, size: int, value: int) -> None:
        word = offset >> 2 & WORDS - 1
        sets = not offset & 0x80
        match offset >> 8:
            case 0 if offset == 0:
                self.distributor = value
            case 1:
                self.enabled[word] = self.enabled[word] | value if sets else self.enabled[word] & ~value
            case 2:
                self.pending[word] = self.pending[word] | value if sets else self.pending[word] & ~value
            case 3:
                self.active[word] = self.active[word] | value if sets else self.active[word] & ~value
            case 4 | 5 | 6 | 7 if offset < 0x400 + LINES:
                self.priority[offset - 0x400 : offset - 0x400 + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            case 12 if offset < 0xC00 + LINES // 4:
                self.configuration[offset - 0xC00 : offset - 0xC00 + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            case 15 if offset == 0xF00:
                self.pending[0] |= 1 << (value & 15)  # GICD_SGIR: there is one processor to send to
        self._update()

    # the processor's interface

    def read_interface(self, offset: int, size: int) -> int:
        match offset:
            case 0:
                return self.interface
            case 4:
                return self.mask
            case 0xC:  # GICC_IAR: take the interrupt
                number = self.best()
                if number != SPURIOUS:
                    word, bit = number >> 5, 1 << (number & 31)
                    self.active[word] |= bit
                    self.pending[word] &= ~bit
                    self._update()
                return number
            case 0x14:
                return 0xFF  # GICC_RPR: idle
            case 0x18:
                return self.best()
            case 0xFC:
                return _INTERFACE
        return 0

    def write_interface(self, offset: int, size: int, value: int) -> None:
        match offset:
            case 0:
                self.interface = value
            case 4:
                self.mask = value & 0xFF
            case 0x10:  # GICC_EOIR
                number = value & 0x3FF
                if number < LINES:
                    self.active[number >> 5] &= ~(1 << (number & 31))
        self._update()
