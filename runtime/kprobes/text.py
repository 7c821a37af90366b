"""What kprobes are planted in: code with symbols.

`Code` is real machine code with breakpoints, in one address space. `EmulatedKernel` is the kernel of the user machine, whose functions are
written in Python and have no machine code: there a probe is a hook at the function's entry, with the same handlers and rules.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Protocol

from pyprobe.runtime.kprobes.registers import PtRegs
from pyprobe.runtime.machine.breakpoints import KPROBES_BRK_IMM, Breakpoints
from pyprobe.runtime.machine.calling import ARGUMENTS
from pyprobe.runtime.machine.disassembly import LONGEST, is_boundary
from pyprobe.runtime.machine.displaced import Refused, displace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyprobe.runtime.machine.breakpoints import Host
    from pyprobe.runtime.machine.engine import Engine, Stop
    from pyprobe.runtime.machine.memory import AddressSpace
    from pyprobe.runtime.user.functions import KernelFunction
    from pyprobe.runtime.user.kernel import Kernel

Hit = Callable[[], object]
"""What a text calls: an int says where the guest goes on instead of executing the probed instruction."""


class Text(Protocol):
    """Code that can be probed. Methods that find fault with an address raise Refused.

    regs: valid during calls of what was armed. advance: how far behind a breakpoint its exception leaves the pointer, in bytes.
    """

    arch: str
    regs: PtRegs
    advance: int

    def lookup(self, name: str) -> int:
        """The address of a symbol, 0 without one."""

    def count(self, name: str) -> int:
        """How many functions have a name."""

    def function(self, address: int) -> tuple[str, int, int] | None:
        """Name, start and size in bytes of the function that an address is in."""

    def module(self, address: int) -> str:
        """The loadable module whose code an address is in, or ""."""

    def instruction(self, address: int) -> str:
        """The instruction at an address, without breakpoints; empty where there is none."""

    def simulated(self, address: int) -> bool:
        """Whether the instruction at an armed address is simulated, not executed elsewhere."""

    def task(self) -> Hashable:
        """What tells the current task from others."""

    def check(self, address: int) -> None:
        """Whether a probe may stand there."""

    def prepare(self, address: int) -> None:
        """Whether the instruction there can be armed later."""

    def arm(self, address: int, hit: Hit, post: Hit | None, fault: Callable[[int], bool] | None) -> None:
        """Have `hit` called before and `post` after the instruction. fault: told the number of the exception when the instruction itself
        faults; True means it is dealt with."""

    def disarm(self, address: int) -> None: ...

    def divert_return(self, returned: Callable[[], int]) -> int:
        """At a function's entry: have `returned` called when it returns, which says where to; the return address so far."""

    def returns_here(self, address: int) -> bool:
        """Whether an address is where diverted functions return to."""

    def returning(self, address: int) -> None:
        """A diverted function has returned: where it really goes on, as handlers see it."""

    def on_code_gone(self, told: Callable[[Callable[[int], bool]], object]) -> None:
        """Have `told` called when code is about to go, where it can, with what says whether an address is in it."""

    def on_task_gone(self, told: Callable[[int], object]) -> None:
        """Have `told` called with each task that is gone, where tasks come and go."""


class MachineCode:
    """Machine code with breakpoints; subclasses know its symbols and tasks."""

    def __init__(self, engine: Host, breakpoints: Breakpoints) -> None:
        self.engine = engine
        self.arch = engine.arch.name
        self.advance = engine.arch.breakpoint.advance
        self.breakpoints = breakpoints
        self.regs = PtRegs(self.arch, engine.get, engine.set)
        self._faults: dict[int, Callable[[int], bool]] = {}
        self._trampolines: set[int] = set()

    def lookup(self, name: str) -> int:
        raise NotImplementedError

    def count(self, name: str) -> int:
        return int(self.lookup(name) != 0)

    def function(self, address: int) -> tuple[str, int, int] | None:
        raise NotImplementedError

    def task(self) -> Hashable:
        raise NotImplementedError

    def refused(self, name: str, address: int) -> str:
        """Why a function may not be probed there, or ""."""
        raise NotImplementedError

    def module(self, address: int) -> str:
        return ""

    def instruction(self, address: int) -> str:
        try:
            return displace(self.arch, self.breakpoints.read(address, 16)).text
        except Refused:
            return ""

    def simulated(self, address: int) -> bool:
        return self.breakpoints.table[address].displaced.only_simulated

    def check(self, address: int) -> None:
        found = self.function(address)
        if found is None:
            raise Refused(errno.EINVAL, "the address is in no function")
        name, start, _ = found
        reason = self.refused(name, address)
        if reason:
            raise Refused(errno.EINVAL, reason)
        if address == start:
            return
        if self.arch == "arm64":
            from pyprobe.runtime.machine.displaced_arm64 import inside_exclusive

            if address & 3:
                raise Refused(errno.EINVAL, "the address is not that of an instruction")
            if inside_exclusive(self.breakpoints.read(start, address - start)):
                raise Refused(errno.EINVAL, "the address is between an exclusive load and its store")
        elif not is_boundary(self.arch, self.breakpoints.read(start, address - start + 15), address - start):
            raise Refused(errno.EILSEQ, "the address is within an instruction")

    def prepare(self, address: int) -> None:
        displace(self.arch, self.breakpoints.read(address, LONGEST[self.arch]))

    def arm(self, address: int, hit: Hit, post: Hit | None, fault: Callable[[int], bool] | None) -> None:
        state, regs = self.engine.state, self.regs

        def after() -> None:
            regs.pointer = state.pc
            if post is not None:
                post()

        self.breakpoints.insert(address, hit, after if post is not None else None, diverts=True)
        if fault is not None:
            self._faults[address] = fault

    def disarm(self, address: int) -> None:
        self.breakpoints.remove(address)
        self._faults.pop(address, None)

    def divert_return(self, returned: Callable[[], int]) -> int:
        engine = self.engine
        trampoline = self.breakpoints.trampoline(engine.state.pc)
        if trampoline not in self._trampolines:
            self._trampolines.add(trampoline)
            regs = self.regs

            def call() -> int:
                regs.pointer = trampoline
                return returned()

            call.step = lambda: None  # type: ignore[attr-defined]  # see Engine.trap; the callback is over when it has returned
            engine.trap(self.breakpoints.space, trampoline, call)
        if self.arch == "arm64":
            before = engine.get("lr")
            engine.set("lr", trampoline)
        else:
            sp = engine.get("sp")
            before = engine.space.u64(sp)
            engine.store(sp, trampoline.to_bytes(8, "little"))
        return before

    def returns_here(self, address: int) -> bool:
        return address in self._trampolines

    def returning(self, address: int) -> None:
        self.regs.pointer = self.engine.state.pc = address

    def on_task_gone(self, told: Callable[[int], object]) -> None:
        pass

    def on_code_gone(self, told: Callable[[Callable[[int], bool]], object]) -> None:
        pass


class Code(MachineCode):
    """Machine code in one address space, with breakpoints.

    symbols: name to address and size in bytes. blacklist: names of functions that may not be probed.
    """

    def __init__(
        self, engine: Engine, space: AddressSpace, symbols: Mapping[str, tuple[int, int]], blacklist: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(engine, Breakpoints(engine, space, KPROBES_BRK_IMM))
        self.space = space
        self.symbols = dict(symbols)
        self.blacklist = blacklist
        engine.on_step_fault = self._fault

    def lookup(self, name: str) -> int:
        return self.symbols.get(name, (0, 0))[0]

    def function(self, address: int) -> tuple[str, int, int] | None:
        for name, (start, size) in self.symbols.items():
            if start <= address < start + size:
                return name, start, size
        return None

    def task(self) -> Hashable:
        return 0

    def refused(self, name: str, address: int) -> str:
        return f"{name} may not be probed" if name in self.blacklist else ""

    def _fault(self, address: int, stop: Stop) -> bool:
        from pyprobe.runtime.machine.engine import StopKind

        fault = self._faults.get(address)
        if fault is None:
            return False
        self.regs.pointer = address
        return fault(PAGE_FAULT[self.arch] if stop.kind is StopKind.FAULT else stop.number)


PAGE_FAULT = {"x86_64": 14, "arm64": 0x96000006}  # what the kernel gives a fault_handler: vector, ESR of a translation fault


class EmulatedKernel:
    """The functions of the user machine's kernel; probes are hooks at their entries and returns."""

    def __init__(self, machine: Kernel, blacklist: frozenset[str] = frozenset()) -> None:
        self.machine = machine
        self.arch = machine.arch
        self.advance = 1 if self.arch == "x86_64" else 0
        self.blacklist = blacklist
        self._function: KernelFunction | None = None
        self._registers: dict[str, int] = {}
        self.regs = PtRegs(self.arch, self._get, self._put)
        self._armed: dict[int, tuple[Hit, Hit | None]] = {}
        self._hooked: set[int] = set()
        self._exits: dict[int, Callable[[], object]] = {}

    def _get(self, name: str) -> int:
        return self._registers.get(name, 0)

    def _put(self, name: str, value: int) -> None:
        self._registers[name] = value

    def lookup(self, name: str) -> int:
        return self.machine.functions.addresses.get(name, 0)

    def count(self, name: str) -> int:
        return int(name in self.machine.functions.addresses)

    def function(self, address: int) -> tuple[str, int, int] | None:
        from pyprobe.runtime.user.functions import FUNCTION_SIZE

        found = self.machine.functions.symbol(address)
        return (found[0], address - found[1], FUNCTION_SIZE) if found else None

    def module(self, address: int) -> str:
        return ""

    def instruction(self, address: int) -> str:
        return ""

    def simulated(self, address: int) -> bool:
        return False

    def task(self) -> Hashable:
        return self.machine.current.tid if self.machine.current is not None else 0

    def check(self, address: int) -> None:
        found = self.function(address)
        if found is None:
            raise Refused(errno.EINVAL, "the address is in no function")
        name, start, _ = found
        if name in self.blacklist or name not in self.machine.functions:
            raise Refused(errno.EINVAL, f"{name} may not be probed")
        if address != start:
            raise Refused(errno.EILSEQ, "the emulated kernel has no machine code: only a function's entry can be probed")

    def prepare(self, address: int) -> None:
        pass

    def arm(self, address: int, hit: Hit, post: Hit | None, fault: Callable[[int], bool] | None) -> None:
        self._armed[address] = hit, post
        self._hook(address)

    def disarm(self, address: int) -> None:
        self._armed.pop(address, None)

    def _hook(self, address: int) -> None:
        """Hook a function, once; what is armed is looked up at each hit."""
        found = self.function(address)
        assert found is not None
        function = self.machine.functions[found[0]]
        if address in self._hooked:
            return
        self._hooked.add(address)
        names = ARGUMENTS[self.arch]

        def entered() -> None:
            armed = self._armed.get(address)
            if armed is None:
                return
            outer = self._registers, self.regs.pointer
            self._registers = dict(zip(names, function.args, strict=False))
            hit, post = armed
            hit()
            if post is not None:
                post()
            self._registers, self.regs.pointer = outer

        def left() -> None:
            done = self._exits.get(address)
            if done is not None:
                from pyprobe.runtime.machine.calling import RESULT

                outer = self._registers
                self._registers = {RESULT[self.arch]: function.retval}
                done()
                self._registers = outer

        self.machine.functions.attach(function.name, on_entry=entered, on_exit=left)

    def on_exit(self, address: int, done: Callable[[], object]) -> None:
        """Have `done` called whenever a function that is armed has returned."""
        self._exits[address] = done

    def divert_return(self, returned: Callable[[], int]) -> int:
        raise NotImplementedError  # there is no return address; `on_exit` takes its place

    def returns_here(self, address: int) -> bool:
        return False

    def returning(self, address: int) -> None:
        pass

    def on_task_gone(self, told: Callable[[int], object]) -> None:
        pass

    def on_code_gone(self, told: Callable[[Callable[[int], bool]], object]) -> None:
        pass


def hooked(text: Any) -> EmulatedKernel | None:
    """The text, if it has no machine code."""
    return text if isinstance(text, EmulatedKernel) else None
