"""struct kprobe and struct kretprobe with the functions that register them, by the rules of kernel/kprobes.c.

Errors are the kernel's errno values, raised as KprobeError. `fault_handler`, which Linux 5.14 removed, is called as before: when the probed
instruction faults, and when a handler of the probe reads memory that is not there.
"""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from pyprobe.runtime.kprobes.registers import PtRegs
from pyprobe.runtime.kprobes.text import PAGE_FAULT, EmulatedKernel, Text, hooked
from pyprobe.runtime.machine.displaced import Refused
from pyprobe.runtime.machine.memory import MemoryFault

KPROBE_FLAG_GONE, KPROBE_FLAG_DISABLED, KPROBE_FLAG_OPTIMIZED, KPROBE_FLAG_FTRACE, KPROBE_FLAG_ON_FUNC_ENTRY = 1, 2, 4, 8, 16
KRETPROBE_MAX_DATA_SIZE = 4096
DEFAULT_MAXACTIVE = 10  # max(10, 2 * num_possible_cpus()), with one processor

PreHandler = Callable[["Kprobe", PtRegs], int | None]
PostHandler = Callable[["Kprobe", PtRegs, int], object]
FaultHandler = Callable[["Kprobe", PtRegs, int], int | None]
ReturnHandler = Callable[["KretprobeInstance", PtRegs], int | None]


class KprobeError(OSError):
    """A probe that cannot be registered. number: the kernel's errno, as `errno` holds it too."""

    def __init__(self, number: int, reason: str = "") -> None:
        super().__init__(number, reason or os.strerror(number))
        self.number = number


class Kprobe:
    """struct kprobe.

    symbol_name and offset, or addr: where. pre_handler(p, regs): before the instruction; a value other than 0 means that it has
    set the instruction pointer, and the instruction is not executed. post_handler(p, regs, flags): after it; flags is 0.
    fault_handler(p, regs, trapnr): a value other than 0 means that the fault is dealt with and the instruction is tried again.
    nmissed: hits while a handler ran. flags: KPROBE_FLAG_DISABLED may be set before registering.
    """

    def __init__(
        self,
        *,
        symbol_name: str | None = None,
        offset: int = 0,
        addr: int = 0,
        pre_handler: PreHandler | None = None,
        post_handler: PostHandler | None = None,
        fault_handler: FaultHandler | None = None,
        flags: int = 0,
    ) -> None:
        self.symbol_name = symbol_name
        self.offset = offset
        self.addr = addr
        self.pre_handler = pre_handler
        self.post_handler = post_handler
        self.fault_handler = fault_handler
        self.flags = flags
        self.nmissed = 0


def kprobe_disabled(p: Kprobe) -> bool:
    """Whether the probe is disabled."""
    return bool(p.flags & KPROBE_FLAG_DISABLED)


class KretprobeInstance:
    """struct kretprobe_instance: one call of a probed function. data: `data_size` bytes of the user's own.

    function: its address; followed: whether somebody is told of the return.
    """

    __slots__ = ("data", "followed", "function", "ret_addr", "rp", "task")

    def __init__(self, rp: Kretprobe, task: Hashable, data_size: int) -> None:
        self.rp = rp
        self.function = rp.kp.addr
        self.followed = False
        self.task = task
        self.ret_addr = 0
        self.data = bytearray(data_size)


class Kretprobe:
    """struct kretprobe.

    kp, or the arguments that make one: the function. handler(ri, regs): when it has returned; entry_handler(ri, regs): when it is entered;
    a value other than 0 means that this return is of no interest. maxactive: calls that can be followed at once, 0 for the usual number;
    nmissed: those that could not.
    """

    def __init__(
        self,
        *,
        handler: ReturnHandler | None = None,
        entry_handler: ReturnHandler | None = None,
        maxactive: int = 0,
        data_size: int = 0,
        kp: Kprobe | None = None,
        symbol_name: str | None = None,
        offset: int = 0,
        addr: int = 0,
    ) -> None:
        self.kp = kp if kp is not None else Kprobe(symbol_name=symbol_name, offset=offset, addr=addr)
        self.handler = handler
        self.entry_handler = entry_handler
        self.maxactive = maxactive
        self.data_size = data_size
        self.nmissed = 0
        self.free = 0


class Aggregate:
    """The probes at one address, in the order they were registered."""

    def __init__(self, owner: Kprobes, address: int) -> None:
        self.owner = owner
        self.address = address
        self.probes: list[Kprobe] = []
        self.armed = False
        self.posts = False  # armed with a post handler
        self.regs = owner.text.regs
        self.values = vars(self.regs)  # past its checks, which cost more than the rest
        self.trapped = address + owner.text.advance  # as the exception leaves the pointer, which handlers see

    def hit(self) -> int | None:
        """Call the pre handlers (aggr_pre_handler); where to go on if one of them says so."""
        owner, regs = self.owner, self.regs
        if owner.running is not None:
            for p in self.probes:
                p.nmissed += 1
            return None
        owner.running = self
        self.values["pointer"] = self.trapped
        try:
            for p in self.probes:
                if p.pre_handler is None or p.flags & KPROBE_FLAG_DISABLED:
                    continue
                try:
                    if p.pre_handler(p, regs):
                        return regs.pointer
                except MemoryFault:
                    if p.fault_handler is None or not p.fault_handler(p, regs, PAGE_FAULT[owner.text.arch]):
                        raise
        finally:
            owner.running = None
        return None

    def post(self) -> None:
        """Call the post handlers (aggr_post_handler)."""
        owner = self.owner
        if owner.running is not None:
            return
        owner.running = self
        try:
            for p in self.probes:
                if p.post_handler is not None and not kprobe_disabled(p):
                    p.post_handler(p, owner.text.regs, 0)
        finally:
            owner.running = None

    def fault(self, number: int) -> bool:
        """The instruction has faulted: whether a fault handler has dealt with it."""
        regs = self.owner.text.regs
        return any(p.fault_handler is not None and not kprobe_disabled(p) and p.fault_handler(p, regs, number) for p in self.probes)


class Kprobes:
    """The probes in one text.

    running: whose handlers run, for which other probes are missed meanwhile.
    """

    def __init__(self, text: Text) -> None:
        self.text = text
        self.table: dict[int, Aggregate] = {}
        self.running: Aggregate | Kprobes | None = None
        self.rps: dict[int, list[Kretprobe]] = {}  # by address
        self._instances: dict[Hashable, list[KretprobeInstance]] = {}  # by task, newest last
        text.on_task_gone(self._flush)
        text.on_code_gone(self._kill)

    # kprobes

    def register_kprobe(self, p: Kprobe) -> None:
        """Plant a probe. Raises KprobeError:

        EINVAL: symbol and address, or neither, are given; registered already; not in a function, blacklisted, or an instruction that cannot
        be displaced. ENOENT: no such symbol. EILSEQ: not the beginning of an instruction.
        """
        if (p.symbol_name and p.addr) or not (p.symbol_name or p.addr):
            raise KprobeError(errno.EINVAL, "either a symbol or an address must be given")
        if self._registered(p):
            raise KprobeError(errno.EINVAL, "the probe is registered already")
        address = p.addr
        if p.symbol_name:
            address = self.text.lookup(p.symbol_name)
            if not address:
                raise KprobeError(errno.ENOENT, f"no symbol {p.symbol_name}")
        address += p.offset
        try:
            self.text.check(address)
            if p.flags & KPROBE_FLAG_DISABLED:
                self.text.prepare(address)
            p.addr = address
            p.flags &= KPROBE_FLAG_DISABLED
            p.nmissed = 0
            found = self.text.function(address)
            if found is not None and found[1] == address:
                p.flags |= KPROBE_FLAG_ON_FUNC_ENTRY
            aggregate = self.table.get(address) or Aggregate(self, address)
            aggregate.probes.append(p)
            self.table[address] = aggregate
            self._update(aggregate)
        except Refused as error:
            self._drop(p, address)
            raise KprobeError(error.errno, error.reason) from None

    def unregister_kprobe(self, p: Kprobe) -> None:
        """Take a probe away; nothing happens if it is not registered."""
        if self._registered(p):
            self._drop(p, p.addr)

    def register_kprobes(self, ps: Sequence[Kprobe]) -> None:
        """Plant all of the probes, or none. Raises KprobeError."""
        _all(ps, self.register_kprobe, self.unregister_kprobes)

    def unregister_kprobes(self, ps: Iterable[Kprobe]) -> None:
        """Take probes away."""
        for p in ps:
            self.unregister_kprobe(p)

    def enable_kprobe(self, p: Kprobe) -> None:
        """Have the probe's handlers called again. Raises KprobeError(EINVAL) if it is not registered."""
        self._switch(p, 0)

    def disable_kprobe(self, p: Kprobe) -> None:
        """Have the probe's handlers called no more; without other probes there, the instruction is put back."""
        self._switch(p, KPROBE_FLAG_DISABLED)

    def _switch(self, p: Kprobe, flag: int) -> None:
        if not self._registered(p):
            raise KprobeError(errno.EINVAL, "the probe is not registered")
        p.flags = p.flags & ~KPROBE_FLAG_DISABLED | flag
        self._update(self.table[p.addr])

    def _registered(self, p: Kprobe) -> bool:
        aggregate = self.table.get(p.addr)
        return aggregate is not None and any(q is p for q in aggregate.probes)

    def _drop(self, p: Kprobe, address: int) -> None:
        if p.symbol_name:
            p.addr = 0
        aggregate = self.table.get(address)
        if aggregate is None:
            return
        aggregate.probes = [q for q in aggregate.probes if q is not p]
        self._update(aggregate)
        if not aggregate.probes:
            del self.table[address]

    def _update(self, aggregate: Aggregate) -> None:
        """Make the breakpoint fit the probes: there is one while any of them is enabled, which stops after the instruction if one asks."""
        enabled = posts = False
        for p in aggregate.probes:
            if not p.flags & KPROBE_FLAG_DISABLED:
                enabled = True
                posts = posts or p.post_handler is not None
        if aggregate.armed and (not enabled or posts != aggregate.posts):
            self.text.disarm(aggregate.address)
            aggregate.armed = False
        if enabled and not aggregate.armed:
            self.text.arm(aggregate.address, aggregate.hit, aggregate.post if posts else None, aggregate.fault)
            aggregate.armed, aggregate.posts = True, posts

    def _kill(self, gone: Callable[[int], bool]) -> None:
        """kill_kprobe: the code of a module goes, and what stands there with it, for good."""
        for address in [a for a in self.table if gone(a)]:
            aggregate = self.table.pop(address)
            if aggregate.armed:
                self.text.disarm(address)
            for p in aggregate.probes:
                p.flags |= KPROBE_FLAG_GONE

    # kretprobes

    def register_kretprobe(self, rp: Kretprobe) -> None:
        """Follow a function to its return. Raises KprobeError:

        as register_kprobe, and EINVAL: not a function's entry; E2BIG: data_size is too large.
        """
        kp = rp.kp
        if (kp.symbol_name and kp.addr) or not (kp.symbol_name or kp.addr):
            raise KprobeError(errno.EINVAL, "either a symbol or an address must be given")
        address = self.text.lookup(kp.symbol_name) if kp.symbol_name else kp.addr
        if not address:
            raise KprobeError(errno.ENOENT, f"no symbol {kp.symbol_name}")
        found = self.text.function(address + kp.offset)
        if found is None or found[1] != address + kp.offset:
            raise KprobeError(errno.EINVAL, "a return probe must be at a function's entry")
        if rp.data_size > KRETPROBE_MAX_DATA_SIZE:
            raise KprobeError(errno.E2BIG)
        if rp.maxactive <= 0:
            rp.maxactive = DEFAULT_MAXACTIVE
        rp.nmissed = 0
        rp.free = rp.maxactive
        kp.pre_handler = lambda p, regs: self._entered(rp, regs)
        kp.post_handler = kp.fault_handler = None
        self.register_kprobe(kp)
        self.rps.setdefault(kp.addr, []).append(rp)
        emulated = hooked(self.text)
        if emulated is not None:
            address = kp.addr
            emulated.on_exit(address, lambda: self._exited(emulated, address))

    def unregister_kretprobe(self, rp: Kretprobe) -> None:
        """Follow it no more; calls that have not returned yet do so unseen."""
        address = rp.kp.addr
        if any(r is rp for r in self.rps.get(address, ())):
            self.rps[address] = [r for r in self.rps[address] if r is not rp]
            self.unregister_kprobe(rp.kp)
            rp.handler = None

    def register_kretprobes(self, rps: Sequence[Kretprobe]) -> None:
        """Follow all of the functions, or none. Raises KprobeError."""
        _all(rps, self.register_kretprobe, self.unregister_kretprobes)

    def unregister_kretprobes(self, rps: Iterable[Kretprobe]) -> None:
        """Follow them no more."""
        for rp in rps:
            self.unregister_kretprobe(rp)

    def enable_kretprobe(self, rp: Kretprobe) -> None:
        """As enable_kprobe."""
        self.enable_kprobe(rp.kp)

    def disable_kretprobe(self, rp: Kretprobe) -> None:
        """As disable_kprobe."""
        self.disable_kprobe(rp.kp)

    def _entered(self, rp: Kretprobe, regs: PtRegs) -> int:
        """pre_handler_kretprobe: the function is entered."""
        task = self.text.task()
        instances = self._instances.setdefault(task, [])
        instance = KretprobeInstance(rp, task, rp.data_size)
        if not rp.free:
            rp.nmissed += 1
        elif rp.entry_handler is None or not rp.entry_handler(instance, regs):
            rp.free -= 1
            instance.followed = True
        if hooked(self.text) is not None:
            instances.append(instance)
        elif instance.followed:
            instance.ret_addr = self.text.divert_return(self._returned)
            instances.append(instance)
        return 0

    def _flush(self, task: Hashable) -> None:
        """kprobe_flush_task: what was followed of a task that is gone will never return."""
        for instance in self._instances.pop(task, ()):
            if instance.followed:
                instance.rp.free += 1

    def _returned(self) -> int:
        """__kretprobe_trampoline_handler: where the function really returns to."""
        instances = self._instances.get(self.text.task(), [])
        chain: list[KretprobeInstance] = []
        while instances:
            chain.append(instances.pop())
            if not self.text.returns_here(chain[-1].ret_addr):
                break
        if not chain:
            raise KprobeError(errno.EFAULT, "kretprobe: return address not found, not execute handler")
        target = chain[-1].ret_addr
        self.text.returning(target)
        self._run(chain, target)
        return target

    def _exited(self, text: EmulatedKernel, address: int) -> None:
        """A hooked function has returned: its probes, newest first."""
        instances = self._instances.get(text.task(), [])
        chain: list[KretprobeInstance] = []
        while instances and instances[-1].function == address and all(i.rp is not instances[-1].rp for i in chain):
            chain.append(instances.pop())
        self._run([i for i in chain if i.followed], 0)

    def _run(self, chain: list[KretprobeInstance], target: int) -> None:
        outer, self.running = self.running, self
        try:
            for instance in chain:
                instance.ret_addr = target
                instance.rp.free += 1
                if instance.rp.handler is not None:
                    instance.rp.handler(instance, self.text.regs)
        finally:
            self.running = outer

    def real_stack(self, addresses: list[int]) -> list[int]:
        """A stack, innermost first, with the real return addresses where there are trampolines (kretprobe_find_ret_addr)."""
        followed = [i for i in self._instances.get(self.text.task(), []) if not self.text.returns_here(i.ret_addr)]
        return [followed.pop().ret_addr if self.text.returns_here(a) and followed else a for a in addresses]

    # what there is

    def shown(self) -> list[str]:
        """Lines as /sys/kernel/debug/kprobes/list has them: address, k or r, function+offset, flags."""
        lines = []
        for address in sorted(self.table):
            found = self.text.function(address)
            name = f"{found[0]}+{address - found[1]:#x}" if found else f"{address:#x}"
            for p in self.table[address].probes:
                kind = "r" if any(r.kp is p for r in self.rps.get(address, ())) else "k"
                lines.append(f"{address:016x}  {kind}  {name}    {'[DISABLED]' if kprobe_disabled(p) else ''}".rstrip())
        return lines


def _all(items: Sequence[Any], register: Callable[[Any], None], unregister: Callable[[Sequence[Any]], None]) -> None:
    if not items:
        raise KprobeError(errno.EINVAL, "there are no probes")
    collecting = gc.isenabled()
    gc.disable()  # nothing of what is made here is garbage, and looking through it again and again is most of the time for thousands
    try:
        for n, item in enumerate(items):
            try:
                register(item)
            except KprobeError:
                unregister(items[:n])
                raise
    finally:
        if collecting:
            gc.enable()
