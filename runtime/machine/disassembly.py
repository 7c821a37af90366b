"""Machine code as instructions: boundaries inside a function, where code falls through, listings for people.

Capstone does the decoding; it is imported when something is decoded first (60 ms).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

ALIGNMENT = {"x86_64": 1, "arm64": 4}
LONGEST = {"x86_64": 15, "arm64": 4}  # bytes of the longest instruction

# Mnemonics after which execution does not go on with the next instruction, beyond Capstone's groups of jumps and returns
_ENDS = {"x86_64": frozenset({"call", "jmp", "ljmp", "notrack jmp", "bnd jmp", "ret", "retf", "iretq", "hlt", "ud0", "ud1", "ud2", "int3"}),
         "arm64": frozenset({"bl", "blr", "b", "br", "ret", "eret", "udf", "brk", "hlt", "braa", "brab", "retaa", "retab"})}  # fmt: skip
_PADDING = {"x86_64": frozenset({"nop", "int3", "endbr64", "data16", "xchg"}), "arm64": frozenset({"nop", "udf", "bti"})}


_BRANCHES = {"x86_64": ("j", "call", "ret", "loop", "ljmp", "lcall"),
             "arm64": ("b", "bl", "blr", "br", "ret", "cbz", "cbnz", "tbz", "tbnz")}  # fmt: skip


_PREFIXES = frozenset({"lock", "xacquire", "xrelease", "rep", "repne", "data16"})
_REWRITES = {"x86_64": frozenset({"adc", "add", "and", "btc", "btr", "bts", "cmpxchg", "cmpxchg16b", "cmpxchg8b", "dec", "inc", "neg",
                                  "not", "or", "rcl", "rcr", "rol", "ror", "sal", "sar", "sbb", "shl", "shld", "shr", "shrd", "sub",
                                  "xadd", "xchg", "xor"}),
             "arm64": frozenset({f"st{release}x{what}" for release in ("", "l") for what in ("p", "r", "rb", "rh")})}  # fmt: skip


class Instruction:
    """`address`, raw `code` and its text."""

    __slots__ = ("address", "code", "mnemonic", "operands")

    def __init__(self, address: int, code: bytes, mnemonic: str, operands: str) -> None:
        self.address = address
        self.code = code
        self.mnemonic = mnemonic
        self.operands = operands

    def __str__(self) -> str:
        return f"{self.mnemonic} {self.operands}".rstrip()


@cache
def _decoder(arch: str) -> Any:
    import capstone

    if arch == "arm64":
        return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    return capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)


def instructions(arch: str, code: bytes, address: int) -> Iterator[Instruction]:
    """The instructions of `code`, which begins at `address`. Bytes that are no instruction come as `.byte` (x86) or `.word` (arm64)."""
    decoder, at, step = _decoder(arch), 0, ALIGNMENT[arch]
    while at < len(code):
        for _, size, mnemonic, operands in decoder.disasm_lite(code[at:], address + at):
            yield Instruction(address + at, code[at : at + size], mnemonic, operands)
            at += size
        if at < len(code):
            raw = code[at : at + step]
            yield Instruction(address + at, raw, ".byte" if step == 1 else ".word", f"{int.from_bytes(raw, 'little'):#0{2 + 2 * step}x}")
            at += step


def first(arch: str, code: bytes) -> tuple[bytes, str] | None:
    """The instruction that `code` begins with, as if at address 0: its bytes and its text. None where there is none."""
    for _, size, mnemonic, operands in _decoder(arch).disasm_lite(code[: LONGEST[arch]], 0, 1):
        return code[:size], f"{mnemonic} {operands}".rstrip()
    return None


def rewrites(arch: str, code: bytes) -> bool:
    """Whether the instruction that `code` begins with is a store for which the place is read first: x86's of a destination that is also a
    source (Intel SDM, volume 2), and on arm64 store-exclusive, which an emulator makes of a comparison."""
    mnemonic, _, operands = (first(arch, code) or (b"", ""))[1].partition(" ")
    while mnemonic in _PREFIXES:
        mnemonic, _, operands = operands.partition(" ")
    return mnemonic in _REWRITES[arch] and (arch == "arm64" or "[" in operands.partition(",")[0])


def is_boundary(arch: str, code: bytes, offset: int) -> bool:
    """Whether an instruction begins at `offset` in a function whose machine code is `code`."""
    if arch == "arm64":
        return offset % 4 == 0
    return any(i.address == offset for i in instructions(arch, code[: offset + LONGEST[arch]], 0))


def falls_through(arch: str, code: bytes) -> bool:
    """Whether execution can run off the end of `code` into what follows it: its last instruction that is no padding does not leave.

    A call at the end is one that never returns: compilers leave no other there, and what follows a call that does return begins a
    translation block anyway.
    """
    last, at, padding = "", 0, _PADDING[arch]
    while at < len(code):
        for _, size, mnemonic, _ in _decoder(arch).disasm_lite(code[at:], at):
            at += size
            if mnemonic not in padding:
                last = mnemonic
        if at < len(code):  # no instruction
            last = "?"
            at += ALIGNMENT[arch]
    return last != "" and last not in _ENDS[arch]


def is_branch(arch: str, code: bytes) -> bool:
    """Whether an instruction may go elsewhere than on: jumps, calls and returns, taken or not."""
    first = next(instructions(arch, code, 0), None)
    if first is None:
        return False
    mnemonic = first.mnemonic.rsplit(" ", 1)[-1]  # without prefixes
    if arch == "x86_64":
        return mnemonic.startswith(_BRANCHES[arch])
    return mnemonic in _BRANCHES[arch] or mnemonic.startswith("b.")


def listing(
    arch: str, code: bytes, address: int, current: int, *, before: int = 3, after: int = 3, name: Callable[[int], str] = lambda address: ""
) -> list[str]:
    """Lines of disassembly around the instruction at `current`, which an arrow marks.

    `code` should begin at an instruction, as a function does. before, after: how many instructions; name: what to call an address, or "".
    """
    found = list(instructions(arch, code, address))
    place = next((n for n, i in enumerate(found) if i.address + len(i.code) > current), len(found))
    lines = []
    for i in found[max(0, place - before) : place + after + 1]:
        arrow = " => " if i.address <= current < i.address + len(i.code) else "    "
        label = name(i.address)
        lines.append(f"{arrow}{i.address:#x}{f' <{label}>' if label else ''}: {i}")
    return lines
