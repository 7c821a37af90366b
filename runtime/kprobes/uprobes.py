"""struct uprobe_consumer: probes in files, for every process that maps them (kernel/events/uprobes.c)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pyprobe.runtime.kprobes.api import KprobeError, _all
from pyprobe.runtime.kprobes.registers import PtRegs
from pyprobe.runtime.machine.disassembly import LONGEST
from pyprobe.runtime.machine.displaced import Refused, displace
from pyprobe.runtime.machine.elf import ElfError
from pyprobe.runtime.machine.file_breakpoints import FileBreakpoints
from pyprobe.runtime.machine.symbols import Image
from pyprobe.runtime.probes.trampolines import Trampolines

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import AddressSpace, Vma
    from pyprobe.runtime.machine.targets import TargetResolver
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.system.uprobes import Consumer

ENOTSUPP = 524  # the kernel's own, of no program's business
_ERRNO = {"x86_64": {errno.EILSEQ: errno.ENOEXEC, errno.EINVAL: ENOTSUPP}, "arm64": {errno.EILSEQ: errno.EINVAL}}


class Uprobe:
    """A consumer at one place of a file: `offset` in it, or symbol_name and an offset in that function.

    handler(self, regs): at the instruction; ret_handler(self, func, regs): when the function whose first instruction it is has returned,
    func is its address. nhits: hits so far.
    """

    def __init__(
        self,
        path: str,
        *,
        offset: int = 0,
        symbol_name: str | None = None,
        handler: Callable[[Uprobe, PtRegs], object] | None = None,
        ret_handler: Callable[[Uprobe, int, PtRegs], object] | None = None,
    ) -> None:
        self.path = path
        self.offset = offset
        self.symbol_name = symbol_name
        self.handler = handler
        self.ret_handler = ret_handler
        self.nhits = 0


class ProbedFile:
    """One file with its consumers, by offset and in the order they were registered."""

    def __init__(self, image: Image, breakpoints: FileBreakpoints | None) -> None:
        self.image = image
        self.breakpoints = breakpoints
        self.consumers: dict[int, list[Uprobe]] = {}


class Uprobes:
    """The uprobes of one machine. targets: finds files."""

    engine: Any

    def __init__(self, machine: Any, targets: TargetResolver) -> None:
        self.machine = machine
        self.engine = machine.engine_for(machine.arch)
        self.regs = PtRegs(machine.arch, self.engine.get, self.engine.set)
        self._targets = targets
        self._files: dict[tuple[int, int], ProbedFile] = {}
        self._trampolines: Trampolines | None = None
        machine.on_image.append(self._mapped)

    def register_uprobe(self, u: Uprobe) -> None:
        """Plant a probe, also where the file is mapped already. Raises KprobeError:

        EINVAL: no handler at all, or an offset that is not in the file. ENOENT: no such file or symbol. EIO: the file cannot be read.
        ENOEXEC, ENOTSUPP (arm64: EINVAL): no instruction, or one that cannot be displaced.
        """
        if u.handler is None and u.ret_handler is None:
            raise KprobeError(errno.EINVAL, "there is no handler")
        identity = self._targets.identity(u.path)
        if identity is None:
            raise KprobeError(errno.ENOENT)
        try:
            file = self._files.get(identity) or self._open(u.path)
            offset = self._offset(file.image, u)
            consumers = file.consumers.get(offset)
            if consumers is None:
                self._plant(file, offset, u)
                file.consumers[offset] = consumers = []
        except ElfError as error:
            raise KprobeError(errno.EIO, str(error)) from None
        except Refused as error:
            raise KprobeError(_ERRNO[self.machine.arch].get(error.errno, error.errno), error.reason) from None
        self._files[identity] = file
        consumers.append(u)
        self._planted(file, offset, u)

    def unregister_uprobe(self, u: Uprobe) -> None:
        """Take a probe away; nothing happens if it is not registered."""
        for file in self._files.values():
            for offset, consumers in list(file.consumers.items()):
                if any(c is u for c in consumers):
                    file.consumers[offset] = left = [c for c in consumers if c is not u]
                    if not left:
                        del file.consumers[offset]
                        self._pull(file, offset)

    def _plant(self, file: ProbedFile, offset: int, u: Uprobe) -> None:
        """The first consumer comes to a place. Raises Refused."""
        assert file.breakpoints is not None
        file.breakpoints.insert(offset, lambda: self._hit(file, offset))

    def _planted(self, file: ProbedFile, offset: int, u: Uprobe) -> None:
        """A consumer is there."""
        assert file.breakpoints is not None
        for space, vma in self._mappings(file):
            file.breakpoints.sync(space, vma)

    def _pull(self, file: ProbedFile, offset: int) -> None:
        """The last consumer has gone."""
        assert file.breakpoints is not None
        file.breakpoints.remove(offset, self._mappings(file))

    def register_uprobes(self, us: Sequence[Uprobe]) -> None:
        """Plant all of the probes, or none. Raises KprobeError."""
        _all(us, self.register_uprobe, self.unregister_uprobes)

    def unregister_uprobes(self, us: Iterable[Uprobe]) -> None:
        """Take probes away."""
        for u in us:
            self.unregister_uprobe(u)

    def _open(self, path: str) -> ProbedFile:
        image = Image.open(self._targets.host_path(path))
        if self._trampolines is None:
            self._trampolines = Trampolines(self.machine, self.engine)
            self.machine.shown_stack = self._trampolines.shown
        return ProbedFile(image, FileBreakpoints(self.engine, image.elf.read, self._trampolines.returned))

    def _offset(self, image: Image, u: Uprobe) -> int:
        if u.symbol_name is None:
            found: int | None = u.offset
        else:
            symbol = image.function(u.symbol_name)
            if symbol is None:
                raise KprobeError(errno.ENOENT, f"no symbol {u.symbol_name}")
            found = image.elf.offset(symbol.address + u.offset)
        if found is None or not image.elf.read(found, 1):
            raise KprobeError(errno.EINVAL, "the offset is not in the file")
        if image.arch == "arm64" and found & 3:
            raise KprobeError(errno.EINVAL, "the offset is not that of an instruction")
        return found

    def _hit(self, file: ProbedFile, offset: int) -> None:
        state = self.engine.state
        self.regs.pointer = address = state.pc
        returned: list[Uprobe] = []
        for u in file.consumers.get(offset, ()):
            u.nhits += 1
            if u.handler is not None:
                u.handler(u, self.regs)
            if u.ret_handler is not None:
                returned.append(u)
        if returned:
            assert self._trampolines is not None and file.breakpoints is not None
            self._trampolines.entry(lambda: self._returned(returned, address), file.breakpoints)()

    def _returned(self, consumers: list[Uprobe], function: int) -> None:
        self.regs.pointer = self.engine.state.pc
        for u in consumers:
            if u.ret_handler is not None:
                u.ret_handler(u, function, self.regs)

    def _file_of(self, vma: Vma) -> ProbedFile | None:
        identity = self._targets.identity(os.fsdecode(vma.path))
        return self._files.get(identity) if identity else None

    def _mapped(self, space: AddressSpace, vma: Vma) -> None:
        file = self._file_of(vma)
        if file is not None and file.breakpoints is not None and file.image.arch == self.machine.arch:
            file.breakpoints.sync(space, vma)

    def _mappings(self, file: ProbedFile) -> list[tuple[AddressSpace, Vma]]:
        return [(s, v) for s in self.machine.spaces() for v in self.machine.images(s) if self._file_of(v) is file]


class BootedUprobes(Uprobes):
    """The same in a booted kernel, whose own uprobes they are: they come before the command runs, and one that has gone leaves its
    breakpoint behind in what runs. EBUSY: it is too late; EOPNOTSUPP: the kernel has no uprobes."""

    def __init__(self, machine: SystemMachine, targets: TargetResolver) -> None:
        self.machine = machine
        self.engine = machine.programs.engine
        self.regs = PtRegs(machine.arch, self._get, machine.processor.set)
        self._targets = targets
        self._files = {}
        self._trampolines = None
        self._added: dict[tuple[int, int, bool], Consumer] = {}  # by file, offset, whether it is for returns

    def _get(self, name: str) -> int:
        task = self.machine.current
        if name in _KEPT and task is not None:
            return int(self.machine.programs.saved(task, name))
        return int(self.machine.processor.get(name))

    def _open(self, path: str) -> ProbedFile:
        return ProbedFile(Image.open(self._targets.host_path(path)), None)

    def _plant(self, file: ProbedFile, offset: int, u: Uprobe) -> None:
        displace(self.machine.arch, file.image.elf.read(offset, LONGEST[self.machine.arch]))
        self._add(file, offset, u.path, lambda: self._entered(file, offset), None)

    def _planted(self, file: ProbedFile, offset: int, u: Uprobe) -> None:
        if u.ret_handler is not None and (id(file), offset, True) not in self._added:
            self._add(file, offset, u.path, None, lambda: self._left(file, offset))

    def _add(
        self, file: ProbedFile, offset: int, path: str, hit: Callable[[], None] | None, returned: Callable[[], None] | None
    ) -> None:
        from pyprobe.runtime.system.uprobes import UprobeError

        try:
            self._added[id(file), offset, hit is None] = self.machine.uprobes.add(path, offset, hit, returned)
        except UprobeError as error:
            raise KprobeError(error.number, str(error)) from None

    def _pull(self, file: ProbedFile, offset: int) -> None:
        for returns in (False, True):
            consumer = self._added.pop((id(file), offset, returns), None)
            if consumer is not None:
                self.machine.uprobes.remove(consumer)

    def _entered(self, file: ProbedFile, offset: int) -> None:
        self.regs.pointer = self.engine.state.pc
        for u in file.consumers.get(offset, ()):
            u.nhits += 1
            if u.handler is not None:
                u.handler(u, self.regs)

    def _left(self, file: ProbedFile, offset: int) -> None:
        self._returned(file.consumers.get(offset, []), self.machine.uprobes.function)


_KEPT = frozenset({"flags", "cs", "ss", "pstate"})  # of a program, where the kernel has them
