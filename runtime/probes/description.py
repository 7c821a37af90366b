"""What a machine offers to probes, told without starting it: its kernel's functions, tracepoints and types, and where its files are.

Listing, checking and wildcards work from this. `UserDescription` describes the emulated Linux from the tables of `runtime.user`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Protocol, cast

from pyprobe import stdlib
from pyprobe.lang.typesys import Enum, Type
from pyprobe.runtime.machine.symbols import Image
from pyprobe.runtime.machine.targets import TargetResolver

if TYPE_CHECKING:
    from pyprobe.runtime.user.functions import KernelFunctions
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.kernel_types import KernelTypes

Parameters = tuple[tuple[str, str], ...]
"""(C type, name) each."""


class Prototype(Protocol):
    """A kernel function: C type of the result, and parameters."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> Parameters: ...

    @property
    def result(self) -> str: ...


class Description(Protocol):
    """One machine, described. `module` is the name of the kernel itself among its modules; `booted`: it is real, with code of its own."""

    booted: bool
    arch: str
    module: str
    targets: TargetResolver

    @property
    def functions(self) -> Mapping[str, Prototype]:
        """The functions that kprobes can attach to, by name, sorted."""

    @property
    def tracepoints(self) -> Mapping[tuple[str, str], Parameters]:
        """The fields of each tracepoint by (category, name), sorted, without the common ones."""

    @property
    def symbols(self) -> Mapping[str, int]:
        """The addresses of the kernel's symbols."""

    def symbol_at(self, address: int) -> tuple[str, int] | None:
        """The name of the kernel's symbol that an address belongs to, and the distance to it."""

    def type_named(self, name: str) -> Type | None:
        """A type of the kernel by its C name: `struct task_struct`, `u32`."""

    def enum_constant(self, name: str) -> tuple[int, Enum] | None:
        """Value and enum of a constant of the kernel."""

    def type_names(self, keyword: str) -> list[str]:
        """The full names of the kernel's types of a keyword (`struct`, `union` or `enum`), sorted."""

    def definition(self, name: str) -> str:
        """A struct, union or enum by its full name, as C defines it."""

    def today(self, name: str) -> str | None:
        """What the function is called in this kernel that had a name in an earlier one; None if there is none."""

    def image(self, path: str) -> Image:
        """The symbols of a file that `targets` has found. Raises ElfError when it is gone or damaged since."""


class UserDescription:
    """The emulated Linux of `runtime.user`."""

    module = "vmlinux"
    booted = False

    def __init__(self, arch: str, targets: TargetResolver) -> None:
        self.arch = arch
        self.targets = targets
        self._images: dict[str, Image] = {}

    def image(self, path: str) -> Image:
        if path not in self._images:
            self._images[path] = Image.open(self.targets.host_path(path))
        return self._images[path]

    @cached_property
    def _kernel(self) -> Kernel:
        """Stands in for a kernel where only the tables of its functions and tracepoints are asked for."""
        import_module("pyprobe.runtime.user.kernel")  # it and what it imports hold the marked functions
        from pyprobe.runtime.user.syscall_table import SyscallTable

        return cast("Kernel", SimpleNamespace(syscalls=SyscallTable()))

    @cached_property
    def _functions(self) -> KernelFunctions:
        kernel = self._kernel
        from pyprobe.runtime.user.functions import KernelFunctions

        return KernelFunctions(kernel, self.arch)

    @cached_property
    def functions(self) -> Mapping[str, Prototype]:
        return {f.name: f for f in self._functions}

    @cached_property
    def tracepoints(self) -> Mapping[tuple[str, str], Parameters]:
        kernel = self._kernel
        from pyprobe.runtime.user.tracepoints import Tracepoints

        return {(t.category, t.name): t.fields for t in Tracepoints(kernel, self.arch)}

    @property
    def symbols(self) -> Mapping[str, int]:
        return self._functions.addresses

    def symbol_at(self, address: int) -> tuple[str, int] | None:
        return self._functions.symbol(address)

    def type_named(self, name: str) -> Type | None:
        return self._types.named(name)

    def enum_constant(self, name: str) -> tuple[int, Enum] | None:
        return self._types.constant(name)

    def type_names(self, keyword: str) -> list[str]:
        return self._types.tagged(keyword)

    def definition(self, name: str) -> str:
        return self._types.definition(name)

    @cached_property
    def _types(self) -> KernelTypes:
        from pyprobe.runtime.user.kernel_types import kernel_types

        return kernel_types(self.arch)

    @cached_property
    def _historic(self) -> list[tuple[str, str]]:
        lines = stdlib.text("historic_names.tsv").splitlines()
        rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
        prefix = {"x86_64": "x64", "arm64": "arm64"}[self.arch]
        return [(row[0], row[1].replace("ARCH", prefix)) for row in rows]

    def today(self, name: str) -> str | None:
        for old, new in self._historic:
            head, star, tail = old.partition("*")
            if star and len(name) > len(head) + len(tail) and name.startswith(head) and name.endswith(tail):
                found = new.replace("*", name[len(head) : len(name) - len(tail)])
            elif name == old:
                found = new
            else:
                continue
            if found in self.functions:
                return found
        return None
