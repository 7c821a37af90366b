"""A kernel, described to probes without being run: its functions and symbols and types, from its image (runtime.probes.description)."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.symbols import Image
from pyprobe.runtime.system.kernels.filesystems import MODULES
from pyprobe.runtime.system.kernels.payload import decompress
from pyprobe.runtime.system.kernels.store import module_name
from pyprobe.runtime.system.metadata import btf
from pyprobe.runtime.system.metadata.ctext import type_text
from pyprobe.runtime.system.metadata.events import raw_tracepoints
from pyprobe.runtime.system.metadata.facts import Facts
from pyprobe.runtime.system.metadata.moduleevents import NO_EVENTS, TRACEPOINTS, ModuleEvents
from pyprobe.runtime.system.metadata.modulefile import ModuleFile
from pyprobe.runtime.system.metadata.reserved import REFUSALS
from pyprobe.runtime.system.metadata.symbols import KERNEL
from pyprobe.runtime.system.metadata.types import KernelTypes
from pyprobe.runtime.wildcard import matcher

if TYPE_CHECKING:
    from pyprobe.lang.attachpoint import AttachPoint
    from pyprobe.lang.typesys import Enum, Type
    from pyprobe.runtime.machine.targets import TargetResolver
    from pyprobe.runtime.probes.description import Parameters, Prototype
    from pyprobe.runtime.system.kernels.store import Kernel
    from pyprobe.runtime.system.metadata.events import Event
    from pyprobe.runtime.system.metadata.symbols import Symbol, Symbols
    from pyprobe.runtime.system.modules import Modules


class Function:
    """A function of the kernel; its prototype is in the types, if it is known there (Prototype)."""

    __slots__ = ("_btf", "address", "name")

    def __init__(self, name: str, address: int, types: btf.Btf) -> None:
        self.name = name
        self.address = address
        self._btf = types

    @property
    def prototype(self) -> int:
        """The number of its type, 0 if that is not known."""
        number = self._btf.functions.get(self.name, 0)
        return self._btf.record(number).size if number else 0

    @property
    def typed(self) -> bool:
        """Whether this is a C function that the types describe."""
        return self.prototype != 0

    @property
    def parameters(self) -> Parameters:
        number = self.prototype
        return tuple((type_text(self._btf, kind), name) for name, kind in self._btf.parameters(number) if kind) if number else ()

    @property
    def result(self) -> str:
        number = self.prototype
        return type_text(self._btf, self._btf.record(number).size) if number else ""


class Raw:
    """A raw tracepoint (Prototype); what the kernel's code passes comes after the data of who attached."""

    __slots__ = ("name", "parameters", "prototype", "result")

    def __init__(self, name: str, types: btf.Btf, prototype: int) -> None:
        self.name = name
        self.prototype = prototype
        self.parameters = tuple((type_text(types, kind), name) for name, kind in types.parameters(prototype)[1:])
        self.result = "void"


class Functions(Mapping[str, Function]):
    """The functions by name, sorted; each made when it is asked for."""

    def __init__(self, addresses: Mapping[str, int], types: btf.Btf) -> None:
        self._addresses = addresses
        self._btf = types

    def __getitem__(self, name: str) -> Function:
        return Function(name, self._addresses[name], self._btf)

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __len__(self) -> int:
        return len(self._addresses)

    def __contains__(self, name: object) -> bool:
        return name in self._addresses


class SystemDescription:
    """The kernel that `--kernel` names.

    faithful: only what Linux itself lets one probe can be probed. modules: those of the machine that runs it, once there is one.
    """

    module = KERNEL
    booted = True

    def __init__(self, kernel: Kernel, targets: TargetResolver, *, faithful: bool = False) -> None:
        self.kernel = kernel
        self.arch = kernel.arch
        self.targets = targets
        self.faithful = faithful
        self.facts = Facts.of(kernel)
        self._images: dict[str, Image] = {}
        self._files: dict[str, ModuleFile | None] = {}
        self._module_types: dict[str, KernelTypes] = {}
        self._events: dict[str, ModuleEvents] = {}
        self.modules: Modules | None = None

    @property
    def table(self) -> Symbols:
        """All symbols, by name and by address."""
        return self.facts.symbols

    @property
    def types(self) -> KernelTypes:
        return self.facts.types

    @cached_property
    def functions(self) -> Functions:
        return Functions(self.table.functions, self.facts.btf)

    @cached_property
    def traceable(self) -> frozenset[str]:
        """The functions that Linux itself lets one probe by name: what patterns match."""
        return self.facts.traceable - self.facts.forbidden.keys()

    @property
    def typed(self) -> Mapping[str, int]:
        """The functions whose types are known."""
        return self.facts.btf.functions

    @property
    def forbidden(self) -> Mapping[str, Symbol]:
        """The functions that Linux refuses kprobes for."""
        return self.facts.forbidden

    def refused(self, address: int) -> str:
        """Why Linux lets no kprobe stand at an address (check_kprobe_address_safe() in kernel/kprobes.c), or ""."""
        found = self.table.at(address)
        if found is None or not self.table.is_text(address):
            return f"{address:#x} is no code of the kernel"
        if found.address in self.facts.forbidden_addresses:
            return REFUSALS["forbidden"].format(found.name)
        facts, place = self.facts, f"{found.name}+{address - found.address:#x}"
        if address in facts.patched:
            return REFUSALS["patched"].format(place)
        if address in facts.static_calls:
            return REFUSALS["static call"].format(place)
        return REFUSALS["bug"].format(place) if address in facts.bugs else ""

    def refused_in(self, file: ModuleFile, function: str, offset: int) -> str:
        """The same for a function of a module."""
        return file.refused(function, offset, self.facts.bug_size)

    @cached_property
    def tracepoints(self) -> Mapping[tuple[str, str], Parameters]:
        """Those of the kernel and of the modules that are there early."""
        found = [self.facts.events, *(self.events_of(name).events for name in self.early_eventful)]
        return {key: tuple((f.type, f.name) for f in event.fields) for events in found for key, event in events.items()}

    def event(self, category: str, name: str) -> Event | None:
        """A trace event with the layout of its record: of the kernel, of a module kept with it, or of one of the root's modules whose names
        hold the category's."""
        found = self.facts.events.get((category, name))
        if found is None:
            alike = [module for module in self._in_root if category in module]
            of_modules = (self.events_of(module).events.get((category, name)) for module in (*self.eventful, *alike))
            found = next((event for event in of_modules if event is not None), None)
        return found

    @cached_property
    def eventful(self) -> list[str]:
        """The modules kept with the kernel that have tracepoints, sorted."""
        return [name for name, path in sorted(self.kernel.modules.items()) if TRACEPOINTS.encode() in path.read_bytes()]

    @cached_property
    def early_eventful(self) -> list[str]:
        """Those of them that are there when the command begins."""
        return [path.stem for path in self.kernel.load_order(*MODULES) if TRACEPOINTS.encode() in path.read_bytes()]

    def events_of(self, module: str) -> ModuleEvents:
        """The tracepoints and events of a module; none where there is no such module."""
        if module not in self._events:
            file = self.module_file(module)
            self._events[module] = ModuleEvents(file, self.types_of(module, ""), self.arch) if file is not None else NO_EVENTS
        return self._events[module]

    def raw_tracepoints(self, module: str) -> Mapping[str, int]:
        """The raw tracepoints of a module by name, with the numbers of their function types among the types of that module."""
        if module in ("", self.module):
            return self.facts.raw_tracepoints
        known = raw_tracepoints(self.types_of(module, "").btf)
        return {name: known[name] for name in self.events_of(module).names if name in known}

    def raw_tracepoint(self, name: str, module: str = "") -> Prototype | None:
        """What a raw tracepoint is passed."""
        number = self.raw_tracepoints(module).get(name)
        return Raw(name, self.types_of(module, "").btf, number) if number is not None else None

    def type_named(self, name: str) -> Type | None:
        """A type of the kernel by its C name, or of the modules that are there when the command begins."""
        found = self.types.named(name)
        if found is None:
            for file in self.early_modules:
                found = found or self.types_of(file.name, "").named(name)
        return found

    def type_names(self, keyword: str) -> list[str]:
        return self.types.tagged(keyword)

    def definition(self, name: str) -> str:
        return self.types.definition(name)

    def enum_constant(self, name: str) -> tuple[int, Enum] | None:
        return self.types.constant(name)

    @property
    def symbols(self) -> Mapping[str, int]:
        return self.table.by_name

    def symbol_at(self, address: int) -> tuple[str, int] | None:
        """The name of the symbol that an address belongs to, and the distance to it."""
        if self.modules is not None and not self.table.is_text(address):
            module = self.modules.symbol_at(address)
            if module is not None:
                return module
        found = self.table.at(address)
        return (found.name, address - found.address) if found else None

    @cached_property
    def early_modules(self) -> list[ModuleFile]:
        """The modules that are there when the command begins."""
        files = (self.module_file(path.stem) for path in self.kernel.load_order(*MODULES))
        return [file for file in files if file is not None]

    def module_file(self, name: str) -> ModuleFile | None:
        """A module of this kernel by the name that the kernel uses: of those kept with it, or in the root's /lib/modules. None if there
        is none. Raises KernelError for a damaged file."""
        if name not in self._files:
            path = self.kernel.modules.get(name) or self._in_root.get(name)
            self._files[name] = ModuleFile(name, decompress(path.read_bytes(), path.name)) if path is not None else None
        return self._files[name]

    @cached_property
    def _in_root(self) -> dict[str, Path]:
        """The modules of the root by name."""
        found: dict[str, Path] = {}
        for folder, subfolders, files in os.walk(self.targets.host_path(f"/lib/modules/{self.kernel.release}")):
            subfolders.sort()
            for file in sorted(files):
                if ".ko" in file:
                    found.setdefault(module_name(file), Path(folder, file))
        return found

    def module_files(self, pattern: str) -> list[ModuleFile]:
        """The modules whose functions a pattern for their name means: among those that are there early, or the one of that name."""
        if not pattern or "*" in pattern:
            return [file for file in self.early_modules if matcher(pattern or "*")(file.name)]
        file = self.module_file(pattern)
        return [file] if file is not None else []

    def file_of(self, point: AttachPoint) -> ModuleFile | None:
        """The module that an expanded point is in, None for the kernel itself."""
        if point.target in ("", self.module):
            return self.module_of(point.function) if point.function and not point.target else None
        return self.module_file(point.target)

    def module_of(self, function: str) -> ModuleFile | None:
        """Which of the early modules has a function that the kernel itself does not have."""
        if function in self.functions:
            return None
        return next((file for file in self.early_modules if function in file.functions), None)

    def types_of(self, module: str, function: str) -> KernelTypes:
        """The types that a function of the kernel or of a module is described with."""
        file = self.module_file(module) if module not in ("", self.module) else self.module_of(function)
        if file is None:
            return self.types
        if file.name not in self._module_types:
            blob = file.types(self.facts.btf)
            self._module_types[file.name] = KernelTypes(blob) if blob is not None else self.types
        return self._module_types[file.name]

    def symbol(self, name: str) -> Symbol | None:
        """A symbol with its size."""
        return self.table.symbol(name)

    def code(self, address: int, size: int) -> bytes:
        """The kernel's code as it was linked. Raises LookupError.

        Code has nothing to relocate, so that an arm64 Image need not be made ready for it.
        """
        if self.arch != "arm64":
            return self.facts.memory.read(address, size)
        start = self.facts.base
        if not start <= address <= start + len(self._image) - size:
            raise LookupError(f"the kernel's image has nothing at {address:#x}")
        return self._image[address - start : address - start + size]

    @cached_property
    def _image(self) -> mmap.mmap:
        with open(self.kernel.image, "rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def offset(self, record: str, *members: str) -> int:
        """The offset of a member of a struct, in bytes. Raises KeyError."""
        return self.types.offset(record, *members)

    def size(self, name: str) -> int:
        """The size of a type by its C name, in bytes; 0 when the kernel's types lack it."""
        found = self.types.named(name)
        return found.size if found is not None else 0

    def today(self, name: str) -> str | None:
        """Nothing: a real kernel's functions are called what they are called."""
        return None

    def image(self, path: str) -> Image:
        if path not in self._images:
            self._images[path] = Image.open(self.targets.host_path(path))
        return self._images[path]
