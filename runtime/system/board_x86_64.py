"""The x86-64 computer: a PC without ACPI and without an APIC, and how a kernel is put into it (Documentation/x86/boot.rst)."""

from __future__ import annotations

import struct
from typing import Any

from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.system.devices.cmos import Cmos
from pyprobe.runtime.system.devices.pic8259 import Pic8259
from pyprobe.runtime.system.devices.pit8254 import Pit8254
from pyprobe.runtime.system.devices.uart8250 import Uart8250
from pyprobe.runtime.system.ram import MB, Ram
from pyprobe.runtime.system.x86_64 import X86

PARAMETERS, COMMAND_LINE_AT, PAGE_TABLES, DESCRIPTORS, STACK = 0x1_0000, 0x2_0000, 0x3_0000, 0x4_0000, 0x5_0000
LOW, HOLE = 0x9_F000, 0x10_0000  # RAM up to the first, and from the second on
ROM = 0xD_0000  # where cards had theirs: mapped, and never used (arch/x86/kernel/probe_roms.c finds none)
COMMAND_LINE_LIMIT = 2047
TIMER_LINE, UART_LINE = 0, 4
COM1 = 0x3F8
USABLE, RESERVED = 1, 2  # kinds of memory in the E820 map
COMMAND_LINE = (
    "console=ttyS0 earlyprintk=serial,ttyS0,115200 nokaslr mitigations=off nopti nolapic noapic acpi=off nosmp tsc=reliable no_timer_check "
    "cryptomgr.notests panic=-1"
)


class BoardX86:
    """`processor` and the devices."""

    arch = "x86_64"
    command_line = COMMAND_LINE
    kept = ROM

    def __init__(self, ram: Ram, clock: Clock, *, native: bool | None = None) -> None:
        self.ram = ram
        self.clock = clock
        self.processor = X86(ram, clock, native=native)
        self.pic = Pic8259(self.processor.interrupt)
        self.pit = Pit8254(clock, lambda: self.pic.pulse(TIMER_LINE))
        self.uart = Uart8250(lambda level: self.pic.line(UART_LINE, level))
        self.cmos = Cmos(clock)
        self.processor.acknowledge = self.pic.acknowledge
        self.processor.connect(self.port_in, self.port_out, self.uart, COM1)

    @property
    def console(self) -> bytes:
        """What the kernel has written to its console."""
        return bytes(self.uart.sent)

    def save(self) -> dict[str, Any]:
        """The state of the devices, to be loaded by a board of the same version."""
        return {"pic": self.pic.save(), "pit": self.pit.save(), "uart": self.uart.save(), "cmos": self.cmos.index}

    def load(self, state: dict[str, Any]) -> None:
        self.pit.load(state["pit"])
        self.uart.load(state["uart"])
        self.cmos.index = state["cmos"]
        self.pic.load(state["pic"])

    def port_in(self, port: int, size: int) -> int:
        """IN: nobody answers with ones."""
        if COM1 <= port < COM1 + 8:
            return self.uart.read(port - COM1, size)
        if size == 1:
            match port:
                case 0x20 | 0x21 | 0xA0 | 0xA1:
                    return self.pic.read(port)
                case 0x40 | 0x41 | 0x42 | 0x43:
                    return self.pit.read(port)
                case 0x61:
                    return self.pit.read_speaker()
                case 0x70 | 0x71:
                    return self.cmos.read(port)
        return (1 << 8 * size) - 1

    def port_out(self, port: int, size: int, value: int) -> None:
        """OUT"""
        value &= (1 << 8 * size) - 1
        if COM1 <= port < COM1 + 8:
            self.uart.write(port - COM1, size, value)
        elif size == 1:
            match port:
                case 0x20 | 0x21 | 0xA0 | 0xA1:
                    self.pic.write(port, value)
                case 0x40 | 0x41 | 0x42 | 0x43:
                    self.pit.write(port, value)
                case 0x61:
                    self.pit.write_speaker(value)
                case 0x70 | 0x71:
                    self.cmos.write(port, value)
                case 0x64 if value == 0xFE:  # the keyboard controller pulls the processor's reset line
                    self.processor.on_power("reset")
                case 0xCF9 if value & 4:
                    self.processor.on_power("reset")

    def boot(self, kernel: memoryview, initrd: bytes, command_line: str) -> None:
        """Put a vmlinux into memory and point the processor at it. Raises ValueError with the reason when it cannot be booted here."""
        entry, headers, size, count = struct.unpack_from("<QQ14xHH", kernel, 24)
        end = 0
        for i in range(count):
            kind, _, offset, _, physical, length, in_memory, _ = struct.unpack_from("<IIQQQQQQ", kernel, headers + i * size)
            if kind == 1:
                end = max(end, physical + in_memory)
                if end > self.ram.size:
                    break
                self.ram.write(physical, kernel[offset : offset + length])
        initrd_at = (self.ram.size - len(initrd) - MB) & -MB
        if initrd_at < end + 16 * MB:
            needed = (end + len(initrd)) // MB + 96
            raise ValueError(f"{self.ram.size // MB} MB of memory are too little for this kernel: give it --memory {needed}")
        if len(command_line.encode()) > COMMAND_LINE_LIMIT:
            raise ValueError(f"the kernel's command line is too long: {len(command_line.encode())} of {COMMAND_LINE_LIMIT} bytes")
        self.ram.write(initrd_at, initrd)
        self.ram.write(COMMAND_LINE_AT, command_line.encode() + b"\0")
        self.ram.write(PARAMETERS, self._parameters(initrd_at, len(initrd)))
        self._page_tables()
        self.ram.write(DESCRIPTORS, struct.pack("<4Q", 0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF))
        self.processor.reset(entry, PARAMETERS, stack=STACK, tables=PAGE_TABLES, descriptors=DESCRIPTORS)

    def _parameters(self, initrd_at: int, initrd_size: int) -> bytes:
        """struct boot_params: the setup header as a boot loader completes it, and the map of memory."""
        page = bytearray(4096)
        struct.pack_into("<H", page, 0x1FE, 0xAA55)
        struct.pack_into("<4sH", page, 0x202, b"HdrS", 0x20F)  # version 2.15 of the protocol
        page[0x210] = 0xFF  # a boot loader without a number
        page[0x211] = 1  # LOADED_HIGH
        struct.pack_into("<II", page, 0x218, initrd_at, initrd_size)
        struct.pack_into("<II", page, 0x228, COMMAND_LINE_AT, 0x7FFF_FFFF)
        struct.pack_into("<I", page, 0x238, COMMAND_LINE_LIMIT)
        memory = ((0, LOW, USABLE), (LOW, HOLE - LOW, RESERVED), (HOLE, self.ram.size - HOLE, USABLE))
        page[0x1E8] = len(memory)
        for i, entry in enumerate(memory):
            struct.pack_into("<QQI", page, 0x2D0 + 20 * i, *entry)
        return bytes(page)

    def _page_tables(self) -> None:
        """The first gigabyte at its own addresses, in pages of 2 MB."""
        third, second = PAGE_TABLES + 0x1000, PAGE_TABLES + 0x2000
        self.ram.write(PAGE_TABLES, struct.pack("<Q", third | 3))
        self.ram.write(third, struct.pack("<Q", second | 3))
        self.ram.write(second, struct.pack("<512Q", *(i << 21 | 0x83 for i in range(512))))
