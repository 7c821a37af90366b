"""pyprobe: a probe-scripting language, compatible with bpftrace, whose probes fire in an emulated machine.

The command is `pyprobe` (see `pyprobe.cli`). From Python, `pyprobe.run(text, command=[...])` runs a script and returns what it printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.version import VERSION as __version__

if TYPE_CHECKING:
    from pyprobe.api import Result, run

__all__ = ["Result", "__version__", "run"]


def __getattr__(name: str) -> object:
    if name in ("run", "Result"):
        from pyprobe import api

        return getattr(api, name)
    raise AttributeError(f"module 'pyprobe' has no attribute '{name}'")
