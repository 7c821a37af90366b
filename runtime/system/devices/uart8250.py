"""A serial port: the National Semiconductor 16550A without its FIFOs, which is what every 8250 driver knows how to use.

It is the console. Characters leave at once; nothing is ever typed. Kernels write them one by one and look each time whether there is room,
which there always is; the extension does both (`_native.Console`) while the port is `plain`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_DATA, _INTERRUPTS, _IDENTIFY, _LINE, _MODEM, _STATUS, _MODEM_STATUS, _SCRATCH = range(8)
_LATCH = 0x80  # in the line register: the first two registers are the divisor
_RECEIVE, _SEND = 1, 2  # interrupt enables
_EMPTY = 0x60  # nothing waits to be sent
_IDENTIFIES_SEND, _IDENTIFIES_NONE = 0xC2, 0xC1


class Uart8250:
    """`output(level)` is its interrupt line; `sent` is what the guest has written to it, all of it."""

    def __init__(self, output: Callable[[bool], None]) -> None:
        self.output = output
        self.sent = bytearray()
        self.registers = [0] * 8
        self.divisor = [0, 0]
        self.ready = False  # the transmitter became empty, and nobody was told
        self.plain = ctypes.c_uint8(1)  # a character that is written is sent, and nobody waits to be told that it was

    def save(self) -> dict[str, object]:
        return {"registers": self.registers, "divisor": self.divisor, "ready": self.ready, "sent": self.sent.decode("latin-1")}

    def load(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            if isinstance(value, str):
                self.sent[:] = value.encode("latin-1")
            else:
                setattr(self, name, value)
        self._update()

    def _update(self) -> None:
        r = self.registers
        self.plain.value = not (r[_LINE] & _LATCH or r[_INTERRUPTS] & _SEND)
        self.output(bool(self.registers[_INTERRUPTS] & _SEND) and self.ready)

    def read(self, offset: int, size: int) -> int:
        r = self.registers
        if offset < 2 and r[_LINE] & _LATCH:
            return self.divisor[offset]
        match offset:
            case 0:
                return 0
            case 2:
                if r[_INTERRUPTS] & _SEND and self.ready:
                    self.ready = False
                    self._update()
                    return _IDENTIFIES_SEND
                return _IDENTIFIES_NONE
            case 5:
                return _EMPTY
            case 6:
                return 0xB0  # carrier, ready, clear to send
        return r[offset & 7]

    def write(self, offset: int, size: int, value: int) -> None:
        r = self.registers
        value &= 0xFF
        if offset < 2 and r[_LINE] & _LATCH:
            self.divisor[offset] = value
        elif offset == _DATA:
            self.sent.append(value)
            self.ready = True
            self._update()
        elif offset == _INTERRUPTS:
            if value & _SEND and not r[_INTERRUPTS] & _SEND:
                self.ready = True
            r[_INTERRUPTS] = value & 15
            self._update()
        elif offset in (_LINE, _MODEM, _SCRATCH):
            r[offset] = value
            self._update()
