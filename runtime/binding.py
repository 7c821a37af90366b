"""How a handler gets at an event: what each builtin is as a Python expression at one kind of attachment.

A handler is generated once per probe body and attachment. Generated code never looks anything up by name: a `Binding` says that
`arg0` is, for instance, `f.args[0]` with `f` the emulated kernel function, or `r7.value` with `r7` a register cell, and those names
become closure variables of the handler.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pyprobe.runtime.machine.bound import Bound


class Binding(Protocol):
    """Expresses builtins at one attachment. The value of an expression must be the Python value of the builtin's type (`lang.typesys`)."""

    def builtin(self, name: str, *literals: Any) -> Bound:
        """The expression for a builtin.

        `name` is the builtin's name: `pid`, `tid`, `comm`, `arg` (number), `retval`, `func`, `args` (field name), `reg` (register
        name), `kstack` and `ustack` (mode, limit of frames: value `(pid or 0, address, ...)`), and so on. `literals` are its
        arguments. Raises KeyError when this attachment does not have it.
        """


class FixedBinding:
    """A binding of constant values, for probes without an event (`begin`, `end`) and for tests.

    `values` maps a builtin's name, or a tuple of its name and literals, to the value or to a Bound.
    """

    def __init__(self, values: Mapping[Any, Any]) -> None:
        self.values = values

    def builtin(self, name: str, *literals: Any) -> Bound:
        value = self.values[(name, *literals)] if (name, *literals) in self.values else self.values[name]
        return value if isinstance(value, Bound) else Bound(name, {name: value})
