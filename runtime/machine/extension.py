"""Whether a compiled extension may be used: in a checkout its source may have changed since it was built."""

from __future__ import annotations

import os
import zlib
from types import ModuleType


def require_current(module: ModuleType) -> None:
    """Raises ImportError when an extension was built from another source than the one that lies beside it."""
    built = module.__file__ or ""
    folder, name = os.path.dirname(built), module.__name__.rpartition(".")[2]
    sources = sorted(file for file in os.listdir(folder) if file.startswith(name) and file.endswith((".c", ".h")))
    if f"{name}.c" not in sources:
        return  # installed without it
    current = 0
    for source in sources:
        with open(os.path.join(folder, source), "rb") as file:
            current = zlib.crc32(file.read(), current)
    if getattr(module, "SOURCE", None) != f"{current:08x}":
        raise ImportError(f"{os.path.basename(built)} was built from another source")
