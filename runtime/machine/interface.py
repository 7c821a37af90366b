"""What the rest of the project sees of a machine, be it an emulated Linux or a booted kernel.

Providers attach, builtins read, the session runs; none of them knows which kind of machine it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pyprobe.runtime.machine.clock import Clock
    from pyprobe.runtime.machine.memory import AddressSpace, Vma

Callback = Callable[[], object]
ImageCallback = Callable[["AddressSpace", "Vma"], object]


class TaskView(Protocol):
    """The current task, as builtins show it. Strings are bytes without terminator."""

    comm: bytes
    tid: int

    @property
    def pid(self) -> int: ...

    @property
    def ppid(self) -> int: ...

    @property
    def uid(self) -> int: ...

    @property
    def gid(self) -> int: ...

    @property
    def space(self) -> AddressSpace: ...


class Functions(Protocol):
    """The kernel's functions; see runtime.user.functions for one whose arguments are read as `function.args`."""

    addresses: dict[str, int]

    def __contains__(self, name: str) -> bool: ...

    def get(self, name: str) -> Any: ...

    def attach(self, name: str, on_entry: Callback | None = None, on_exit: Callback | None = None) -> None: ...

    def symbol(self, address: int) -> tuple[str, int] | None: ...

    def object_address(self, thing: object) -> int: ...

    def stack(self) -> Sequence[int]: ...


class TracepointTable(Protocol):
    """The kernel's tracepoints; during a callback a tracepoint's `values` are valid."""

    def get(self, category: str, name: str) -> Any: ...

    def attach(self, category: str, name: str, callback: Callback) -> None: ...


class Machine(Protocol):
    """One machine.

    arch: `x86_64` or `arm64`. current: the task that runs, None between tasks and before the start.
    on_image: called with the space and the mapping whenever an executable mapping of a file has appeared in an address space; a forked
    space has its parent's mappings and probe points from its birth and is not announced.
    """

    arch: str
    clock: Clock
    on_image: list[ImageCallback]

    @property
    def current(self) -> TaskView | None: ...

    @property
    def functions(self) -> Functions: ...

    @property
    def tracepoints(self) -> TracepointTable: ...

    @property
    def lives(self) -> TracepointTable:
        """sched_process_fork, sched_process_exec and sched_process_exit as the machine itself follows them."""

    def run(self) -> int:
        """Run to the end; the exit status as a shell shows it. May be called again after an exception of a callback."""

    def stop(self) -> None:
        """End the run at the next possible moment."""

    def read(self, address: int, size: int) -> bytes | None:
        """Memory of the current task; None where it is not readable."""

    def read_string(self, address: int, limit: int) -> bytes | None:
        """A NUL-terminated string of the current task, cut at `limit` bytes; None where its first byte is not readable."""

    def spaces(self) -> Iterable[AddressSpace]:
        """The address spaces of all processes, each once."""

    def images(self, space: AddressSpace) -> list[Vma]:
        """The executable mappings of files in a space."""
