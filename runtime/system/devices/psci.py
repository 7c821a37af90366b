"""The firmware calls that Linux makes on arm64 (PSCI, ARM DEN 0022): version, power off, reset. There is one processor."""

from __future__ import annotations

from collections.abc import Callable

VERSION, MIGRATE_INFO, SYSTEM_OFF, SYSTEM_RESET, FEATURES, SMCCC_VERSION = (
    0x8400_0000,
    0x8400_0006,
    0x8400_0008,
    0x8400_0009,
    0x8400_000A,
    0x8000_0000,
)
NOT_SUPPORTED = -1


class Psci:
    """`power` is told "off" or "reset"."""

    def __init__(self, power: Callable[[str], None]) -> None:
        self.power = power

    def call(self, function: int, argument: int) -> int:
        if function in (VERSION, SMCCC_VERSION):
            return 0x1_0001  # 1.1
        if function == MIGRATE_INFO:
            return 2  # no trusted system to migrate
        if function == FEATURES:
            return 0 if argument & 0xFFFF_FFFF in (SYSTEM_OFF, SYSTEM_RESET, SMCCC_VERSION) else NOT_SUPPORTED
        if function in (SYSTEM_OFF, SYSTEM_RESET):
            self.power("off" if function == SYSTEM_OFF else "reset")
            return 0
        return NOT_SUPPORTED
