"""`pyprobe kernel ...`: the kernels that `--kernel` can name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pyprobe.messages import paint, say_error
from pyprobe.options import Options, UsageError
from pyprobe.runtime.settings import FAILED, OK
from pyprobe.runtime.system.kernels.errors import KernelError

if TYPE_CHECKING:
    from pyprobe.runtime.system.kernels.store import Kernel

USAGE = """\
USAGE: pyprobe kernel install NAME        fetch a distribution's kernel with apt: debian-arm64 or debian-amd64
       pyprobe kernel add NAME FILE...    take one from packages (.deb), or a vmlinuz, Image or vmlinux and its modules (.ko)
       pyprobe kernel list                show the kernels that there are
       pyprobe kernel remove NAME...      delete kernels"""


def run(words: Sequence[str], options: Options) -> int:
    """Run the subcommand; the exit status. `words` are those after `kernel`."""
    command = COMMANDS.get(words[0] if words else "")
    if command is None:
        asked = bool(words) and words[0] == "help"
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        return OK if asked else FAILED
    try:
        command(words[1:])
    except KernelError as error:
        say_error(str(error) + (f"\nHINT: {error.hint}" if error.hint else ""))
        return FAILED
    return OK


def install(words: Sequence[str]) -> None:
    from pyprobe.runtime.system.kernels.distribution import install

    for name in _wanted(words, 1):
        kernel = install(name, _say)
        _learn(kernel)
        _say(f"{name}: Linux {kernel.release} for {kernel.arch}")


def add(words: Sequence[str]) -> None:
    from pyprobe.runtime.system.kernels.store import add

    name, *files = _wanted(words, 2)
    kernel = add(name, files)
    _learn(kernel)
    _say(f"{name}: Linux {kernel.release or 'of unknown version'} for {kernel.arch}")


def show(words: Sequence[str]) -> None:
    from tabulate import tabulate

    from pyprobe.runtime.system.kernels.store import kernels

    rows = [(k.name, k.arch, k.release, ", ".join(file for file, _ in k.sources)) for k in kernels()]
    if rows:
        print(tabulate(rows, headers=("NAME", "ARCH", "RELEASE", "FROM"), tablefmt="plain", disable_numparse=True))
    else:
        print("No kernels; get one with: pyprobe kernel install debian-arm64", file=sys.stderr)


def remove(words: Sequence[str]) -> None:
    from pyprobe.runtime.system.kernels.store import remove

    for name in _wanted(words, 1):
        remove(name)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"install": install, "add": add, "list": show, "remove": remove}


def _wanted(words: Sequence[str], least: int) -> Sequence[str]:
    if len(words) < least:
        raise UsageError(USAGE.removeprefix("USAGE: "), prefix="USAGE: ")
    return words


def _learn(kernel: Kernel) -> None:
    """Read what the kernel tells about itself now, so that no run has to; and say what it does not tell."""
    from pyprobe.runtime.system.kernels import filesystems
    from pyprobe.runtime.system.metadata.facts import Facts

    facts = Facts.of(kernel)
    try:
        facts.prepare()
        lacking = filesystems.missing(kernel, facts)
    except KernelError as error:
        _warn(f"{kernel.name}: {error}")
        return
    if lacking:
        problem = filesystems.cannot_run(kernel, lacking)
        _warn(f"{problem}\nHINT: {problem.hint}")


def _warn(text: str) -> None:
    print(paint(f"WARNING: {text}", "warning"), file=sys.stderr)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
