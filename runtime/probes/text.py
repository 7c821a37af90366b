"""kprobe and kretprobe in the code of a booted kernel: any instruction of it, at its own address."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from pyprobe.lang.attachpoint import AttachPoint, NoMatch, PointError, has_wildcard
from pyprobe.lang.typesys import Record
from pyprobe.runtime.machine import disassembly
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.machine.calling import ARGUMENTS, RESULT
from pyprobe.runtime.probes.base import Attached, AttachError, Handler, Listed, MakeHandler, TaskBinding
from pyprobe.runtime.probes.kernel import parameters
from pyprobe.runtime.wildcard import matcher, traceable

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.system.description import SystemDescription
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.system.metadata.modulefile import ModuleFile
    from pyprobe.runtime.system.modules import Module


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    """kprobe:FUNCTION or kprobe:MODULE:FUNCTION."""
    system = cast("SystemDescription", machine)
    module, pattern = (parts[0], parts[-1]) if len(parts) > 1 else ("", parts[0] if parts else "*")
    for shown, function in _named(system, module, pattern):
        prefix = f"{shown}:" if module else ""
        yield Listed(f"{name}:{prefix}{function}", partial(_parameters, system, shown, function))


def _named(machine: SystemDescription, module: str, pattern: str) -> Iterator[tuple[str, str]]:
    """Module and name of the functions that patterns mean: as for Linux, of those that the kernel itself can trace. module: "" for all."""
    wanted, in_module = matcher(pattern), matcher(module or "*")
    if in_module(machine.module):
        yield from ((machine.module, f) for f in machine.functions if f in machine.traceable and wanted(f) and traceable(f))
    for file in machine.module_files(module):
        yield from ((file.name, f) for f in sorted(file.traceable - file.forbidden) if wanted(f) and traceable(f))


def _parameters(machine: SystemDescription, module: str, function: str) -> list[str]:
    if module == machine.module:
        return parameters(machine.functions[function])
    found = machine.types_of(module, function).declared(function)
    return [f"{ctype} arg{i}" for i, (ctype, _) in enumerate(found)]


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    if point.provider == "kretprobe" and (point.offset or point.address):
        raise PointError("Offset not allowed")
    system = cast("SystemDescription", machine)
    module, name = point.target, point.function
    if module and not has_wildcard(module) and module != machine.module and system.module_file(module) is None:
        if has_wildcard(name):
            return []
        raise PointError(f"specified module {module} in probe {point.provider}:{module}:{name} is not loaded.")
    if not name:
        system = cast("SystemDescription", machine)
        if system.faithful and system.refused(point.address):
            raise NoMatch(point, f"Linux refuses it: {system.refused(point.address)}.")
        return [point]
    if has_wildcard(name) or has_wildcard(module):
        return [point.copy(target=shown if module else "", function=f) for shown, f in _named(system, module, name)]
    if name in machine.functions and module in ("", machine.module):
        return [_allowed(system, point.copy(target=module))]
    file = next((file for file in system.module_files(module) if name in file.functions), None)
    if file is not None:
        return [_allowed(system, point.copy(target=module), file)]
    from difflib import get_close_matches

    near = get_close_matches(name, [*machine.functions, *(f for file in system.early_modules for f in file.functions)], n=3, cutoff=0.8)
    hints = [f"Did you mean {' or '.join(near)}?"] if near else []
    raise NoMatch(point, *hints)


def _allowed(machine: SystemDescription, point: AttachPoint, file: ModuleFile | None = None) -> AttachPoint:
    """The point, unless only what Linux allows is wanted and Linux refuses it. file: the module it is in. Raises PointError."""
    traceable, forbidden = (machine.traceable, machine.forbidden) if file is None else (file.traceable - file.forbidden, file.forbidden)
    if machine.faithful and point.function not in traceable:
        listed = point.function in forbidden
        why = "it is on the list of functions that no kprobe may enter" if listed else "it is marked notrace, or gone after boot"
        raise NoMatch(point, f"Linux refuses this function: {why}.")
    return point


def args(machine: Description, point: AttachPoint) -> Record | None:
    return None


class TextBinding(TaskBinding):
    """Builtins at an instruction of the kernel, or at the return of one of its functions."""

    def __init__(self, machine: SystemMachine, point: AttachPoint, address: int) -> None:
        super().__init__(cast(Any, machine), point.place, point.provider, idle=True)
        self.text = machine
        self.address = address

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        cpu = self.text.processor
        if name == "reg":
            return cpu.register(literals[0])
        if name == "arg" and self.kind == "kprobe":
            return self._argument(literals[0])
        if name == "retval" and self.kind == "kretprobe":
            return cpu.register(RESULT[self.text.arch])
        if name == "func":
            if self.kind in ("kretprobe", "fexit"):
                return Bound("_returns.function", {"_returns": self.text.returns})
            return Bound("_cpu_state.pc", {"_cpu_state": cpu.state})
        return None

    def _argument(self, number: int) -> Bound:
        registers = ARGUMENTS[self.text.arch]
        if number < len(registers):
            return self.text.processor.register(registers[number])
        return Bound("0", {})


def attach(machine: Any, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    system: SystemMachine = machine
    description: SystemDescription = system.description
    file = description.file_of(point)
    if file is not None:
        refused = description.refused_in(file, point.function, point.offset) if description.faithful else ""
        if refused:
            raise AttachError(f"{point.name}: Linux refuses it: {refused} (EINVAL)")
        probe_module(system, file, point, points, make(TextBinding(system, point, 0)))
        return
    address, exact = place(description, point, points.unsafe)
    if description.faithful and description.refused(address):
        raise AttachError(f"{point.name}: Linux refuses it: {description.refused(address)} (EINVAL)")
    handler = make(TextBinding(system, point, address))
    if points.breakpoints:
        points.attached[point.name] = break_at(system, point, address, handler)
        return
    points.attached[point.name] = Attached(f"hook at {address:#x}", lambda: _instruction(system, address))
    if point.provider == "kretprobe":
        handler = system.returns.entry(handler)
    system.functions.attach(address, handler, exact=exact)


def probe_module(system: SystemMachine, file: ModuleFile, point: AttachPoint, points: PointTable, handler: Handler) -> None:
    """The same for a point in a module, whenever this is loaded. Raises AttachError."""
    name, offset = point.function, point.offset
    planted: list[Attached] = []  # breakpoints, one each time it was loaded

    def instruction() -> str:
        found = disassembly.first(system.arch, file.code(name)[offset : offset + disassembly.LONGEST[system.arch]])
        return planted[-1].instruction() if planted else found[1] if found else ""

    def misses() -> int:
        return sum(one.misses() for one in planted)

    how = f"{'breakpoint' if points.breakpoints else 'hook'} at {file.name}:{name}+{offset:#x}"
    points.attached[point.name] = Attached(how, instruction, misses)
    if points.breakpoints:
        when_loaded(system, file, point, points.unsafe, lambda module, at: planted.append(break_at(system, point, at, handler)))
    else:
        attach_in_module(system, file, point, points.unsafe, system.returns.entry(handler) if point.provider == "kretprobe" else handler)


def attach_in_module(system: SystemMachine, file: ModuleFile, point: AttachPoint, unsafe: bool, handler: Handler) -> None:
    """Call `handler` at a point in a module, each time that this is loaded. Raises AttachError."""

    def plant(module: Module, address: int) -> None:
        system.functions.attach(address, module.while_loaded(handler), exact=point.offset != 0)

    when_loaded(system, file, point, unsafe, plant)


def when_loaded(
    system: SystemMachine, file: ModuleFile, point: AttachPoint, unsafe: bool, plant: Callable[[Module, int], object]
) -> None:
    """Call `plant` with the module and the address of a point in it, each time that this is loaded. Raises AttachError."""
    name, offset = point.function, point.offset
    if name not in file.functions:
        raise AttachError(f"module {file.name} has no function {name}")
    size = file.functions[name].size
    if offset and offset >= size:
        raise AttachError(f"Offset outside the function bounds ('{name}' size is {size})")
    if offset and not unsafe and not disassembly.is_boundary(system.arch, file.code(name), offset):
        raise AttachError(f"Could not add kprobe into middle of instruction: {point.name}")

    def loaded(module: Module) -> None:
        address = module.symbols.by_name.get(name)
        if address is not None:
            plant(module, address + offset)

    system.modules.when_loaded(file.name, loaded)


def _instruction(machine: SystemMachine, address: int) -> str:
    """The instruction as it is now, or as it was linked while the kernel is not there yet."""
    size = disassembly.LONGEST[machine.arch]
    found = disassembly.first(machine.arch, machine.processor.read(address, size) or machine.description.code(address, size))
    return found[1] if found else ""


def break_at(machine: SystemMachine, point: AttachPoint, address: int, handler: Handler) -> Attached:
    """Attach as Linux does, with a kprobe of the booted kernel. Raises AttachError where Linux refuses one."""
    from pyprobe.runtime.kprobes.api import Kprobe, KprobeError, Kretprobe, KretprobeInstance

    if not machine.ready:
        raise AttachError("Linux has kprobes once it has booted: leave out --boot, or --attach breakpoint")
    kprobes, returns = machine.kprobes, machine.returns

    def hit(p: Kprobe, regs: object) -> None:
        handler()

    def returned(ri: KretprobeInstance, regs: object) -> None:
        returns.function = ri.function
        handler()

    kp = Kprobe(addr=address, pre_handler=hit)
    rp = Kretprobe(kp=kp, handler=returned, maxactive=KRETPROBE_MAXACTIVE_MAX) if point.provider == "kretprobe" else None
    try:
        kprobes.register_kprobe(kp) if rp is None else kprobes.register_kretprobe(rp)
    except KprobeError as error:
        number = errno.errorcode.get(error.number, str(error.number))
        raise AttachError(f"Could not add a breakpoint at {address:#x}: {error.strerror} ({number})") from None
    how = f"breakpoint{', simulated' if kprobes.text.simulated(address) else ''} at {address:#x}"
    misses = (lambda: kp.nmissed) if rp is None else (lambda: kp.nmissed + rp.nmissed)
    return Attached(how, lambda: kprobes.text.instruction(address), misses)


KRETPROBE_MAXACTIVE_MAX = 4096  # kernel/trace/trace_kprobe.c


def place(machine: SystemDescription, point: AttachPoint, unsafe: bool) -> tuple[int, bool]:
    """Where an expanded point lies, and whether code may fall through into it. Raises AttachError."""
    if not point.function:
        found = machine.table.at(point.address)
        if found is None or not machine.table.is_text(point.address):
            raise AttachError(f"Could not resolve address: {point.address:#x} is no code of this kernel")
        start, size, offset = found.address, found.size, point.address - found.address
    else:
        symbol = machine.symbol(point.function)
        if symbol is None:
            raise AttachError(f"the kernel has no function {point.function}")
        start, size, offset = symbol.address, symbol.size, point.offset
        if offset and offset >= size:
            raise AttachError(f"Offset outside the function bounds ('{point.function}' size is {size})")
    if offset and not unsafe and not disassembly.is_boundary(machine.arch, machine.code(start, size), offset):
        raise AttachError(f"Could not add kprobe into middle of instruction: {point.name}")
    # C functions are called or jumped to; what assembly does is anybody's guess
    exact = offset != 0 or not machine.functions[point.function].typed if point.function else True
    return start + offset, exact
