"""A kernel, described to probes without being run: its functions and symbols and types, from its image (runtime.probes.description)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.symbols import Image
from pyprobe.runtime.system.metadata import btf, kallsyms, memory
from pyprobe.runtime.system.metadata.ctext import type_text
from pyprobe.runtime.system.metadata.symbols import KERNEL, Symbol, Symbols
from pyprobe.runtime.system.metadata.types import KernelTypes

if TYPE_CHECKING:
    from pyprobe.runtime.machine.targets import TargetResolver
    from pyprobe.runtime.probes.description import Parameters
    from pyprobe.runtime.system.kernels.store import Kernel


class Function:
    """A function of the kernel; its prototype is in the types, if it is known there (Prototype)."""

    __slots__ = ("_btf", "address", "name")

    def __init__(self, name: str, address: int, types: btf.Btf) -> None:
        self.name = name
        self.address = address
        self._btf = types

    @property
    def _prototype(self) -> int:
        number = self._btf.find(self.name, btf.FUNC)
        return self._btf.record(number).size if number else 0

    @property
    def typed(self) -> bool:
        """Whether this is a C function that the types describe."""
        return self._prototype != 0

    @property
    def parameters(self) -> Parameters:
        number = self._prototype
        return tuple((type_text(self._btf, kind), name) for name, kind in self._btf.parameters(number) if kind) if number else ()

    @property
    def result(self) -> str:
        number = self._prototype
        return type_text(self._btf, self._btf.record(number).size) if number else ""


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
    """The kernel that `--kernel` names."""

    module = KERNEL
    booted = True

    def __init__(self, kernel: Kernel, targets: TargetResolver) -> None:
        self.kernel = kernel
        self.arch = kernel.arch
        self.targets = targets
        self._images: dict[str, Image] = {}

    @cached_property
    def _memory(self) -> memory.KernelMemory:
        return memory.of_image(self.kernel.image, self.arch)

    @cached_property
    def table(self) -> Symbols:
        """All symbols, by name and by address."""
        found = kallsyms.read(self._memory)
        return Symbols(found.addresses, found.kinds, found.names)

    @cached_property
    def _btf(self) -> btf.Btf:
        return btf.Btf(btf.locate(self._memory))

    @cached_property
    def types(self) -> KernelTypes:
        return KernelTypes(self._btf)

    @cached_property
    def functions(self) -> Functions:
        return Functions(self.table.functions, self._btf)

    @property
    def tracepoints(self) -> Mapping[tuple[str, str], Parameters]:
        return {}

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
        return self._memory.read(address, size)

    def offset(self, record: str, *members: str) -> int:
        """The offset of a member of a struct, in bytes. Raises KeyError."""
        return self.types.offset(record, *members)

    def today(self, name: str) -> str | None:
        """Nothing: a real kernel's functions are called what they are called."""
        return None

    def image(self, path: str) -> Image:
        if path not in self._images:
            self._images[path] = Image.open(self.targets.host_path(path))
        return self._images[path]
