"""A value of the machine as a piece of Python source, for generated handlers.

A handler is compiled once from generated source; what it reads from the machine (a register, a field of the current
task) is not fetched for it but spelled in it. `Bound` carries the spelling together with the objects it mentions.
"""

from __future__ import annotations


class Bound:
    """One readable thing of the machine.

    expression: a Python expression whose value is an int, bytes or str.
    names: the free names in `expression` and the objects to bind them to. A name always stands for the same object
        within one machine, so that the names of several values may be merged into one namespace.
    """

    __slots__ = ("expression", "names")

    def __init__(self, expression: str, names: dict[str, object]) -> None:
        self.expression = expression
        self.names = names

    def __repr__(self) -> str:
        return f"Bound({self.expression!r}, {sorted(self.names)})"

    def read(self) -> object:
        """The value now; slow, for one-off reads and tests."""
        return eval(self.expression, dict(self.names))
