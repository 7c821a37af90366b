"""The library of macros that comes with the language: `stdlib/*.pt`, read only when a script uses one of its macros.

Which file defines a macro is found by looking for definitions in the text of the files, once, when a script first uses a name that
is neither its own nor built in.
"""

from __future__ import annotations

import os
import re
from functools import cache

from pyprobe import stdlib
from pyprobe.lang.diagnostics import Diagnostics
from pyprobe.lang.nodes import Macro
from pyprobe.lang.source import Source

_DEFINITION = re.compile(r"^macro +(\w+)\(", re.M)
_COMMENT = re.compile(r"(?:^//.*\n)+(?=macro +(\w+)\()", re.M)


def is_name(path: str) -> bool:
    """Whether an import names a part of the library."""
    return path == "stdlib" or path.startswith("stdlib/")


@cache
def holds(name: str) -> bool:
    """Whether a source of this name is a file of the library, read as such or run as a script."""
    return name.startswith("stdlib/") or (name.endswith(".pt") and os.path.dirname(os.path.realpath(name)) == stdlib.FOLDER)


def exists(path: str) -> bool:
    """Whether the library has the part that an import names: `stdlib`, `stdlib/pointers`, `stdlib/pointers.pt`."""
    name = path.removeprefix("stdlib").removeprefix("/")
    return not name or ("/" not in name and name.removesuffix(".pt").removesuffix(".bt") in {file.removesuffix(".pt") for file in files()})


@cache
def files() -> tuple[str, ...]:
    """The names of the library's files, sorted."""
    return tuple(sorted(name for name in os.listdir(stdlib.FOLDER) if name.endswith(".pt")))


@cache
def index() -> dict[str, tuple[str, ...]]:
    """The files that define each macro."""
    found: dict[str, tuple[str, ...]] = {}
    for file in files():
        for name in dict.fromkeys(_DEFINITION.findall(stdlib.text(file))):
            found[name] = (*found.get(name, ()), file)
    return found


@cache
def documentation() -> dict[str, str]:
    """The comment before the definition of each macro, as text. Of several definitions of one name the first comment counts."""
    found: dict[str, str] = {}
    for file in files():
        for match in _COMMENT.finditer(stdlib.text(file)):
            lines = [line.removeprefix("//").removeprefix(" ") for line in match[0].splitlines()]
            found.setdefault(match[1], "\n".join(lines))
    return found


@cache
def macros(name: str) -> tuple[Macro, ...]:
    """The definitions of a macro of the library; empty when there is none of that name. They must be copied before they are changed."""
    return tuple(macro for file in index().get(name, ()) for macro in _definitions(file) if macro.name == name)


@cache
def _definitions(file: str) -> tuple[Macro, ...]:
    from pyprobe.lang.parser import parse  # the parser's tables are loaded already when a script asks for a macro

    diagnostics = Diagnostics()
    script = parse(Source(f"stdlib/{file}", stdlib.text(file)), diagnostics)
    assert script is not None, f"{file}: {[d.message for d in diagnostics]}"
    return tuple(item for item in script.items if isinstance(item, Macro))
