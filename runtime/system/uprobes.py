"""Breakpoints in the programs of a booted kernel: that kernel's own uprobes, with consumers of ours.

What is asked for before the command runs is registered as the command's process is about to execute it, by calls of the kernel's own
functions in its context (kern_path and uprobe_register, kernel/events/uprobes.c). All the rest is the kernel's work: private copies of the
pages, slots, single steps, trampolines. Its handlers are two functions of ours that return 0; who comes there is told by the consumer.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.calling import ARGUMENTS, RESULT
from pyprobe.runtime.system.breakpoints import KernelBreakpoints

if TYPE_CHECKING:
    from pyprobe.runtime.system.machine import SystemMachine

Handler = Callable[[], object]

_RETURN_0 = {"x86_64": bytes.fromhex("31c0c3"), "arm64": bytes.fromhex("00008052c0035fd6")}
_EXECVE = {"x86_64": "__x64_sys_execve", "arm64": "__arm64_sys_execve"}
_NEEDED = ("uprobe_register", "kern_path", "path_put")
_ALLOCATE = ("vmalloc", "vmalloc_noprof")
LOOKUP_FOLLOW = 1  # include/linux/namei.h
PATH_MAX = 4096
ENOTSUPP = 524  # the kernel's own, of no program's business
_DEEPEST = 64  # MAX_URETPROBE_DEPTH


class Consumer:
    """A place in a file, and what to call there and at the return of the function that begins there."""

    __slots__ = ("handler", "offset", "path", "ret_handler")

    def __init__(self, path: bytes, offset: int, handler: Handler | None, ret_handler: Handler | None) -> None:
        self.path = path
        self.offset = offset
        self.handler = handler
        self.ret_handler = ret_handler


class UprobeError(Exception):
    """The kernel refuses a probe, or has no uprobes. number: its errno."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"{reason} ({'ENOTSUPP' if number == ENOTSUPP else errno.errorcode.get(number, number)})")
        self.number = number


class KernelUprobes:
    """The uprobes of one machine.

    function: during a ret_handler, the address of the function that has returned. nmissed: returns that the kernel does not follow are not
    told to anybody, so that this is always 0.
    """

    nmissed = 0

    def __init__(self, machine: SystemMachine) -> None:
        self.machine = machine
        self.kernel = machine.description
        self.function = 0
        self._cpu = cpu = machine.processor
        self._arguments = [cpu.general_index(name) for name in ARGUMENTS[machine.arch]]
        self._consumers: list[Consumer] = []
        self._by_address: dict[int, Consumer] = {}
        self._calls: Generator[tuple[str | int, *tuple[int, ...]], int, None] | None = None
        self._start = 0, b""  # where the calls began: pc and registers
        self._task = 0
        self._prepared = False
        words = {name: index for name in cpu.pt_regs if 0 <= (index := self._index(name)) < len(cpu.general()) // 8}
        self._saved = sorted({index: cpu.pt_regs[name] // 8 for name, index in words.items()}.items())
        machine.shown_stack = self.shown

    def _index(self, name: str) -> int:
        try:
            return self._cpu.general_index(name)
        except KeyError:
            return -1

    def add(self, path: str, offset: int, handler: Handler | None, ret_handler: Handler | None) -> Consumer:
        """Have the handlers called, in the program's context. path: as the guest sees it; offset: in the file.

        Raises UprobeError: EBUSY once the command runs, EOPNOTSUPP in a kernel without uprobes or one that has not booted yet.
        """
        if self._calls is not None:
            raise UprobeError(errno.EBUSY, "uprobes of a booted kernel are registered before its command runs")
        if not self._prepared:
            self._prepare()
        consumer = Consumer(path.encode(errors="surrogateescape"), offset, handler, ret_handler)
        self._consumers.append(consumer)
        return consumer

    def remove(self, consumer: Consumer) -> None:
        """Call its handlers no more. Once the command runs, the kernel keeps the breakpoint."""
        self._consumers = [c for c in self._consumers if c is not consumer]
        self._by_address = {address: c for address, c in self._by_address.items() if c is not consumer}

    def _prepare(self) -> None:
        """Raises UprobeError."""
        symbols = self.kernel.symbols
        missing = [name for name in (*_NEEDED, _EXECVE[self.machine.arch]) if name not in symbols]
        if missing or not self.machine.ready:
            reason = f"this kernel has no {missing[0]}" if missing else "Linux has uprobes once it has booted"
            raise UprobeError(errno.EOPNOTSUPP, f"{reason}: leave out {'' if missing else '--boot, or '}--attach breakpoint")
        breakpoints = self.machine.kprobes.text.breakpoints  # type: ignore[attr-defined]  # of a booted kernel, it is a KernelCode
        assert isinstance(breakpoints, KernelBreakpoints)
        code = _RETURN_0[self.machine.arch]
        self._prepared = True
        self._handler, self._ret_handler, self._back = (breakpoints.code(code) for _ in range(3))
        attach = self.machine.functions.attach
        attach(self._handler, self._hit, exact=False)
        attach(self._ret_handler, self._returned, exact=False)
        attach(self._back, lambda: self._next(self._cpu.get(RESULT[self.machine.arch])), exact=False, ours=True)
        attach(symbols[_EXECVE[self.machine.arch]], self._begin, exact=False)

    # calls of the kernel's functions

    def _begin(self) -> None:
        """The command's process is about to execute it."""
        if self._calls is None:
            self._start = self._cpu.state.pc, self._cpu.general()
            self._task = self.machine.current_address()
            self._calls = self._register()
            self._call(*next(self._calls))

    def _next(self, result: int) -> None:
        """A call has returned. From the first one on the task is one of ours, so that no probe sees what it does for us."""
        assert self._calls is not None
        self.machine.hide(self._task, True)
        try:
            self._call(*self._calls.send(result))
        except StopIteration:
            self.machine.hide(self._task, False)
            self._cpu.go(*self._start)
        except UprobeError as error:
            self._cpu.fail(error)

    def _call(self, function: str | int, *arguments: int) -> None:
        words = bytearray(self._cpu.calling(self._start[1], self._back))
        for index, value in zip(self._arguments, arguments, strict=False):
            words[8 * index : 8 * index + 8] = struct.pack("<Q", value)
        self._cpu.go(self.kernel.symbols[function] if isinstance(function, str) else function, bytes(words))

    def _register(self) -> Generator[tuple[str | int, *tuple[int, ...]], int, None]:
        """What is to be called, with its arguments; is sent the results. Raises UprobeError."""
        kernel, write, word = self.kernel, self._cpu.write, self._cpu.number
        yield (self._handler,)  # see _next
        size = kernel.size("struct uprobe_consumer")
        handler, ret_handler = (kernel.offset("uprobe_consumer", name) for name in ("handler", "ret_handler"))
        length = PATH_MAX + 64 + size * len(self._consumers)
        memory = yield next(name for name in _ALLOCATE if name in kernel.symbols), length
        if not memory:
            raise UprobeError(errno.ENOMEM, "the kernel has no memory for uprobes")
        write(memory, bytes(length))
        path, consumers = memory + PATH_MAX, memory + PATH_MAX + 64
        more = (0,) if len(kernel.functions["uprobe_register"].parameters) > 3 else ()  # ref_ctr_offset, since Linux 6.11
        d_inode, d_op = kernel.offset("dentry", "d_inode"), kernel.offset("dentry", "d_op")
        d_real = kernel.offset("dentry_operations", "d_real")
        for number, consumer in enumerate(self._consumers):
            write(memory, consumer.path[: PATH_MAX - 1] + b"\0")
            if _failure((yield "kern_path", memory, LOOKUP_FOLLOW, path)):
                continue  # a file that is not there is never mapped
            dentry = word(path + kernel.offset("path", "dentry"))
            methods = word(dentry + d_op)
            real = word(methods + d_real) if methods else 0
            if real:
                dentry = yield real, dentry, 0
            address = consumers + size * number
            self._by_address[address] = consumer
            write(address + handler, struct.pack("<Q", self._handler if consumer.handler is not None else 0))
            write(address + ret_handler, struct.pack("<Q", self._ret_handler if consumer.ret_handler is not None else 0))
            failure = _failure((yield "uprobe_register", word(dentry + d_inode), consumer.offset, *more, address))
            if failure:
                where = f"{consumer.path.decode(errors='backslashreplace')}+{consumer.offset:#x}"
                raise UprobeError(failure, f"Could not add a breakpoint at {where}: the kernel refuses it")
            yield "path_put", path

    # hits

    def _hit(self) -> None:
        """handler(self, regs)"""
        self._tell(*self._passed(2))

    def _returned(self) -> None:
        """ret_handler(self, func, regs)"""
        consumer, self.function, regs = self._passed(3)
        self._tell(consumer, regs, returned=True)

    def _passed(self, count: int) -> list[int]:
        words = struct.unpack(f"<{len(self._cpu.general()) // 8}Q", self._cpu.general())
        return [words[index] for index in self._arguments[:count]]

    def _tell(self, address: int, regs: int, *, returned: bool = False) -> None:
        """Call a consumer's handler with the program's registers in their places; what it changes, the program gets."""
        consumer = self._by_address.get(address)
        handler = (consumer.ret_handler if returned else consumer.handler) if consumer is not None else None
        cpu, state = self._cpu, self._cpu.state
        place = cpu.pt_regs["pc"]
        saved = cpu.read(regs, 8 * (max(place // 8, *(at for _, at in self._saved)) + 1))
        if handler is None or saved is None:
            return
        before, pc = cpu.general(), state.pc
        words, inside = bytearray(before), bytearray(saved)
        for index, at in self._saved:
            words[8 * index : 8 * index + 8] = saved[8 * at : 8 * at + 8]
        cpu.set_general(bytes(words))
        state.pc = int.from_bytes(saved[place : place + 8], "little")
        functions = self.machine.functions
        functions.in_program = True
        try:
            handler()
        finally:
            functions.in_program = False
            after = cpu.general()
            cpu.set_general(before)
            state.pc = pc
            if after != words:
                for index, at in self._saved:
                    inside[8 * at : 8 * at + 8] = after[8 * index : 8 * index + 8]
                cpu.write(regs, bytes(inside))

    # stacks

    def shown(self, addresses: list[int], entry: bool) -> list[int]:
        """A program's stack, innermost first, with the real return addresses in place of trampolines.

        entry: a function's first instruction is about to execute. Elsewhere a stack leaves out what is not in a frame yet.
        """
        machine, kernel, word = self.machine, self.kernel, self._cpu.number
        task = machine.current_address()
        utask, mm = (word(task + kernel.offset("task_struct", name)) for name in ("utask", "mm"))
        area = word(mm + kernel.offset("mm_struct", "uprobes_state") + kernel.offset("uprobes_state", "xol_area")) if mm else 0
        trampoline = word(area + kernel.offset("xol_area", "vaddr")) if area else 0
        if not utask or not trampoline or trampoline not in addresses:
            return addresses
        after, address, chained, stack = (kernel.offset("return_instance", n) for n in ("next", "orig_ret_vaddr", "chained", "stack"))
        current = machine.current
        sp = machine.programs.saved(current, "sp") + int(not entry) if current is not None else 0
        real: list[int] = []
        at = word(utask + kernel.offset("uprobe_task", "return_instances"))
        for _ in range(_DEEPEST):
            if not at:
                break
            if not word(at + chained) & 0xFF and word(at + stack) >= sp:
                real.append(word(at + address))
            at = word(at + after)
        return [real.pop(0) if a == trampoline and real else a for a in addresses]


def _failure(result: int) -> int:
    """The errno that a function's result is, as int or as a pointer (include/linux/err.h); 0 for success."""
    small = result & 0xFFFF_FFFF
    for value, bits in ((result, 64), (small, 32)):
        if value >= (1 << bits) - 4095 and (bits == 64 or result == small):
            return (1 << bits) - value
    return 0
