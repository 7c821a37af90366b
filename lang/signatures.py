"""The shapes of the entries in the tables of functions (`lang.functions`) and builtin values (`lang.builtins`).

An entry says how many arguments there are, which kinds each may have, whether one must be a literal, what the result is, when the work
is done, and which probes may use it.

Argument kinds are the words that messages use for types (`kind()` of `lang.typesys`): `int`, `bool`, `string`, `pointer`, ... and
some that are not types: `map` (a map as a whole), `variable` (a scratch variable), `type` (a type), `any`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pyprobe.lang.config import Config
from pyprobe.lang.nodes import Node
from pyprobe.lang.typesys import (
    VOID,
    Type,
)

# ---- probes, by provider

USER = frozenset({"uprobe", "uretprobe", "usdt"})
KERNEL = frozenset({"kprobe", "kretprobe", "fentry", "fexit", "tracepoint", "rawtracepoint", "iter"})
TRAMPOLINE = frozenset({"fentry", "fexit", "iter"})
TIMER = frozenset({"profile", "interval"})
EVENT = frozenset({"software", "hardware", "watchpoint"})
REGISTERS = frozenset({"kprobe", "kretprobe"}) | USER | TIMER | EVENT  # a full register set is at hand

PROBE_TYPES = {
    "begin": "special",
    "end": "special",
    "self": "special",
    "bench": "benchmark",
}
"""What the `probetype` builtin shows, where that is not the provider's own name."""


# ---- parameters and signatures

Mode = Literal["sync", "async", "compile", "aggregate"]


class Param:
    """One parameter. `kinds` are the kinds accepted (empty: any value); `literal` wants a constant of that kind; `to` is the type the
    argument is converted to, None to leave it as it is."""

    __slots__ = ("kinds", "literal", "name", "optional", "to")

    def __init__(self, name: str, *kinds: str, literal: bool = False, optional: bool = False, to: Type | None = None) -> None:
        self.name = name
        self.kinds = kinds
        self.literal = literal
        self.optional = optional
        self.to = to


Rule = Callable[[Sequence[Node], Config], Type]
"""Gives the result type from the (already typed) arguments and the configuration."""


class Signature:
    """A function.

    `mode`: `sync` gives its result in the handler; `async` is done by the output side in event order; `compile` is gone after the
    check; `aggregate` is the right side of a map assignment only. `rest` is set where any number of further arguments may follow (the
    values of a format). `library`: upstream writes it as a library macro, so that a wrong count reads differently. `providers` is
    None where every probe may call it.
    """

    __slots__ = ("brief", "library", "mode", "name", "params", "providers", "rest", "result", "statement", "unsafe")

    def __init__(
        self,
        name: str,
        params: tuple[Param, ...],
        result: Type | Rule,
        brief: str,
        *,
        mode: Mode = "sync",
        rest: bool = False,
        unsafe: bool = False,
        library: bool = False,
        providers: frozenset[str] | None = None,
    ) -> None:
        self.name = name
        self.params = params
        self.result = result
        self.brief = brief
        self.mode: Mode = mode
        self.rest = rest
        self.unsafe = unsafe
        self.library = library
        self.providers = providers
        self.statement = result is VOID

    @property
    def least(self) -> int:
        """The smallest number of arguments."""
        return sum(not p.optional for p in self.params)

    @property
    def most(self) -> int | None:
        """The largest number of arguments; None: no limit."""
        return None if self.rest else len(self.params)


class BuiltinValue:
    """A value about the event. `type` is None where it depends on the probe (`args`, `retval`, `func`, the stacks). `words` are what
    may stand as argument (`nsecs(tai)`), in Builtin.args as text. `contextual`: not readable in the body of a `for` loop."""

    __slots__ = ("brief", "contextual", "library", "name", "providers", "refusal", "type", "words")

    def __init__(
        self,
        name: str,
        type: Type | None,
        brief: str,
        *,
        providers: frozenset[str] | None = None,
        refusal: str = "",
        words: tuple[str, ...] = (),
        library: bool = True,
        contextual: bool = False,
    ) -> None:
        self.name = name
        self.type = type
        self.brief = brief
        self.providers = providers
        self.refusal = refusal
        self.words = words
        self.library = library
        self.contextual = contextual
