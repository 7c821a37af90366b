"""kprobe and kretprobe on the functions of the emulated kernel."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from pyprobe.lang.attachpoint import AttachPoint, NoMatch, PointError, has_wildcard
from pyprobe.lang.typesys import Record
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.machine.calling import ARGUMENTS, RESULT
from pyprobe.runtime.probes.base import Attached, AttachError, Listed, MakeHandler, TaskBinding
from pyprobe.runtime.wildcard import matcher, traceable

if TYPE_CHECKING:
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description, Prototype
    from pyprobe.runtime.user.functions import KernelFunction
    from pyprobe.runtime.user.kernel import Kernel

REAL = "This is the emulated kernel, whose functions `-l 'kprobe:*'` shows. With --kernel a real one runs, with all of its own."


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    """kprobe:FUNCTION or kprobe:MODULE:FUNCTION; a bare kretprobe is listed by asking for it only."""
    shown = ""
    if len(parts) > 1:
        if not matcher(parts[0])(machine.module):
            return
        shown = machine.module + ":"
    wanted = matcher(parts[-1] if parts else "*")
    for function, prototype in machine.functions.items():
        if wanted(function) and traceable(function):
            yield Listed(f"{name}:{shown}{function}", partial(parameters, prototype))


def parameters(prototype: Prototype) -> list[str]:
    """The parameters as kprobes see them: by number."""
    return [f"{ctype} arg{i}" for i, (ctype, _) in enumerate(prototype.parameters)]


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    module, name = point.target, point.function
    if point.provider == "kretprobe" and point.offset:
        raise PointError("Offset not allowed")
    if module and not matcher(module)(machine.module):
        if has_wildcard(module) or has_wildcard(name):
            return []
        raise PointError(f"specified module {module} in probe {point.provider}:{module}:{name} is not loaded.", REAL)
    if point.address or (point.offset and name in machine.functions):
        raise PointError("The functions of the emulated kernel have no instructions to probe.", REAL)
    shown = machine.module if module else ""
    if has_wildcard(name):
        wanted = matcher(name)
        return [point.copy(target=shown, function=f) for f in machine.functions if wanted(f) and traceable(f)]
    if name in machine.functions:
        return [point.copy(target=shown)]
    today = machine.today(name)
    if today is not None:
        return [point.copy(target=shown, function=today, written=name)]
    from difflib import get_close_matches

    near = get_close_matches(name, machine.functions, n=3, cutoff=0.7)
    hints = [f"Did you mean {' or '.join(near)}?"] if near else []
    raise NoMatch(point, *hints, REAL)


def args(machine: Description, point: AttachPoint) -> Record | None:
    return None


class KernelBinding(TaskBinding):
    """Builtins at the entry or the return of one kernel function."""

    def __init__(self, machine: Kernel, point: AttachPoint, function: KernelFunction) -> None:
        super().__init__(machine, point.place, point.provider, idle=True)  # timers and wake-ups come while no task runs
        self.function = function

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        function: dict[str, object] = {"_function": self.function}
        if name == "arg" and self.kind == "kprobe":
            return self._argument(literals[0])
        if name == "retval" and self.kind == "kretprobe":
            return Bound("_function.retval", function)
        if name == "func":
            return Bound("_function.address", function)
        if name == "override" and self.kind == "kprobe":
            return Bound("_override", {"_override": partial(setattr, self.function, "override")})
        if name == "reg":
            return self._register(literals[0])
        return None

    def _argument(self, number: int) -> Bound:
        """Arguments that the prototype does not have would be leftovers in registers: 0 here."""
        if number >= len(self.function.parameters):
            return Bound("0", {})
        return Bound(f"_function.args[{number}]", {"_function": self.function})

    def _register(self, name: str) -> Bound:
        """The registers that a call of the function defines; the others, which hold the kernel's own values, are 0."""
        arch = self.machine.arch
        if name in ("ip", "pc"):
            return Bound("_function.address", {"_function": self.function})
        if self.kind == "kretprobe" and name == RESULT[arch]:
            return Bound("_function.retval", {"_function": self.function})
        if self.kind == "kprobe" and name in ARGUMENTS[arch]:
            return self._argument(ARGUMENTS[arch].index(name))
        return Bound("0", {})


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    function = machine.functions.get(point.function)
    if function is None:
        raise AttachError(f"the kernel has no function {point.function}")
    handler = make(KernelBinding(machine, point, function))
    points.attached[point.name] = Attached("hook in the emulated kernel, which has no machine code")
    if point.provider == "kretprobe":
        machine.functions.attach(point.function, on_exit=handler)
    else:
        machine.functions.attach(point.function, on_entry=handler)
