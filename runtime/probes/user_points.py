"""The points of a machine in programs: where uprobe, uretprobe and usdt plant what they attach.

A place is a file and an offset in it. Wherever a process maps that part of the file executable, a point is planted, as a hook or as a
breakpoint; a booted kernel's own uprobes do the latter themselves.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pyprobe.runtime.machine import disassembly
from pyprobe.runtime.machine.symbols import Image
from pyprobe.runtime.probes.base import AttachError, Handler, combined
from pyprobe.runtime.probes.returns import Returns
from pyprobe.runtime.probes.trampolines import Trampolines

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.machine.file_breakpoints import FileBreakpoints
    from pyprobe.runtime.machine.memory import AddressSpace, Vma
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.probes.usdt import BootedSemaphores, Semaphores
    from pyprobe.runtime.system.uprobes import KernelUprobes

    Following: TypeAlias = Returns | Trampolines | KernelUprobes  # who follows functions to their returns
    from pyprobe.runtime.user.kernel import Kernel


class Spot:
    """What is attached at one offset of a file: handlers of uprobes and of uretprobes, each in source order.

    registered: for which of the two a booted kernel has a uprobe; True: those of returns.
    """

    __slots__ = ("exact", "handlers", "on_return", "registered")

    def __init__(self) -> None:
        self.exact = False
        self.registered: set[bool] = set()
        self.handlers: list[Handler] = []
        self.on_return: list[Handler] = []


class Target:
    """A probed file. `mapped`: some process has mapped it executable. `breakpoints`: those in it, where its code is probed so."""

    def __init__(self, path: str, image: Image) -> None:
        self.path = path
        self.breakpoints: FileBreakpoints | None = None
        self.image = image
        self.spots: dict[int, Spot] = {}
        self.mapped = False
        self.callbacks: dict[int, Handler] | None = None
        self.header = image.elf.read(0, 4096)


class UserPoints:
    """All points of one machine in programs. Planted when a file is mapped; forked processes inherit them.

    uprobes: who plants them in a booted kernel's programs, where they are breakpoints.
    """

    def __init__(self, machine: Kernel, description: Description, *, breakpoints: bool = False) -> None:
        self.machine = machine
        self.breakpoints = breakpoints
        self.uprobes: KernelUprobes | None = cast(Any, machine).uprobes if breakpoints and description.booted else None
        self._resolver = description.targets
        self.targets: dict[tuple[int, int], Target] = {}
        self._by_image: dict[Image, Target] = {}
        self._by_path: dict[bytes, Target | None] = {}
        self._returns: dict[str, Returns | Trampolines] = {}
        self.semaphores: Semaphores | BootedSemaphores | None = None  # of usdt probes, made when the first has one
        machine.on_image.append(self._announced)

    def target(self, path: str, image: Image) -> Target:
        """The file at a guest path."""
        if image in self._by_image:  # a wildcard asks for one file thousands of times
            return self._by_image[image]
        identity = self._resolver.identity(path)
        if identity is None:
            raise AttachError(f"{path}: it is gone")
        if identity not in self.targets:
            self.targets[identity] = Target(path, image)
            self._by_path.clear()
        return self._by_image.setdefault(image, self.targets[identity])

    def returns(self, engine: Engine) -> Following:
        """The return probes of a processor."""
        if self.uprobes is not None:
            return self.uprobes
        arch = engine.arch.name
        if arch not in self._returns:
            if self.breakpoints:
                trampolines = self._returns[arch] = Trampolines(self.machine, engine)
                self.machine.shown_stack = trampolines.shown
            else:
                self._returns[arch] = Returns(self.machine, engine)
        return self._returns[arch]

    def unmapped(self) -> list[str]:
        """Paths of targets that no process has mapped, sorted."""
        return sorted(t.path for t in self.targets.values() if not t.mapped)

    def _announced(self, space: AddressSpace, vma: Vma) -> None:
        """A file has been mapped executable: plant what belongs there, pull what was left by another mapping at these addresses."""
        target = self.target_of(vma)
        if self.uprobes is not None:
            if target is not None:
                target.mapped = True
            return
        if self.breakpoints:
            self._break_into(space, vma, target)
            return
        wanted = self._points(target, vma) if target else {}
        points = space.points
        stale = [a for a in (*points.blocks, *points.exact) if vma.start <= a < vma.end and a not in wanted]
        if not stale and not wanted:
            return
        engine = self.machine.engine_for(target.image.arch if target else self.machine.arch)
        for address in stale:
            engine.pull(space, address)
        for address, (callback, exact) in wanted.items():
            engine.plant(space, address, callback, exact=exact)

    def _break_into(self, space: AddressSpace, vma: Vma, target: Target | None) -> None:
        """The same with breakpoints."""
        traps = space.points.traps
        stale = [address for address in traps if vma.start <= address < vma.end]
        for address in stale:
            del traps[address]
        if target is not None and target.breakpoints is not None:
            target.mapped = True
            if target.callbacks is None:
                target.callbacks = {offset: self._callback(target, spot) for offset, spot in target.spots.items()}
                for offset, call in target.callbacks.items():
                    target.breakpoints.insert(offset, call)
            target.breakpoints.sync(space, vma)
        elif stale:
            self.machine.engine_for(self.machine.arch).traps_changed(space)

    def target_of(self, vma: Vma) -> Target | None:
        """The probed file that a mapping shows."""
        path = vma.path
        if path not in self._by_path:
            identity = self._resolver.identity(os.fsdecode(path))
            target = self.targets.get(identity) if identity else None
            if target is not None and vma.backing is not None and vma.backing.read(0, len(target.header)) != target.header:
                target = None  # the guest has put another file there
            self._by_path[path] = target
        return self._by_path[path]

    def _points(self, target: Target, vma: Vma) -> dict[int, tuple[Handler, bool]]:
        """Address to callback, and whether the point is exact, for what the mapping shows of the file."""
        target.mapped = True
        if target.callbacks is None:
            target.callbacks = {offset: self._callback(target, spot) for offset, spot in target.spots.items()}
        first, last = vma.file_offset, vma.file_offset + vma.end - vma.start
        return {
            vma.start + offset - first: (callback, target.spots[offset].exact)
            for offset, callback in target.callbacks.items()
            if first <= offset < last
        }

    def _callback(self, target: Target, spot: Spot) -> Handler:
        handlers = [*spot.handlers]
        if spot.on_return:
            returns = self.returns(self.machine.engine_for(target.image.arch))
            done = combined(spot.on_return)
            if isinstance(returns, Trampolines):
                assert target.breakpoints is not None
                handlers.append(returns.entry(done, target.breakpoints))
            elif isinstance(returns, Returns):
                handlers.append(returns.entry(done, spot.exact))
        return combined(handlers)


def register_uprobe(user: UserPoints, target: Target, offset: int) -> None:
    """In a booted kernel, have its own uprobes there, one for the handlers and one for those of returns. Raises AttachError."""
    if user.uprobes is None:
        return
    from pyprobe.runtime.system.uprobes import UprobeError

    spot = target.spots[offset]
    for returns, handlers in ((False, spot.handlers), (True, spot.on_return)):
        if not handlers or returns in spot.registered:
            continue
        spot.registered.add(returns)

        def call(handlers: list[Handler] = handlers) -> None:
            for handler in handlers:
                handler()

        try:
            user.uprobes.add(target.path, offset, *((None, call) if returns else (call, None)))
        except UprobeError as error:
            raise AttachError(f"Could not add a breakpoint at {target.path}+{offset:#x}: {error}") from error


def break_at(user: UserPoints, engine: Engine, target: Target, offset: int) -> str:
    """Make a file ready for a breakpoint at an offset; how it will work. Raises AttachError where Linux refuses one."""
    from pyprobe.runtime.machine.displaced import Refused, displace
    from pyprobe.runtime.machine.file_breakpoints import FileBreakpoints

    if target.breakpoints is None and user.uprobes is None:
        returned = user.returns(engine)
        assert isinstance(returned, Trampolines)
        target.breakpoints = FileBreakpoints(engine, target.image.elf.read, returned.returned)
    try:
        displaced = displace(engine.arch.name, target.image.elf.read(offset, disassembly.LONGEST[engine.arch.name]))
    except Refused as error:
        number = errno.errorcode.get(error.errno, str(error.errno))
        raise AttachError(f"Could not add a breakpoint at {target.path}+{offset:#x}: {error.reason} ({number})") from error
    return "breakpoint, simulated" if displaced.only_simulated else "breakpoint"


def missed(returns: Following) -> int:
    """Returns that were not seen."""
    return returns.nmissed if isinstance(returns, Trampolines) else 0


def instruction(image: Image, offset: int) -> str:
    """The text of the instruction at an offset of a file."""
    code = image.elf.read(offset, disassembly.LONGEST[image.arch])
    return next((str(i) for i in disassembly.instructions(image.arch, code, 0)), "")
