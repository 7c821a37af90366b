"""The arm64 computer: memory map, devices, how a kernel is put into it (Documentation/arch/arm64/booting.rst)."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Any

from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.system import devicetree
from pyprobe.runtime.system.arm64 import CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTV_TVAL_EL0, COUNTER_SHIFT, Arm64
from pyprobe.runtime.system.devices import gic, pl031
from pyprobe.runtime.system.devices.generic_timer import GenericTimer
from pyprobe.runtime.system.devices.gic import Gic
from pyprobe.runtime.system.devices.pl031 import Pl031
from pyprobe.runtime.system.devices.psci import Psci
from pyprobe.runtime.system.devices.uart8250 import Uart8250
from pyprobe.runtime.system.ram import KEPT, MB, Ram

RAM_BASE = 0x4000_0000
DISTRIBUTOR, INTERFACE, UART, RTC = 0x800_0000, 0x801_0000, 0x900_0000, 0x901_0000
TREE_SIZE = 2 * KEPT
UART_LINE, TIMER_LINE = 33, 27  # SPI 1, PPI 11
SPI, PPI, HIGH = 0, 1, 4  # cells of an interrupt specifier
MAGIC = b"ARM\x64"
COMMAND_LINE = "console=ttyS0 earlycon=uart8250,mmio,0x9000000 nokaslr mitigations=off kpti=off cryptomgr.notests panic=-1"


class BadImage(ValueError):
    """A file that this computer cannot boot; the message says why."""


class BoardArm64:
    """`processor` and the devices. `power` is told what the guest asked for: "off" or "reset"."""

    arch = "arm64"
    command_line = COMMAND_LINE

    def __init__(self, ram: Ram, clock: Clock, *, native: bool | None = None) -> None:
        self.ram = ram
        self.clock = clock
        self.processor = Arm64(ram, clock, native=native)
        self.gic = Gic(self.processor.interrupt)
        self.uart = Uart8250(lambda level: self.gic.line(UART_LINE, level))
        self.timer = GenericTimer(clock, COUNTER_SHIFT, lambda level: self.gic.line(TIMER_LINE, level))
        self.rtc = Pl031(clock)
        self.processor.on_call = Psci(lambda what: self.processor.on_power(what)).call
        cpu, timer = self.processor, self.timer
        cpu.map_device(DISTRIBUTOR, gic.SIZE, self.gic.read_distributor, self.gic.write_distributor)
        cpu.map_device(INTERFACE, gic.SIZE, self.gic.read_interface, self.gic.write_interface)
        cpu.map_device(UART, 0x1000, self.uart.read, self.uart.write, console=self.uart)
        cpu.map_device(RTC, pl031.SIZE, self.rtc.read, self.rtc.write)
        cpu.provide(CNTV_CTL_EL0, timer.read_control, timer.write_control)
        cpu.provide(CNTV_CVAL_EL0, timer.read_compare, timer.write_compare)
        cpu.provide(CNTV_TVAL_EL0, timer.read_value, timer.write_value)

    @property
    def kept(self) -> int:
        """Half of what the device tree takes, which the kernel never frees."""
        return RAM_BASE + self.ram.size - 2 * MB + TREE_SIZE // 2

    @property
    def console(self) -> bytes:
        """What the kernel has written to its console."""
        return bytes(self.uart.sent)

    def save(self) -> dict[str, Any]:
        """The state of the devices, to be loaded by a board of the same version."""
        return {"gic": self.gic.save(), "uart": self.uart.save(), "timer": self.timer.save()}

    def load(self, state: dict[str, Any]) -> None:
        self.gic.load(state["gic"])
        self.uart.load(state["uart"])
        self.timer.load(state["timer"])

    def boot(self, kernel: memoryview, initrd: bytes, command_line: str) -> None:
        """Put an (uncompressed) Image into memory and point the processor at it. Raises BadImage."""
        if kernel[56:60] != MAGIC:
            raise BadImage("not an arm64 kernel Image")
        text_offset, image_size, flags = struct.unpack_from("<3Q", kernel, 8)
        if flags >> 1 & 3 not in (0, 1):
            raise BadImage(f"the kernel uses pages of {(0, 4, 16, 64)[flags >> 1 & 3]} KB; pages of 4 KB are supported")
        size = max(image_size, len(kernel))
        initrd_at = RAM_BASE + (text_offset + size + 2 * MB - 1) // (2 * MB) * 2 * MB
        tree_at = RAM_BASE + self.ram.size - 2 * MB
        if initrd_at + len(initrd) > tree_at:
            needed = (initrd_at + len(initrd) - RAM_BASE) // MB + 64
            raise BadImage(f"{self.ram.size // MB} MB of memory are too little for this kernel: give it --memory {needed}")
        self.ram.write(RAM_BASE + text_offset, kernel)
        self.ram.write(initrd_at, initrd)
        self.ram.write(tree_at, devicetree.blob(self._tree(initrd_at, len(initrd), command_line), TREE_SIZE))
        self.processor.reset(RAM_BASE + text_offset, tree_at)

    def _tree(self, initrd_at: int, initrd_size: int, command_line: str) -> devicetree.Node:
        clock = 2  # phandle of the clock that the PrimeCell devices want
        return {
            "#address-cells": 2,
            "#size-cells": 2,
            "compatible": "linux,dummy-virt",
            "model": "pyprobe",
            "interrupt-parent": 1,
            "chosen": {
                "bootargs": command_line,
                "stdout-path": f"/uart@{UART:x}",
                "linux,initrd-start": [0, initrd_at],
                "linux,initrd-end": [0, initrd_at + initrd_size],
                "rng-seed": sha256(b"the same in every run").digest(),
            },
            f"memory@{RAM_BASE:x}": {"device_type": "memory", "reg": [0, RAM_BASE, self.ram.size >> 32, self.ram.size & 0xFFFF_FFFF]},
            "cpus": {
                "#address-cells": 1,
                "#size-cells": 0,
                "cpu@0": {"device_type": "cpu", "compatible": "arm,cortex-a53", "reg": 0, "enable-method": "psci"},
            },
            "psci": {"compatible": ["arm,psci-1.0", "arm,psci-0.2"], "method": "hvc"},
            "timer": {
                "compatible": "arm,armv8-timer",
                "always-on": None,
                "interrupts": [cell for ppi in (13, 14, 11, 10) for cell in (PPI, ppi, 0x100 | HIGH)],
            },
            f"interrupt-controller@{DISTRIBUTOR:x}": {
                "compatible": "arm,cortex-a15-gic",
                "#interrupt-cells": 3,
                "#address-cells": 0,
                "interrupt-controller": None,
                "reg": [0, DISTRIBUTOR, 0, gic.SIZE, 0, INTERFACE, 0, gic.SIZE],
                "phandle": 1,
            },
            "apb-clock": {"compatible": "fixed-clock", "#clock-cells": 0, "clock-frequency": 24_000_000, "phandle": clock},
            f"uart@{UART:x}": {
                "compatible": "ns16550a",
                "reg": [0, UART, 0, 0x1000],
                "clock-frequency": 1_843_200,
                "current-speed": 115_200,
                "reg-shift": 0,
                "reg-io-width": 1,
                "interrupts": [SPI, UART_LINE - 32, HIGH],
            },
            f"rtc@{RTC:x}": {
                "compatible": ["arm,pl031", "arm,primecell"],
                "reg": [0, RTC, 0, pl031.SIZE],
                "interrupts": [SPI, 2, HIGH],
                "clocks": clock,
                "clock-names": "apb_pclk",
            },
        }
