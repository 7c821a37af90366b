"""uprobe and uretprobe: functions and instructions of programs and libraries, in every process that maps the file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from pyprobe.lang.attachpoint import AttachPoint, NoMatch, PointError, has_wildcard
from pyprobe.lang.typesys import Record, Type
from pyprobe.runtime.machine import disassembly
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.machine.calling import ARGUMENTS, RESULT
from pyprobe.runtime.machine.elf import ElfError, Symbol
from pyprobe.runtime.machine.symbols import Image
from pyprobe.runtime.probes.base import NO_SYSCALL, Attached, AttachError, Listed, MakeHandler, TaskBinding, user_stack
from pyprobe.runtime.probes.effects import function_skipper
from pyprobe.runtime.probes.user_points import Spot, break_at, instruction, missed, register_uprobe
from pyprobe.runtime.wildcard import matcher, traceable

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.probes.user_points import Following, UserPoints
    from pyprobe.runtime.user.kernel import Kernel

WORD = (1 << 64) - 1

FORCE = "Use --unsafe to force attachment. WARNING: This option could lead to data corruption in the target process."


# ---- what exists


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    """The functions of the files that parts[0] means. Without a target there is nothing to list."""
    if not parts or not parts[0]:
        return
    wanted = matcher(parts[1] if len(parts) > 1 else "*")
    for path in machine.targets.resolve(parts[0]):
        image = machine.image(path)
        for f in image.names:
            if wanted(f) and traceable(f):
                yield Listed(f"{name}:{path}:{f}", partial(_declarations, image, f, name), partial(_why_none, image, path))


def _declarations(image: Image, function: str, provider: str) -> list[str]:
    """The parameters of a function as C declares them."""
    if provider != "uprobe":
        return []
    return [f"{ctype} {parameter}" for parameter, _, ctype in parameters(image, function) or ()]


def _why_none(image: Image, path: str) -> str:
    return "" if image.debug_info else f'No DWARF found for "{path}", cannot show parameter info'


def parameters(image: Image, function: str) -> list[tuple[str, Type, str]] | None:
    """The parameters of a function by the debug information: name, type, and the type as C writes it; None where it is not known."""
    symbol, debug = image.function(function), image.debug_info
    if symbol is None or debug is None:
        return None
    try:
        return debug.parameters(symbol.address)
    except ElfError:
        return None  # damaged information is as good as none


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    try:
        return expand(machine, point)
    except ElfError as error:
        raise PointError(f"{point.provider} target file '{point.target}': {error}") from error


def expand(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    """The places that a point means. Raises PointError, and ElfError when a file is damaged."""
    if not point.target:
        raise PointError(f"{point.provider} should have a target")
    if point.provider == "uretprobe" and point.offset:
        raise PointError("Offset not allowed")
    if point.language not in ("", "cpp"):
        raise PointError(f"unsupported language type: {point.language}")
    if not point.function and not point.address and point.line is None:
        raise PointError(f"{point.provider} should be attached to a function and/or address")
    paths = machine.targets.resolve(point.target)
    if not paths and point.line is not None:
        missing = f"uprobe target file '{point.target}' does not exist or is not executable"
        raise PointError(f"No DWARF debug info found for '{point.target}', cannot attach by source code location.", missing)
    if not paths and point.target != "*":
        raise PointError(f"uprobe target file '{point.target}' does not exist or is not executable", *unusable(machine, point.target))
    if "*" not in point.target:
        paths = paths[:1]
    found: list[AttachPoint] = []
    for path in paths:
        image = machine.image(path)
        if image.arch != machine.arch:
            if "*" in point.target:
                continue
            raise PointError(f"{point.provider} target file '{path}' is for {image.arch}, the machine is {machine.arch}")
        if point.line is not None:
            found.append(point.copy(target=path, line=None, address=line_address(image, point, *point.line)))
        elif not point.function:
            found.append(point.copy(target=path))
        else:
            found += [point.copy(target=path, function=f) for f in functions(image, point)]
    if not found and paths and not has_wildcard(point.target) and not has_wildcard(point.function):
        raise NoMatch(point.copy(target=paths[0]))
    return found


def unusable(machine: Description, path: str) -> list[str]:
    """Why a program that is there and executable cannot be probed, or one that the command may be about to make."""
    host = machine.targets.host_path(path)
    if machine.targets.command and "/" in path and not has_wildcard(path) and not os.path.lexists(host):
        return ["Only files that are there before the command runs can be probed, not what it makes itself."]
    if os.path.isfile(host) and os.access(host, os.X_OK):
        try:
            machine.image(path)
        except ElfError as error:
            return [f"It is there, but {error}."]
    return []


def line_address(image: Image, point: AttachPoint, file: str, line: int, column: int) -> int:
    """The address of a place in the source. Raises PointError."""
    from pyprobe.runtime.machine.dwarf import LineError

    if image.debug_info is None:
        raise PointError(f"No DWARF debug info found for '{point.target}', cannot attach by source code location.")
    try:
        return image.debug_info.line_address(file, line, column)
    except LineError as error:
        raise PointError(str(error)) from None


def functions(image: Image, point: AttachPoint) -> list[str]:
    """The names of the functions that a point means in one image, sorted.

    With language `cpp` the C++ names count too, without their parameters unless the point has some. As the names of templates' functions
    begin with the type that these return, those need a wildcard.
    """
    if point.language != "cpp" and not has_wildcard(point.function):
        return [point.function] if image.function(point.function) else []
    wanted = matcher(point.function)
    found = (f for f in image.names if traceable(f))
    if point.language != "cpp":
        return [f for f in found if wanted(f)]
    from pyprobe.runtime.machine.demangle import demangled, without_parameters

    short = str if "(" in point.function else without_parameters
    return [f for f in found if wanted(f) or (f.startswith("_Z") and wanted(short(demangled(f))))]


def args(machine: Description, point: AttachPoint) -> Record | None:
    """The parameters that registers hold at the entry of a function. Raises PointError where nothing is known of them."""
    image = machine.image(point.target)
    if image.debug_info is None:
        raise PointError(f'Could not parse arguments of "{point.name}": no debuginfo found for {point.target}')
    found = parameters(image, point.function)
    return Record(tuple((name, type) for name, type, _ in in_registers(image.arch, found))) if found else None


def in_registers(arch: str, found: list[tuple[str, Type, str]]) -> list[tuple[str, Type, int]]:
    """The parameters that one register holds, with the numbers of theirs."""
    from pyprobe.runtime.probes.typed import words

    return words(arch, tuple((name, type) for name, type, _ in found))


# ---- where a point lies


class Place:
    """A point in a file: its `offset` there, the virtual `address`, the function it is in, whether it needs an exact point."""

    __slots__ = ("address", "exact", "function", "offset")

    def __init__(self, address: int, offset: int, function: Symbol | None, exact: bool) -> None:
        self.address = address
        self.offset = offset
        self.function = function
        self.exact = exact


def locate(image: Image, point: AttachPoint, unsafe: bool) -> Place:
    """Where an expanded point lies in its file. Raises AttachError."""
    try:
        function = image.function(point.function) if point.function else image.at(point.address)
        address = point.address
        if point.function:
            if function is None:
                raise AttachError(f"Could not resolve symbol: {point.target}:{point.function}")
            if not function.size and not point.offset and not unsafe and not has_wildcard(point.text):
                raise AttachError(f"Could not determine boundary for {point.function} (symbol has size 0).", FORCE)
            if point.offset and point.offset >= function.size:
                raise AttachError(f"Offset outside the function bounds ('{point.function}' size is {function.size})")
            address = function.address + point.offset
        offset = image.elf.offset(address)
        if offset is None:
            raise AttachError(f"Could not resolve address: {point.target}:{address:#x}")
        if function is None or (not point.function and not function.size):
            if not unsafe:
                raise AttachError(f"Could not determine instruction boundary for {point.name} (binary appears stripped).", FORCE)
            return Place(address, offset, None, exact=True)
        inside = address - function.address
        if inside and not unsafe and not disassembly.is_boundary(image.arch, image.code(function), inside):
            raise AttachError(f"Could not add uprobe into middle of instruction: {point.target}:{function.name}+{inside}", FORCE)
        return Place(address, offset, function, exact=inside != 0 or entered_from_above(image, function))
    except ElfError as error:
        raise AttachError(f"{point.target}: {error}") from error


def entered_from_above(image: Image, function: Symbol) -> bool:
    """Whether the code before a function can run into it, so that no block of code need begin there."""
    before = image.at(function.address - 1)
    start = before.address if before else max(image.before(function.address), function.address - 64)
    code = image.elf.at(start, function.address - start) if start else b""
    return bool(code) and disassembly.falls_through(image.arch, code)


class UserBinding(TaskBinding):
    """Builtins at a place in a program."""

    def __init__(
        self, machine: Kernel, engine: Engine, point: AttachPoint, image: Image, place: Place, returns: Following | None
    ) -> None:
        super().__init__(machine, point.place, point.provider)
        self.engine = engine
        self.image = image
        self.place = place
        self.returns = returns

    def _here(self) -> Bound:
        """The address of the place in the current process; of a return, that of the function."""
        if self.returns is not None:
            return Bound("_returns.function", {"_returns": self.returns})
        return self.engine.register("pc")

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        arch = self.engine.arch.name
        if name == "arg" and self.returns is None:
            return self.engine.register(ARGUMENTS[arch][literals[0]])
        if name == "args" and literals and self.returns is None:
            return self._parameter(str(literals[0]))
        if name == "retval" and self.returns is not None:
            return self.engine.register(RESULT[arch])
        if name == "reg":
            return Bound(str(NO_SYSCALL), {}) if literals[0] == "orig_ax" else self.engine.register(literals[0])
        if name == "usermode":
            return Bound("1", {})
        if name == "override" and self.kind == "uprobe":
            return self._override()
        if name == "func":
            here = self._here()
            return Bound(f"({here.expression}, _kernel.current.pid)", {**here.names, "_kernel": self.machine})
        if name == "uaddr":
            symbol = self.image.object(literals[0])
            if symbol is None:
                raise KeyError(name)
            here = self._here()
            return Bound(f"({here.expression} + {symbol.address - self.place.address} & {WORD})", here.names)
        if name == "ustack":
            function = self.place.function
            entry = self.returns is None and function is not None and function.address == self.place.address
            machine = self.machine
            return self.stack("ustack", literals, lambda limit: user_stack(machine, limit, entry=entry))
        return None

    def _parameter(self, wanted: str) -> Bound | None:
        """A parameter of the function, from its register."""
        from pyprobe.runtime.probes.typed import value

        arch = self.engine.arch.name
        found = parameters(self.image, self.place.function.name) if self.place.function is not None else None
        for name, type, number in in_registers(arch, found or []):
            if name == wanted:
                word = self.engine.register(ARGUMENTS[arch][number])
                return Bound(value(word.expression, type), word.names)
        return None

    def _override(self) -> Bound:
        """Makes the function return, which only its first instruction can do: later the stack is in use. Raises AttachError."""
        function = self.place.function
        if function is None or function.address != self.place.address:
            raise AttachError("override() needs the entry of a function")
        return Bound("_override", {"_override": function_skipper(self.machine, self.engine)})


# ---- attaching


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    image = points.description.image(point.target)
    place = locate(image, point, points.unsafe)
    user: UserPoints = points.user_points(machine)
    engine = machine.engine_for(image.arch)
    target = user.target(point.target, image)
    how = break_at(user, engine, target, place.offset) if user.breakpoints else "hook"
    misses = (lambda: missed(user.returns(engine))) if point.provider == "uretprobe" else int
    points.attached[point.name] = Attached(f"{how} at {point.target}+{place.offset:#x}", lambda: instruction(image, place.offset), misses)
    spot = target.spots.setdefault(place.offset, Spot())
    spot.exact = spot.exact or place.exact
    target.callbacks = None
    if point.provider == "uretprobe":
        spot.on_return.append(make(UserBinding(machine, engine, point, image, place, user.returns(engine))))
    else:
        spot.handlers.append(make(UserBinding(machine, engine, point, image, place, None)))
    register_uprobe(user, target, place.offset)
