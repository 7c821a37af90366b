"""`--info`: what this installation has, in the layout of bpftrace's own report."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

PACKAGES = ("lark", "unicorn", "capstone", "pyelftools", "tabulate", "libclang")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _columns(entries: list[tuple[str, str]]) -> str:
    """Two `  name: value` entries to a line, the left one padded to 35 columns."""
    cells = [f"  {name}: {value}" for name, value in entries]
    lines = [f"{cells[i]:<35}{cells[i + 1] if i + 1 < len(cells) else ''}".rstrip() for i in range(0, len(cells), 2)]
    return "\n".join(lines)


def native_missing() -> str:
    """Why the native callbacks cannot be used, "" when they can."""
    try:
        import pyprobe.runtime.machine.native  # noqa: F401  # only whether it is there
    except ImportError as error:
        return str(error)
    return ""


def text() -> str:
    """The whole report, ending in a newline."""
    from pyprobe.runtime.probes import PROVIDERS
    from pyprobe.version import VERSION

    why_not = native_missing()
    uname = platform.uname()
    return (
        f"System\n  OS: {uname.system} {uname.release} {uname.version}\n  Arch: {uname.machine}\n  Python: {sys.version.split()[0]}\n\n"
        f"Build\n  version: v{VERSION}\n" + "".join(f"  {p}: {_version(p)}\n" for p in PACKAGES) + "\n"
        f"Machine\n  native extension: {f'no ({why_not})' if why_not else 'yes'}\n  user machine: x86_64, arm64\n\n"
        f"Probe types\n{_columns([(name, 'yes') for name in PROVIDERS])}\n"
    )
