"""The interval timer of the PC: an Intel 8254. Channel 0 raises interrupts; channel 2 is what Linux measures time with, if it has to."""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.runtime.machine.clock import Clock, Timer

HZ = 1_193_182
NS = 10**9
ACCESS_NS = 1000
_REFRESH_NS = 15_085  # of DRAM on a PC, seen in port 0x61
_PERIODIC = (2, 3)
_LOW, _HIGH, _BOTH = 1, 2, 3


class Channel:
    """One counter: `count` since `start` nanoseconds, 0 when it has none yet."""

    NAMES = ("access", "count", "latch", "low", "mode", "start", "toggle")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.count = self.mode = self.start = self.low = 0
        self.access = _BOTH
        self.latch = -1
        self.toggle = 0  # bit 0: the high byte is read next, bit 1: written next

    @property
    def period(self) -> int:
        """Nanoseconds, rounded up, so that a deadline is never before the count's end."""
        return -(-self.count * NS // HZ)

    def value(self) -> int:
        """What the counter shows."""
        if not self.count:
            return 0
        passed = (self.clock.words.now - self.start) * HZ // NS
        if self.mode in _PERIODIC:
            return self.count - passed % self.count
        return self.count - passed & 0xFFFF

    def read(self) -> int:
        value = self.latch if self.latch >= 0 else self.value()
        if self.access == _BOTH:
            self.toggle ^= 1
            if self.toggle & 1:
                return value & 0xFF
            self.latch = -1
            return value >> 8 & 0xFF
        self.latch = -1
        return value >> 8 & 0xFF if self.access == _HIGH else value & 0xFF

    def write(self, value: int) -> bool:
        """A byte of a new count; True when it is complete and counting begins."""
        if self.access == _BOTH:
            self.toggle ^= 2
            if self.toggle & 2:
                self.low = value
                return False
            value = value << 8 | self.low
        elif self.access == _HIGH:
            value <<= 8
        self.count = value or 0x1_0000
        self.start = self.clock.words.now
        return True


class Pit8254:
    """`fire()` is called when channel 0 reaches its end."""

    def __init__(self, clock: Clock, fire: Callable[[], None]) -> None:
        self.clock = clock
        self.fire = fire
        self.channels = [Channel(clock) for _ in range(3)]
        self.speaker = 0  # port 0x61
        self._fired = 0  # periods of channel 0 that have ended
        self._timer: Timer | None = None

    def save(self) -> dict[str, object]:
        return {
            "channels": [{name: getattr(c, name) for name in Channel.NAMES} for c in self.channels],
            "speaker": self.speaker,
            "fired": self._fired,
        }

    def load(self, state: dict[str, object]) -> None:
        for channel, values in zip(self.channels, state["channels"], strict=True):  # type: ignore[call-overload]  # as save made it
            for name, value in values.items():
                setattr(channel, name, value)
        self.speaker, self._fired = state["speaker"], state["fired"]  # type: ignore[assignment]  # the same
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self.clock.cancel(self._timer)
            self._timer = None
        channel = self.channels[0]
        if not channel.count or (channel.mode not in _PERIODIC and self._fired):
            return
        due = channel.start - (-channel.count * (self._fired + 1) * NS // HZ)
        self._timer = self.clock.add(due, self._due)

    def _due(self) -> None:
        channel = self.channels[0]
        ended = (self.clock.words.now - channel.start) * HZ // NS // channel.count
        self._fired = max(ended, self._fired + 1)
        self._timer = None
        self._arm()
        self.fire()

    def read(self, port: int) -> int:
        """Ports 0x40 to 0x43. That takes a microsecond on the bus of a PC, and kernels look until a count has changed."""
        self.clock.charge(ACCESS_NS)
        return self.channels[port & 3].read() if port & 3 < 3 else 0xFF

    def write(self, port: int, value: int) -> None:
        number = port & 3
        if number < 3:
            if self.channels[number].write(value) and number == 0:
                self._fired = 0
                self._arm()
            return
        number, access = value >> 6, value >> 4 & 3
        if number == 3:
            return  # a read-back command, which Linux does not use
        channel = self.channels[number]
        if not access:
            channel.latch = channel.value()
            return
        mode = value >> 1 & 7
        channel.access, channel.mode, channel.toggle, channel.latch = access, mode & 3 if mode > 5 else mode, 0, -1
        if number == 0:
            channel.count = 0
            self._fired = 0
            self._arm()

    def read_speaker(self) -> int:
        """Port 0x61: the gate of channel 2, its output, and the refresh of memory that old code counts."""
        channel, now = self.channels[2], self.clock.words.now
        out = channel.count and (now - channel.start) * HZ // NS >= channel.count
        return self.speaker & 0xF | bool(out) << 5 | (now // _REFRESH_NS & 1) << 4

    def write_speaker(self, value: int) -> None:
        if value & 1 and not self.speaker & 1:
            self.channels[2].start = self.clock.words.now
        self.speaker = value
