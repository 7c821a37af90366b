"""A kernel, described to probes without being run: its functions and symbols and types, from its image (runtime.probes.description)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.symbols import Image
from pyprobe.runtime.system.metadata import btf
from pyprobe.runtime.system.metadata.ctext import type_text
from pyprobe.runtime.system.metadata.facts import Facts
from pyprobe.runtime.system.metadata.symbols import KERNEL

if TYPE_CHECKING:
    from pyprobe.lang.typesys import Enum, Type
    from pyprobe.runtime.machine.targets import TargetResolver
    from pyprobe.runtime.probes.description import Parameters, Prototype
    from pyprobe.runtime.system.kernels.store import Kernel
    from pyprobe.runtime.system.metadata.events import Event
    from pyprobe.runtime.system.metadata.symbols import Symbol, Symbols
    from pyprobe.runtime.system.metadata.types import KernelTypes


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
    """The kernel that `--kernel` names. faithful: only what Linux itself lets one probe can be probed."""

    module = KERNEL
    booted = True

    def __init__(self, kernel: Kernel, targets: TargetResolver, *, faithful: bool = False) -> None:
        self.kernel = kernel
        self.arch = kernel.arch
        self.targets = targets
        self.faithful = faithful
        self.facts = Facts.of(kernel)
        self._images: dict[str, Image] = {}

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
            return f"{found.name} is on the list of functions that no kprobe may enter"
        if address != found.address and address in self.facts.patched:
            return f"{found.name}+{address - found.address:#x} is a static branch, which the kernel itself patches"
        return ""

    @cached_property
    def tracepoints(self) -> Mapping[tuple[str, str], Parameters]:
        return {key: tuple((f.type, f.name) for f in event.fields) for key, event in self.facts.events.items()}

    def event(self, category: str, name: str) -> Event | None:
        """A trace event with the layout of its record."""
        return self.facts.events.get((category, name))

    def raw_tracepoint(self, name: str) -> Prototype | None:
        """What a raw tracepoint is passed."""
        number = self.facts.raw_tracepoints.get(name)
        return Raw(name, self.facts.btf, number) if number is not None else None

    def type_named(self, name: str) -> Type | None:
        """A type of the kernel by its C name."""
        return self.types.named(name)

    def enum_constant(self, name: str) -> tuple[int, Enum] | None:
        return self.types.constant(name)

    @property
    def symbols(self) -> Mapping[str, int]:
        return self.table.by_name

    def symbol_at(self, address: int) -> tuple[str, int] | None:
        """The name of the symbol that an address belongs to, and the distance to it."""
        found = self.table.at(address)
        return (found.name, address - found.address) if found else None

    def symbol(self, name: str) -> Symbol | None:
        """A symbol with its size."""
        return self.table.symbol(name)

    def code(self, address: int, size: int) -> bytes:
        """The kernel's code as it was linked. Raises LookupError."""
        return self.facts.memory.read(address, size)

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
