"""What Linux promises to programs of each architecture: the numbers exec and signals need, as data.

Sources: arch/*/include/asm/elf.h, arch/*/include/asm/processor.h, arch/*/include/uapi/asm/{hwcap,sigcontext,ucontext}.h.
"""

from __future__ import annotations

from typing import NamedTuple

EM_X86_64, EM_AARCH64 = 62, 183


class Abi(NamedTuple):
    """One architecture as user space sees it.

    machine: what uname -m shows; platform: AT_PLATFORM; e_machine: of its ELF files.
    hwcap, hwcap2: AT_HWCAP and AT_HWCAP2, matching the emulated CPU. minsigstksz: AT_MINSIGSTKSZ.
    top: end of user space. pie_base: where position independent programs go without address randomisation.
    file_zone: where mapped files get their machine-wide addresses [low, high). mmap_base: other mappings go below it; the first of them
    hold what threads keep for themselves, so their pages have other low numbers than the stack has, by which they are told.
    syscall_length: bytes of the system call instruction; restart_register: the one that must be put back to make a call again.
    """

    name: str
    machine: bytes
    platform: bytes
    e_machine: int
    hwcap: int
    hwcap2: int
    minsigstksz: int
    top: int
    pie_base: int
    file_zone: tuple[int, int]
    mmap_base: int
    syscall_length: int
    legacy_calls: bool


X86_64 = Abi(
    name="x86_64",
    machine=b"x86_64",
    platform=b"x86_64",
    e_machine=EM_X86_64,
    hwcap=0x078BFBFD,  # CPUID.1:EDX of the emulated CPU
    hwcap2=0,
    minsigstksz=2048,
    top=0x7FFF_FFFF_F000,
    pie_base=0x5555_5555_4000,
    file_zone=(0x7FE0_0000_0000, 0x7FFF_F7FF_E000),
    mmap_base=0x7FDF_FFFD_0000,
    syscall_length=2,
    legacy_calls=True,
)

ARM64 = Abi(
    name="arm64",
    machine=b"aarch64",
    platform=b"aarch64",
    e_machine=EM_AARCH64,
    hwcap=0x1FB,  # what the emulated CPU executes: fp asimd aes pmull sha1 sha2 crc32 atomics
    hwcap2=0,
    minsigstksz=4720,
    top=0x7FFF_FFFF_F000,
    pie_base=0x5555_5555_0000,
    file_zone=(0x7FE0_0000_0000, 0x7FFF_F7FF_E000),
    mmap_base=0x7FDF_FFFD_0000,
    syscall_length=4,
    legacy_calls=False,
)

ABIS = {abi.name: abi for abi in (X86_64, ARM64)}
BY_MACHINE = {abi.e_machine: abi for abi in (X86_64, ARM64)}

# Registers in the order of struct sigcontext (names as `reg()` of the probe language has them).
SIGCONTEXT_X86_64 = (
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "di", "si", "bp", "bx", "dx", "ax", "cx", "sp", "ip", "flags",
)  # fmt: skip
SIGCONTEXT_ARM64 = (*(f"r{i}" for i in range(31)), "sp", "pc", "pstate")
