"""fentry and fexit in the code of a booted kernel: the places of kprobe and kretprobe, with names and types from the kernel's own type
information, at the return too.

Which register holds which argument: AMD64 ABI 3.2.3, AAPCS64 6.8.2. What lies on the stack or is a struct by value has no name here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from pyprobe.lang.attachpoint import AttachPoint, NoMatch, has_wildcard
from pyprobe.lang.typesys import VOID, Array, Enum, Integer, Record, Struct, Type
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.machine.calling import ARGUMENTS, RESULT
from pyprobe.runtime.probes.base import Handler, Listed, MakeHandler
from pyprobe.runtime.probes.text import TextBinding, attach_in_module, place
from pyprobe.runtime.probes.trampoline import converted
from pyprobe.runtime.wildcard import matcher, traceable

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.system.description import SystemDescription
    from pyprobe.runtime.system.machine import SystemMachine


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    """fentry:MODULE:FUNCTION; one part alone is the function's."""
    system = cast("SystemDescription", machine)
    module, function = parts if len(parts) == 2 else ("*", parts[0] if parts else "*")
    if matcher(module)(machine.module):
        wanted = matcher(function)
        for f in filter(wanted, machine.functions):
            if f in system.traceable and traceable(f):
                yield Listed(f"{name}:{machine.module}:{f}", partial(_declarations, system, f, name == "fexit"))
    for shown, f in _in_modules(system, module, function):
        yield Listed(f"{name}:{shown}:{f}", partial(_declared, system, shown, f, name == "fexit"))


def _declarations(machine: SystemDescription, function: str, result: bool) -> list[str]:
    found = machine.functions[function]
    lines = [f"{ctype} {name}" for ctype, name in found.parameters]
    return [*lines, f"{found.result} retval"] if result and found.result != "void" else lines


def _declared(machine: SystemDescription, module: str, function: str, result: bool) -> list[str]:
    types = machine.types_of(module, function)
    lines = [f"{ctype} {name}" for ctype, name in types.declared(function)]
    returned = types.returned(function)
    return [*lines, f"{returned} retval"] if result and returned != "void" else lines


def _in_modules(machine: SystemDescription, module: str, pattern: str) -> Iterator[tuple[str, str]]:
    """Module and name of the functions of modules that can be traced and have types."""
    wanted = matcher(pattern)
    for file in machine.module_files("" if module == "*" else module):
        typed = machine.types_of(file.name, "").btf.functions
        yield from ((file.name, f) for f in sorted(file.traceable) if wanted(f) and traceable(f) and f in typed)


def _functions(machine: SystemDescription, pattern: str) -> Iterator[str]:
    """The functions that the kernel can trace and has types for, which is what its own trampolines need."""
    if not has_wildcard(pattern):
        if pattern in machine.traceable and machine.functions[pattern].typed:
            yield pattern
        return
    wanted = matcher(pattern)
    for f in machine.functions:
        if wanted(f) and f in machine.traceable and traceable(f) and f in machine.typed:
            yield f


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    system = cast("SystemDescription", machine)
    found = []
    if not point.target or matcher(point.target)(machine.module):
        found = [point.copy(target=machine.module, function=f) for f in _functions(system, point.function)]
    if not found or has_wildcard(point.function):
        found += [point.copy(target=module, function=f) for module, f in _in_modules(system, point.target, point.function)]
    if not found and not has_wildcard(point.function):
        raise NoMatch(point)
    return found


def args(machine: Description, point: AttachPoint) -> Record | None:
    found = _types(machine, point)
    return Record(tuple((name, type) for name, type, _ in words(machine.arch, found[0]))) if found else None


def retval(machine: Description, point: AttachPoint) -> Type | None:
    """The type that fexit sees the function return."""
    found = _types(machine, point)
    return found[1] if found and found[1] is not VOID else None


def _types(machine: Description, point: AttachPoint) -> tuple[tuple[tuple[str, Type], ...], Type] | None:
    return cast("SystemDescription", machine).types_of(point.target, point.function).function(point.function)


def words(arch: str, parameters: tuple[tuple[str, Type], ...]) -> list[tuple[str, Type, int]]:
    """The parameters that one register holds, with the numbers of theirs."""
    found, number = [], 0
    for name, type in parameters:
        needed = -(-max(type.size, 1) // 8)
        by_value = isinstance(type, (Struct, Array))
        if needed > 2:  # x86-64 passes it on the stack, arm64 as a pointer
            number += 0 if arch == "x86_64" else 1
            continue
        if number + needed > len(ARGUMENTS[arch]):
            break
        if not by_value:
            found.append((name, type, number))
        number += needed
    return found


def value(word: str, type: Type) -> str:
    """The expression for the value of a type in a register."""
    return converted(word, Integer(type.size, False)) if isinstance(type, Enum) else converted(word, type)


class TypedBinding(TextBinding):
    """Builtins at the entry or the return of a function. kept: the argument registers as they were at the entry, by number; None at the
    entry itself."""

    def __init__(self, machine: SystemMachine, point: AttachPoint, address: int, kept: Kept | None) -> None:
        super().__init__(machine, point, address)
        found = _types(cast("Description", machine.description), point)
        parameters, self.result = found if found else ((), VOID)
        self.words = {name: (type, number) for name, type, number in words(machine.arch, parameters)}
        self.kept = kept

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        if name == "args" and literals:
            type, number = self.words[str(literals[0])]
            word = self._word(number)
            return Bound(value(word.expression, type), word.names)
        if name == "retval" and self.kind == "fexit":
            word = self.text.processor.register(RESULT[self.text.arch])
            return Bound(value(word.expression, self.result) if self.result is not VOID else "0", word.names)
        if name == "func":
            here = Bound("_cpu_state.pc", {"_cpu_state": self.text.processor.state})
            return Bound(str(self.address), {}) if self.address else here if self.kept is None else super().special(name, literals)
        return super().special(name, literals)

    def _word(self, number: int) -> Bound:
        if self.kept is not None:
            return Bound(f"_kept.words[{number}]", {"_kept": self.kept})
        return self.text.processor.register(ARGUMENTS[self.text.arch][number])


class Kept:
    """The argument registers of the call whose return is being reported."""

    words: tuple[int, ...] = ()


def attach(machine: Any, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    system: SystemMachine = machine
    file = system.description.file_of(point)
    if file is not None:
        kept = Kept() if point.provider == "fexit" else None
        handler = make(TypedBinding(system, point, 0, kept))
        attach_in_module(system, file, point, points.unsafe, _entry(system, kept, handler) if kept is not None else handler)
        return
    address, exact = place(system.description, point, points.unsafe)
    if point.provider == "fentry":
        system.functions.attach(address, make(TypedBinding(system, point, address, None)), exact=exact)
        return
    kept = Kept()
    handler = make(TypedBinding(system, point, address, kept))
    system.functions.attach(address, _entry(system, kept, handler), exact=exact)


def _entry(system: SystemMachine, kept: Kept, handler: Handler) -> Handler:
    """What to call at a function's entry so that `handler` runs at its return with the arguments as they were."""
    bound = [system.processor.register(name) for name in ARGUMENTS[system.arch]]
    names = {name: thing for one in bound for name, thing in one.names.items()}
    read = eval(f"lambda: ({', '.join(one.expression for one in bound)},)", names)

    def enter() -> None:
        def leave(words: tuple[int, ...] = read()) -> None:
            kept.words = words
            handler()

        system.returns.entry(leave)()

    return enter
