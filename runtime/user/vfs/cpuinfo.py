"""/proc/cpuinfo: what the processors say of themselves, in the words of arch/x86/kernel/cpu/proc.c and arch/arm64/kernel/cpuinfo.c."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.machine.x86_64 import CPUID

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel

_A, _B, _C, _D = range(4)
# arch/x86/include/asm/cpufeatures.h, in its order: leaf and register of CPUID, and bits that have a name in `flags`
_FEATURES: Final[tuple[tuple[tuple[int, int | None], int, dict[int, str]], ...]] = (
    ((0x1, None), _D, {0: "fpu", 1: "vme", 2: "de", 3: "pse", 4: "tsc", 5: "msr", 6: "pae", 7: "mce", 8: "cx8", 9: "apic", 11: "sep",
                       12: "mtrr", 13: "pge", 14: "mca", 15: "cmov", 16: "pat", 17: "pse36", 18: "pn", 19: "clflush", 21: "dts",
                       22: "acpi", 23: "mmx", 24: "fxsr", 25: "sse", 26: "sse2", 27: "ss", 28: "ht"}),
    ((0x8000_0001, None), _D, {11: "syscall", 20: "nx", 26: "pdpe1gb", 27: "rdtscp", 29: "lm"}),
    ((0x1, None), _C, {0: "pni", 1: "pclmulqdq", 9: "ssse3", 12: "fma", 13: "cx16", 19: "sse4_1", 20: "sse4_2", 22: "movbe", 23: "popcnt",
                       25: "aes", 26: "xsave", 28: "avx", 30: "rdrand"}),
    ((0x8000_0001, None), _C, {0: "lahf_lm", 5: "abm"}),
    ((0x7, 0), _B, {0: "fsgsbase", 3: "bmi1", 5: "avx2", 7: "smep", 8: "bmi2", 9: "erms", 18: "rdseed", 19: "adx", 20: "smap"}),
    ((0xD, 1), _A, {0: "xsaveopt", 1: "xsavec", 2: "xgetbv1", 3: "xsaves"}),
)  # fmt: skip


def _flags() -> str:
    """The features that CPUID tells of."""
    words = ((CPUID[leaf][register], names) for leaf, register, names in _FEATURES)
    return " ".join(name for word, names in words for bit, name in names.items() if word >> bit & 1)


def _x86_64() -> str:
    signature, sizes = CPUID[0x1, None][_A], CPUID[0x8000_0008, None][_A]
    family, model, stepping = signature >> 8 & 15, signature >> 12 & 0xF0 | signature >> 4 & 15, signature & 15
    brand = b"".join(struct.pack("<4I", *CPUID[0x8000_0002 + i, None]) for i in range(3)).rstrip(b"\0").decode()
    return (
        f"processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: {brand}\n"
        f"stepping\t: {stepping}\ncpu MHz\t\t: 1000.000\ncache size\t: 4096 KB\nphysical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\n"
        f"cpu cores\t: 1\nfpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: {CPUID[0x0, None][_A]}\nwp\t\t: yes\nflags\t\t: {_flags()}\n"
        f"bogomips\t: 2000.00\nclflush size\t: 64\ncache_alignment\t: 64\n"
        f"address sizes\t: {sizes & 0xFF} bits physical, {sizes >> 8 & 0xFF} bits virtual\npower management:\n\n"
    )


_ARM64: Final = (
    "processor\t: 0\nBogoMIPS\t: 100.00\nFeatures\t: fp asimd aes pmull sha1 sha2 crc32 atomics\nCPU implementer\t: 0x00\n"
    "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0x051\nCPU revision\t: 0\n\n"
)


def cpuinfo(k: Kernel) -> bytes:
    return (_ARM64 if k.arch == "arm64" else _x86_64()).encode()
