"""fentry and fexit: functions of the emulated kernel, with the types of their prototypes.

They are at the places of kprobe and kretprobe; what differs is that the arguments have names and types, at the return too.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from pyprobe.lang.attachpoint import AttachPoint, NoMatch, has_wildcard
from pyprobe.lang.typesys import BOOL, Integer, Record, Type
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.probes.base import AttachError, Listed, MakeHandler, TaskBinding
from pyprobe.runtime.probes.ctext import c_type
from pyprobe.runtime.probes.kernel import REAL
from pyprobe.runtime.wildcard import matcher, traceable

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description, Prototype
    from pyprobe.runtime.user.functions import KernelFunction
    from pyprobe.runtime.user.kernel import Kernel


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    """fentry:MODULE:FUNCTION; one part alone is the function's."""
    module, function = parts if len(parts) == 2 else ("*", parts[0] if parts else "*")
    if not matcher(module)(machine.module):
        return
    wanted = matcher(function)
    for f, prototype in machine.functions.items():
        if wanted(f) and traceable(f):
            yield Listed(f"{name}:{machine.module}:{f}", partial(declarations, prototype, name == "fexit"))


def declarations(prototype: Prototype, result: bool) -> list[str]:
    """The parameters, and for fexit what is returned, as `type name`."""
    lines = [f"{spaced(ctype)} {name}" for ctype, name in prototype.parameters]
    return [*lines, f"{spaced(prototype.result)} retval"] if result and prototype.result != "void" else lines


def spaced(ctype: str) -> str:
    """A C type as the kernel's type information writes it: without `const`, with a blank before each star."""
    words = [word for word in ctype.replace("*", " * ").split() if word != "const"]
    return " ".join(words)


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    if point.target == "bpf":
        raise NoMatch(point, "No BPF programs run in the emulated kernel.")
    module = point.target or machine.module
    if not matcher(module)(machine.module):
        return []
    wanted = matcher(point.function)
    found = [f for f in machine.functions if wanted(f) and traceable(f)]
    if not found and not has_wildcard(point.function):
        today = machine.today(point.function)
        if today is not None:
            return [point.copy(target=machine.module, function=today, written=point.function)]
        raise NoMatch(point, REAL)
    return [point.copy(target=machine.module, function=f) for f in found]


def args(machine: Description, point: AttachPoint) -> Record | None:
    prototype = machine.functions.get(point.function)
    if prototype is None:
        return None
    return Record(tuple((name, c_type(ctype, "kernel", machine.type_named)) for ctype, name in prototype.parameters))


def retval(machine: Description, point: AttachPoint) -> Type | None:
    """The type that fexit sees the function return."""
    prototype = machine.functions.get(point.function)
    return None if prototype is None or prototype.result == "void" else c_type(prototype.result, "kernel", machine.type_named)


def converted(word: str, t: Type) -> str:
    """The expression for the value of type `t` in a register, whose 64 bits `word` gives."""
    if t is BOOL:
        return f"({word} & 255 != 0)"
    if not isinstance(t, Integer):
        return word
    bits = 8 * t.size
    low = word if bits == 64 else f"({word} & {(1 << bits) - 1:#x})"
    return f"(({low} ^ {1 << bits - 1:#x}) - {1 << bits - 1:#x})" if t.signed else low


class TrampolineBinding(TaskBinding):
    """Builtins at the entry or the return of one kernel function."""

    def __init__(self, machine: Kernel, point: AttachPoint, function: KernelFunction) -> None:
        super().__init__(machine, point.place, point.provider, idle=True)  # timers and wake-ups come while no task runs
        self.function = function

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        function: dict[str, object] = {"_function": self.function}
        if name == "args" and literals:
            for i, (ctype, parameter) in enumerate(self.function.parameters):
                if parameter == literals[0]:
                    return Bound(converted(f"_function.args[{i}]", c_type(ctype)), function)
            raise KeyError(name)
        if name == "retval" and self.kind == "fexit":
            result = self.function.result
            return Bound(converted("_function.retval", c_type(result)) if result != "void" else "0", function)
        if name == "func":
            return Bound("_function.address", function)
        return None


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    function = machine.functions.get(point.function)
    if function is None:
        raise AttachError(f"the kernel has no function {point.function}")
    handler = make(TrampolineBinding(machine, point, function))
    if point.provider == "fexit":
        machine.functions.attach(point.function, on_exit=handler, arguments=True)
    else:
        machine.functions.attach(point.function, on_entry=handler)
