"""The one protocol through which the language asks about a machine: which probes exist, what types and names it has.

`lang` never touches a machine. A caller passes a `World`; `NoWorld` takes every probe to exist and knows nothing else,
which is enough to parse and to check programs that use no typed arguments and nothing of a kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.typesys import Enum, Record, Type


class World(Protocol):
    """What a machine tells the compiler. Every method answers from tables; none starts or changes anything."""

    arch: str  # "x86_64" or "arm64"

    def matches(self, point: AttachPoint) -> Iterable[AttachPoint]:
        """The points that `point` (with or without wildcards) stands for, sorted; empty when nothing matches.

        Raises `attachpoint.NoMatch` where there is more to say about that (hints, the program that was looked in), and
        `attachpoint.PointError` (message and hints) when the point can never be attached here, whatever `missing_probes` says.
        """

    def args(self, point: AttachPoint) -> Record | None:
        """The typed `args` of an expanded point, or None when it has none.

        Raises `attachpoint.PointError` when it should have some that cannot be told (a program without debug information).
        """

    def retval(self, point: AttachPoint) -> Type | None:
        """The type of `retval` where the provider types it (fexit); None means uint64."""

    def type_named(self, name: str) -> Type | None:
        """A kernel type by its C name: `struct task_struct`, `u32`, `pid_t`."""

    def enum_constant(self, name: str) -> tuple[int, Enum] | None:
        """A kernel enum constant by its bare name."""

    def kernel_symbol(self, name: str) -> int | None:
        """The address of a kernel symbol (`kaddr`)."""

    def symbols_hint(self) -> str:
        """Why a kernel symbol may not be known, "" without a reason."""

    def user_symbol(self, point: AttachPoint, name: str) -> tuple[int, int] | None:
        """File address and size in bytes of a symbol of the point's target program (`uaddr`)."""

    def registers(self) -> frozenset[str]:
        """The names that reg() knows on this architecture."""


class NoWorld:
    """A world without a machine: every probe exists, once; no types, no symbols, no registers."""

    arch = "x86_64"

    def matches(self, point: AttachPoint) -> Iterable[AttachPoint]:
        return [point]

    def args(self, point: AttachPoint) -> Record | None:
        return None

    def retval(self, point: AttachPoint) -> Type | None:
        return None

    def type_named(self, name: str) -> Type | None:
        return None

    def enum_constant(self, name: str) -> tuple[int, Enum] | None:
        return None

    def kernel_symbol(self, name: str) -> int | None:
        return None

    def symbols_hint(self) -> str:
        return ""

    def user_symbol(self, point: AttachPoint, name: str) -> tuple[int, int] | None:
        return None

    def registers(self) -> frozenset[str]:
        return frozenset()
