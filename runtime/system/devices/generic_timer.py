"""The virtual timer of the arm64 architecture (DDI 0487, D12): one comparator over the counter that CNTVCT_EL0 reads."""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.runtime.machine.clock import Clock, Timer

ENABLE, MASKED, FIRED = 1, 2, 4


class GenericTimer:
    """`output(level)` is its interrupt line; the counter ticks once in 2**shift nanoseconds of the clock."""

    def __init__(self, clock: Clock, shift: int, output: Callable[[bool], None]) -> None:
        self.clock = clock
        self.shift = shift
        self.output = output
        self.control = self.compare = 0
        self._timer: Timer | None = None

    def save(self) -> dict[str, object]:
        return {"control": self.control, "compare": self.compare}

    def load(self, state: dict[str, int]) -> None:
        self.control, self.compare = state["control"], state["compare"]
        self._update()

    def now(self) -> int:
        """Ticks of the counter."""
        return self.clock.words.now >> self.shift

    def _update(self) -> None:
        if self._timer is not None:
            self.clock.cancel(self._timer)
            self._timer = None
        counts = self.control & (ENABLE | MASKED) == ENABLE
        due = self.now() >= self.compare
        if counts and not due and self.compare << self.shift < 1 << 63:
            self._timer = self.clock.add(self.compare << self.shift, self._update)
        self.output(counts and due)

    def read_control(self) -> int:
        return self.control | (FIRED if self.control & ENABLE and self.now() >= self.compare else 0)

    def write_control(self, value: int) -> None:
        self.control = value & (ENABLE | MASKED)
        self._update()

    def read_compare(self) -> int:
        return self.compare

    def write_compare(self, value: int) -> None:
        self.compare = value
        self._update()

    def read_value(self) -> int:
        return self.compare - self.now() & 0xFFFF_FFFF

    def write_value(self, value: int) -> None:
        self.compare = self.now() + ((value & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000
        self._update()
