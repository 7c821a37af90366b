"""The kernel's stack on x86-64, by the tables that objtool makes for it (ORC: Documentation/arch/x86/orc-unwinder.rst).

For each range of instructions a table tells where the caller's stack pointer and frame pointer are. The steps are those of
`unwind_next_frame` in arch/x86/kernel/unwind_orc.c.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.system.metadata.btf import STRUCT

if TYPE_CHECKING:
    from pyprobe.runtime.system.description import SystemDescription
    from pyprobe.runtime.system.modules import Modules

Word = Callable[[int], int]

_ENTRY = 6  # bytes of struct orc_entry
UNDEFINED, PREV_SP, DX, DI, BP, SP, R10, R13, BP_INDIRECT, SP_INDIRECT, AX = range(11)
_UNUSED = (UNDEFINED,) * 5
_REGISTERS = (UNDEFINED, PREV_SP, DX, DI, BP, SP, R10, R13, BP_INDIRECT, SP_INDIRECT, *_UNUSED, UNDEFINED)
_NEW_REGISTERS = (UNDEFINED, AX, DX, SP, BP, DI, R10, R13, PREV_SP, SP_INDIRECT, BP_INDIRECT, *_UNUSED)
"""By their numbers (ORC_REG_). There are two orders, and only the tables themselves tell which: nearly everything in them is relative to
SP."""
END, CALL, REGS, PARTIAL = range(4)  # what kind of frame
_OLD_KINDS = (CALL, REGS, PARTIAL, END)  # UNWIND_HINT_TYPE_ before Linux 6.4
_KINDS = (END, END, CALL, REGS, PARTIAL, END, END, END)  # ORC_TYPE_
_BASES = {AX: "ax", DX: "dx", DI: "di", R10: "r10", R13: "r13"}
_PT_REGS = {"r13": 16, "bp": 32, "r10": 56, "ax": 80, "dx": 96, "di": 112, "ip": 128, "cs": 136, "sp": 152}  # offsets in struct pt_regs
_IRET = _PT_REGS["ip"]  # where in it begins what an exception itself has pushed
_USER = 3  # the privilege level in cs


class Step(NamedTuple):
    """How to come from an instruction to its caller: an entry of the tables."""

    kind: int
    sp_register: int
    sp_offset: int
    bp_register: int
    bp_offset: int


GUESS = Step(CALL, BP, 16, PREV_SP, -16)
"""For code that no table knows: it may have a frame (orc_fp_entry)."""


class Table(NamedTuple):
    """Tables of a part of the code, start to end. places: address of the first of `addresses`, each of which is relative to its own
    place; entries: struct orc_entry for each."""

    start: int
    end: int
    places: int
    addresses: memoryview
    entries: bytes


class Orc:
    """The tables of a kernel. Modules' can be added to `tables`.

    old: struct orc_entry is that of before Linux 6.4.
    """

    def __init__(self, old: bool) -> None:
        self.tables: list[Table] = []
        self._old = old
        self._registers = _REGISTERS
        self._known: dict[int, Step | None] = {}
        self._modules = 0  # how many of them were looked at

    @classmethod
    def of(cls, kernel: SystemDescription) -> Orc:
        """Those of the kernel's image; without any when it was built without them."""
        number = kernel.facts.btf.find("orc_entry", STRUCT)
        found = cls(bool(number) and any(m.name == "end" for m in kernel.facts.btf.members(number)))
        names = ("__start_orc_unwind_ip", "__stop_orc_unwind_ip", "__start_orc_unwind")
        if all(name in kernel.symbols for name in names):
            first, last, entries = (kernel.symbols[name] for name in names)
            count = (last - first) // 4
            found.add(first, kernel.code(first, 4 * count), kernel.code(entries, _ENTRY * count))
        return found

    def add(self, places: int, addresses: bytes, entries: bytes) -> None:
        """Tables as they lie in memory, sorted; places: where `addresses` lie."""
        if addresses and not self.tables:
            most = Counter(low & 15 for low in entries[4::_ENTRY]).most_common()
            orders = (order for number, _ in most for order in (_REGISTERS, _NEW_REGISTERS) if order[number] == SP)
            self._registers = next(orders, _REGISTERS)
        if addresses:
            words = memoryview(addresses).cast("i")
            last = len(words) - 1
            self.tables.append(Table(places + words[0], places + 4 * last + words[last] + 1, places, words, entries))
            self._known.clear()

    def follow(self, modules: Modules) -> None:
        """Add the tables of modules that were loaded since, in a kernel that has any."""
        for module in modules.found[self._modules :] if self.tables else ():
            arch = module.address + modules.offset("arch")
            members = ("num_orcs", "orc_unwind_ip", "orc_unwind")
            count, ips, entries = (modules.number(arch + modules.kernel.offset("mod_arch_specific", name)) for name in members)
            count &= 0xFFFF_FFFF
            self.add(ips, modules.read(ips, 4 * count) or b"", modules.read(entries, _ENTRY * count) or b"")
        self._modules = len(modules.found)

    def step(self, address: int) -> Step | None:
        """The entry for an instruction, None where no table has one."""
        try:
            return self._known[address]
        except KeyError:
            found = self._known[address] = self._find(address)
            return found

    def _find(self, address: int) -> Step | None:
        holding = (t for t in reversed(self.tables) if t.start <= address < t.end)
        for _, end, places, words, entries in holding:
            low, high = 0, len(words)
            while high - low > 1:
                middle = (low + high) // 2
                if places + 4 * middle + words[middle] <= address:
                    low = middle
                else:
                    high = middle
            if address < end:
                return self._decode(entries[_ENTRY * low : _ENTRY * low + _ENTRY])
        return None

    def _decode(self, entry: bytes) -> Step:
        bits = int.from_bytes(entry[4:], "little")
        sp, bp = (int.from_bytes(entry[at : at + 2], "little", signed=True) for at in (0, 2))
        if self._old:
            kind = _OLD_KINDS[bits >> 8 & 3]
        else:
            kind = _KINDS[bits >> 8 & 7]
        return Step(kind, self._registers[bits & 15], sp, self._registers[bits >> 4 & 15], bp)

    def unwind(self, register: Callable[[str], int], word: Word, limit: int) -> tuple[int, ...]:
        """The instruction that is about to execute and the return addresses on the stack, innermost first, at most `limit`.

        register: of the processor, which is in the kernel. word: reads memory, 0 where nothing is.
        """
        ip, sp, bp = register("ip"), register("sp"), register("bp")
        saved: Callable[[str], int] | None = register  # other registers, as far as they are known
        frames = [ip]
        exact = True  # `ip` is an instruction that is about to execute, not one behind a call
        while len(frames) < limit:
            kind, base, offset, bp_base, bp_offset = self.step(ip if exact else ip - 1) or GUESS
            if base in (SP, SP_INDIRECT):
                at = sp
            elif base in (BP, BP_INDIRECT):
                at = bp
            elif base in _BASES and saved is not None:
                at = saved(_BASES[base])
            else:
                break
            if base == SP_INDIRECT:
                at = word(at) + offset
            elif base == BP_INDIRECT:
                at = word(at + offset)
            else:
                at += offset
            before, frame = sp, 0
            exact = kind in (REGS, PARTIAL)
            if kind == CALL:
                ip, sp = word(at - 8), at
            elif exact:
                frame = at if kind == REGS else at - _IRET
                if word(frame + _PT_REGS["cs"]) & _USER:
                    break
                ip, sp = word(frame + _PT_REGS["ip"]), word(frame + _PT_REGS["sp"])
            else:
                break
            if bp_base == PREV_SP:
                bp = word(sp + bp_offset)
            elif bp_base == BP:
                bp = word(bp + bp_offset)
            elif kind == REGS:
                bp = word(frame + _PT_REGS["bp"])
            saved = _saved(word, frame) if kind == REGS else None
            if not ip >> 63 or (sp <= before and sp >> 14 == before >> 14):
                break
            frames.append(ip)
        return tuple(frames)


def _saved(word: Callable[[int], int], frame: int) -> Callable[[str], int]:
    return lambda name: word(frame + _PT_REGS[name])

