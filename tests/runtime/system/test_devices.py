"""Devices by their registers, as a driver uses them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.system import devicetree
from pyprobe.runtime.system._native import Console
from pyprobe.runtime.system.cpu import MMIO_READ, MMIO_WRITE
from pyprobe.runtime.system.devices.cmos import Cmos
from pyprobe.runtime.system.devices.generic_timer import GenericTimer
from pyprobe.runtime.system.devices.gic import SPURIOUS, Gic
from pyprobe.runtime.system.devices.pic8259 import Pic8259
from pyprobe.runtime.system.devices.pit8254 import Pit8254
from pyprobe.runtime.system.devices.uart8250 import Uart8250
from pyprobe.runtime.system.x86_64 import IN, OUT


def ready_gic() -> tuple[Gic, list[bool]]:
    levels: list[bool] = []
    gic = Gic(levels.append)
    gic.write_distributor(0, 4, 1)
    gic.write_interface(0, 4, 1)
    gic.write_interface(4, 4, 0xF0)
    gic.write_distributor(0x104, 4, 0b10)  # line 33
    gic.write_distributor(0x100, 4, 1 << 27)
    gic.write_distributor(0x400 + 33, 1, 0xA0)
    gic.write_distributor(0x400 + 27, 1, 0x80)
    return gic, levels


def test_gic_serves_the_more_urgent_line_first() -> None:
    gic, levels = ready_gic()
    gic.line(33, True)
    gic.line(27, True)
    assert levels[-1] and gic.read_interface(0xC, 4) == 27
    assert not levels[-1], "33 waits while 27 is served"
    gic.line(27, False)
    gic.write_interface(0x10, 4, 27)
    assert levels[-1] and gic.read_interface(0xC, 4) == 33
    assert gic.read_interface(0xC, 4) == SPURIOUS


def test_gic_state_survives() -> None:
    gic, _ = ready_gic()
    gic.line(33, True)
    levels: list[bool] = []
    other = Gic(levels.append)
    other.load(gic.save())
    assert levels == [True] and other.read_interface(0xC, 4) == 33


def test_generic_timer_fires_at_its_time() -> None:
    clock = Clock()
    levels: list[bool] = []
    timer = GenericTimer(clock, 4, levels.append)
    timer.write_value(100)
    timer.write_control(1)
    assert clock.next_deadline() == 1600 and timer.read_control() == 1
    clock.advance_to(1600)
    clock.run_due()
    assert levels[-1] and timer.read_control() == 5
    timer.write_value(-1 & 0xFFFF_FFFF)
    assert levels[-1], "a deadline that has passed"
    timer.write_control(3)
    assert not levels[-1], "masked"


def ready_pic() -> tuple[Pic8259, list[bool]]:
    levels: list[bool] = []
    pic = Pic8259(levels.append)
    for port, words in ((0x20, (0x30, 4, 1)), (0xA0, (0x38, 2, 1))):
        pic.write(port, 0x11)
        for word in words:
            pic.write(port + 1, word)
    return pic, levels


def test_pic_vectors_and_priorities() -> None:
    pic, levels = ready_pic()
    pic.line(4, True)
    pic.pulse(0)
    pic.line(8, True)
    assert levels[-1] and pic.acknowledge() == 0x30
    assert not levels[-1]
    pic.write(0x20, 0x20)
    assert pic.acknowledge() == 0x38, "through the second chip at line 2"
    pic.write(0xA0, 0x20)
    pic.write(0x20, 0x20)
    assert pic.acknowledge() == 0x34
    pic.write(0x20, 0x64)  # specific end of interrupt 4
    assert not levels[-1] and pic.acknowledge() == -1


def test_pic_mask_and_withdrawn_request() -> None:
    pic, levels = ready_pic()
    pic.write(0x21, 0x10)
    pic.line(4, True)
    assert not levels[-1]
    pic.write(0x21, 0)
    assert levels[-1]
    pic.line(4, False)
    assert not levels[-1]


def test_pit_fires_periodically_without_drift() -> None:
    clock = Clock()
    fired: list[int] = []
    pit = Pit8254(clock, lambda: fired.append(clock.now()))
    pit.write(0x43, 0x34)
    pit.write(0x40, 11932 & 0xFF)
    pit.write(0x40, 11932 >> 8)
    for _ in range(100):
        clock.advance_to(clock.next_deadline())
        clock.run_due()
    assert len(fired) == 100 and fired[-1] == -(-100 * 11932 * 10**9 // 1_193_182)


def test_pit_one_shot_fires_once_and_counts_down() -> None:
    clock = Clock()
    fired: list[int] = []
    pit = Pit8254(clock, lambda: fired.append(clock.now()))
    pit.write(0x43, 0x30)
    pit.write(0x40, 0x34)
    pit.write(0x40, 0x12)
    clock.words.now += 1_000_000
    pit.write(0x43, 0)
    assert pit.read(0x40) | pit.read(0x40) << 8 == 0x1234 - 1193
    clock.advance_to(clock.next_deadline())
    clock.run_due()
    assert len(fired) == 1 and clock.next_deadline() > 1 << 60


def test_uart_says_that_it_can_send_more() -> None:
    levels: list[bool] = []
    uart = Uart8250(levels.append)
    uart.write(1, 1, 2)
    assert levels[-1] and uart.read(2, 1) == 0xC2 and not levels[-1]
    uart.write(0, 1, ord("x"))
    assert levels[-1] and bytes(uart.sent) == b"x" and uart.read(5, 1) & 0x60 == 0x60
    uart.write(3, 1, 0x80)
    uart.write(0, 1, 12)
    assert uart.read(0, 1) == 12 and bytes(uart.sent) == b"x"


Get, Put = Callable[[int], int], Callable[[int, int], None]


def console(uart: Uart8250, port: int, other: list[tuple[int, ...]]) -> tuple[Get, Put]:
    """Reads and writes registers as the guest does, in memory or at ports; `other` is what is left to the device."""

    def read(uc: int, offset: int, size: int, user: int) -> int:
        other.append((offset - port,))
        return uart.read(offset - port, size)

    def write(uc: int, offset: int, size: int, value: int, user: int) -> None:
        other.append((offset - port, value))
        uart.write(offset - port, size, value)

    kinds = (IN, OUT) if port else (MMIO_READ, MMIO_WRITE)
    functions = kinds[0](read), kinds[1](write)
    native = Console(uart.sent, ctypes.addressof(uart.plain), port, *(ctypes.cast(f, ctypes.c_void_p).value or 0 for f in functions))
    *callbacks, user = native.addresses()
    came, went = (kind(address) for kind, address in zip(kinds, callbacks[2:] if port else callbacks[:2], strict=True))
    kept = functions, native

    def get(offset: int) -> int:
        assert kept
        return int(came(0, port + offset, 1, user))

    return get, lambda offset, value: went(0, port + offset, 1, value, user)


def test_console_of_the_extension_is_the_uart() -> None:
    other: list[tuple[int, ...]] = []
    uarts = [Uart8250(lambda level: None) for _ in range(3)]
    plain = uarts[0]
    ours = [console(uarts[1], 0, other), console(uarts[2], 0x3F8, other)]
    for step in (*b"hello", (3, 0x80), (0, 12), (1, 0), (3, 3), *b"more", (1, 2), *b"told", (1, 0), *b"end"):
        offset, value = step if isinstance(step, tuple) else (0, step)
        plain.write(offset, 1, value)
        for _, put in ours:
            put(offset, value)
        for at in (5, 2, 0):
            assert {get(at) for get, _ in ours} == {plain.read(at, 1)}
    assert [bytes(uart.sent) for uart in uarts] == [b"hellomoretoldend"] * 3
    assert [uart.divisor for uart in uarts] == [[12, 0]] * 3
    assert other.count((0, ord("t"))) == 2 and (0, ord("h")) not in other and (5,) not in other


def test_cmos_is_decimal() -> None:
    cmos = Cmos(Clock(1_893_456_000 * 10**9 + 45_296 * 10**9))
    values = []
    for index in (0, 2, 4, 7, 8, 9, 0x32):
        cmos.write(0x70, index)
        values.append(f"{cmos.read(0x71):x}")
    assert values == ["56", "34", "12", "1", "1", "30", "20"]


def test_device_tree() -> None:
    blob = devicetree.blob({"model": "m", "cells": [1, 2], "child": {"flag": None}})
    assert blob[:4] == b"\xd0\x0d\xfe\xed" and int.from_bytes(blob[4:8], "big") == len(blob)
    assert b"model\0cells\0flag\0" in blob and blob.count(b"child\0") == 1
