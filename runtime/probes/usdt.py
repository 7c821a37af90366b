"""usdt: the probes that a program's author put into it. While one is attached, its semaphore tells the program so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from pyprobe.lang.attachpoint import AttachPoint, NoMatch, PointError, has_wildcard
from pyprobe.lang.typesys import Record
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.machine.elf import ElfError
from pyprobe.runtime.machine.memory import MemoryFault, OutOfMemory, W
from pyprobe.runtime.machine.usdt import Operand, StaticProbe, operands, static_probes
from pyprobe.runtime.probes.base import Attached, AttachError, Listed, MakeHandler
from pyprobe.runtime.probes.user import Place, UserBinding, unusable
from pyprobe.runtime.probes.user_points import Spot, Target, UserPoints, break_at, instruction, register_uprobe
from pyprobe.runtime.wildcard import matcher

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.machine.memory import AddressSpace
    from pyprobe.runtime.machine.symbols import Image
    from pyprobe.runtime.probes.base import PointTable
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.system.programs import Programs
    from pyprobe.runtime.user.kernel import Kernel

WORD = (1 << 64) - 1


def probes(machine: Description, path: str) -> list[StaticProbe]:
    """The probes of a file. Raises ElfError."""
    image = machine.image(path)
    return static_probes(image.elf)


def listing(machine: Description, name: str, parts: list[str]) -> Iterable[Listed]:
    """usdt:PATH:PROVIDER:NAME. Without a target there is nothing to list."""
    if not parts or not parts[0]:
        return
    namespace, wanted = parts[1:3] if len(parts) > 2 else ("*", parts[1] if len(parts) > 1 else "*")
    in_namespace, is_wanted = matcher(namespace), matcher(wanted)
    for path in machine.targets.resolve(parts[0]):
        found = {(p.provider, p.name) for p in probes(machine, path) if in_namespace(p.provider) and is_wanted(p.name)}
        yield from (Listed(f"{name}:{path}:{provider}:{probe}") for provider, probe in sorted(found))


def matches(machine: Description, point: AttachPoint) -> list[AttachPoint]:
    paths = machine.targets.resolve(point.target)
    if not paths and point.target != "*":
        raise PointError(f"usdt target file '{point.target}' does not exist or is not executable", *unusable(machine, point.target))
    in_namespace, wanted = matcher(point.namespace or "*"), matcher(point.function)
    found: set[tuple[str, str, str]] = set()
    for path in paths if "*" in point.target else paths[:1]:
        try:
            found |= {(path, p.provider, p.name) for p in probes(machine, path) if in_namespace(p.provider) and wanted(p.name)}
        except ElfError as error:
            raise PointError(f"usdt target file '{point.target}': {error}") from error
    if not found and paths and not any(map(has_wildcard, (point.target, point.namespace, point.function))):
        raise NoMatch(point.copy(target=paths[0]))
    return [point.copy(target=path, namespace=namespace, function=name) for path, namespace, name in sorted(found)]


def args(machine: Description, point: AttachPoint) -> Record | None:
    return None


class StaticBinding(UserBinding):
    """Builtins at one place of a probe. An argument that the note does not tell is 0."""

    def __init__(self, machine: Kernel, engine: Engine, point: AttachPoint, image: Image, place: Place, probe: StaticProbe) -> None:
        super().__init__(machine, engine, point, image, place, None)
        self.arguments = operands(probe.arguments, image.arch)

    def special(self, name: str, literals: tuple[Any, ...]) -> Bound | None:
        if name != "arg":
            return super().special(name, literals)
        operand = self.arguments[literals[0]] if literals[0] < len(self.arguments) else None
        return self._value(operand, literals[0]) if operand is not None else Bound("0", {})

    def _value(self, operand: Operand, number: int) -> Bound:
        bits = 8 * operand.size
        if operand.constant is not None:
            return Bound(signed_text(str(operand.constant & (1 << bits) - 1), bits, operand.signed), {})
        if not operand.memory:
            whole = self.engine.register(operand.register)
            part = f"({whole.expression} >> {operand.shift})" if operand.shift else whole.expression
            return Bound(signed_text(f"({part} & {(1 << bits) - 1:#x})", bits, operand.signed), whole.names)
        names: dict[str, object] = {}
        terms = [str(operand.offset)]
        if operand.symbol:
            symbol = self.image.object(operand.symbol)
            if symbol is None:
                return Bound("0", {})
            here = self.engine.register(self.engine.arch.pc)
            names |= here.names
            terms += [here.expression, str(symbol.address - self.place.address)]
        for register, scale in ((operand.register, 1), (operand.index, operand.scale)):
            if register:
                bound = self.engine.register(register)
                names |= bound.names
                terms.append(f"{bound.expression} * {scale}" if scale != 1 else bound.expression)
        read = f"_operand_{number}"
        names[read] = self._reader(operand.size)
        return Bound(signed_text(f"{read}({' + '.join(terms)} & {WORD:#x})", bits, operand.signed), names)

    def _reader(self, size: int) -> Callable[[int], int]:
        machine = self.machine

        def read(address: int) -> int:
            task = machine.current
            assert task is not None
            try:
                return int.from_bytes(task.process.space.read(address, size), "little")
            except (MemoryFault, OutOfMemory):
                return 0

        return read


def signed_text(text: str, bits: int, signed: bool) -> str:
    """The expression for a word of so many bits as an int64."""
    if not signed and bits < 64:
        return text
    return f"(({text} ^ {1 << bits - 1:#x}) - {1 << bits - 1:#x})"


class Semaphores:
    """Counters in programs' memory that tell them which probes are attached. One is raised as soon as its page is mapped writable."""

    def __init__(self, machine: Kernel, user: UserPoints) -> None:
        self.machine = machine
        self.user = user
        self.offsets: dict[Target, set[int]] = {}  # in the files
        machine.on_image.append(lambda space, vma: self.look(space))
        machine.functions.attach("do_mmap", on_exit=self._mapped)
        machine.functions.attach("load_elf_binary", on_exit=self._mapped)

    def added(self, target: Target, offset: int) -> None:
        """An offset is new: nothing runs yet that would have to be looked at."""

    def _mapped(self) -> None:
        if self.machine.current is not None:
            self.look(self.machine.current.process.space)

    def look(self, space: AddressSpace) -> None:
        """Raise what can be raised."""
        for vma in space.vmas():
            if vma.prot & W and not vma.shared and vma.path:
                target = self.user.target_of(vma)
                for offset in self.offsets.get(target, ()) if target is not None else ():
                    if vma.file_offset <= offset < vma.file_offset + vma.end - vma.start:
                        self._raise(space, vma.start + offset - vma.file_offset)

    def _raise(self, space: AddressSpace, address: int) -> None:
        try:
            if space.read(address, 2) == b"\0\0":
                space.write(address, b"\1\0")
        except (MemoryFault, OutOfMemory):
            return


class BootedSemaphores:
    """The same for a booted kernel, whose programs find them raised in their files."""

    def __init__(self, machine: Any) -> None:
        self.offsets: dict[Target, set[int]] = {}
        self._programs: Programs = machine.programs

    def added(self, target: Target, offset: int) -> None:
        """Raises AttachError when the guest does not see the file."""
        if not self._programs.count_up(target.path, offset):
            raise AttachError(f"{target.path}: the guest has no such file")


def attach(machine: Kernel, points: PointTable, point: AttachPoint, make: MakeHandler) -> None:
    image = points.description.image(point.target)
    user = points.user_points(machine)
    engine = machine.engine_for(image.arch)
    target = user.target(point.target, image)
    places = [p for p in static_probes(image.elf) if p.provider == point.namespace and p.name == point.function]
    if not places:
        raise AttachError(f"{point.target} has no probe {point.namespace}:{point.function}")
    for probe in places:
        offset = image.elf.offset(probe.address)
        if offset is None:
            raise AttachError(f"Could not resolve address: {point.target}:{probe.address:#x}")
        place = Place(probe.address, offset, image.at(probe.address), exact=True)
        how = break_at(user, engine, target, place.offset) if user.breakpoints else "hook"
        points.attached[point.name] = Attached(f"{how} at {point.target}+{offset:#x}", partial(instruction, image, offset))
        spot = target.spots.setdefault(offset, Spot())
        spot.exact = True
        target.callbacks = None
        spot.handlers.append(make(StaticBinding(machine, engine, point, image, place, probe)))
        register_uprobe(user, target, offset)
        counter = image.elf.offset(probe.semaphore) if probe.semaphore else None
        if counter is not None:
            _guard(machine, points, target, counter)


def _guard(machine: Kernel, points: PointTable, target: Target, counter: int) -> None:
    """Raise the semaphore at an offset in a file, once."""
    user = points.user_points(machine)
    if user.semaphores is None:
        user.semaphores = BootedSemaphores(machine) if points.description.booted else Semaphores(machine, user)
    offsets = user.semaphores.offsets.setdefault(target, set())
    if counter not in offsets:
        offsets.add(counter)
        user.semaphores.added(target, counter)
