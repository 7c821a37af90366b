"""C++ names: what a mangled one stands for (Itanium C++ ABI, 5.1), written as GCC's C++ runtime, and so every tool of Linux, writes it.

Rust's older names have the same form. That runtime itself is not asked: it is another one on every host. Symbol tables come from programs
that nobody need trust, and a name of a few hundred bytes may stand for gigabytes of text: what is made is bounded, and a name that asks for
more stays as it is in the file. So does one with what only expressions in the types of templates bring and this does not know.
"""

from __future__ import annotations

from functools import lru_cache

from pyprobe.runtime.machine.demangle.expressions import Expressions
from pyprobe.runtime.machine.demangle.names import Names
from pyprobe.runtime.machine.demangle.reader import NotMangled
from pyprobe.runtime.machine.demangle.types import Types


class Parser(Names, Types, Expressions):
    """Reads one name; which words of the grammar are read where is told by the parts."""


@lru_cache(maxsize=65536)
def demangled(name: str) -> str:
    """The C++ name with its parameters; the name itself where it is not a mangled one."""
    if not name.startswith("_Z"):
        return name
    try:
        text = Parser(name.encode("utf-8", "surrogateescape").decode("latin-1")).whole()
    except NotMangled:
        return name
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def without_parameters(text: str) -> str:
    """A demangled name up to its parameter list: up to the parenthesis that belongs to the last closing one."""
    depth = 0
    for at in range(text.rfind(")"), -1, -1):
        depth += (text[at] == ")") - (text[at] == "(")
        if not depth:
            return text[:at]
    return text
