"""The world that a script is compiled against: the providers' answers about one described machine. Nothing is started.

Also what `-l` shows, which is the same knowledge asked by pattern.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, cast

from pyprobe.lang.attachpoint import AttachPoint, PointError
from pyprobe.lang.providers import OLD_NAMES, SHORT
from pyprobe.lang.signatures import USER
from pyprobe.lang.source import Span
from pyprobe.lang.typesys import Enum, Record, Type
from pyprobe.runtime.probes import provider
from pyprobe.runtime.probes.base import Listed
from pyprobe.runtime.wildcard import matcher

if TYPE_CHECKING:
    from pyprobe.runtime.machine.targets import TargetResolver
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.system.description import SystemDescription

DEFAULT_ARCH = "x86_64"
KERNEL_KINDS = ["kprobe", "tracepoint", "software", "hardware", "fentry", "iter", "rawtracepoint"]  # what a name alone is looked up in
MAX_SCRIPTS = 4  # how many `#!` lines to follow from a command to its program


_SHORT = frozenset(("ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip", "pc", "cs", "ss", "flags", "orig_rax"))
PT_REGS = {
    "x86_64": _SHORT | {f"r{i}" for i in range(8, 16)},
    "arm64": frozenset(("sp", "pc", "pstate", *(f"r{i}" for i in range(31)), *(f"regs[{i}]" for i in range(31)))),
}
"""The names that reg() knows: the members of struct pt_regs (arch/x86/include/asm/ptrace.h, arch/arm64/include/asm/ptrace.h), and some
short ones."""


class MachineWorld:
    """`lang.world.World` of the user machine.

    command: the program and arguments of `-c`, if any: it decides the architecture and may be a probe's target by its name.
    environ, cwd: what the command gets. root: the directory that the guest sees as `/`.
    arch: the machine's architecture, where not the command decides. warnings: (message, place) of what matched in a doubtful way.
    """

    def __init__(
        self,
        command: Sequence[bytes] | None = None,
        environ: Mapping[bytes, bytes] | None = None,
        cwd: bytes = b"",
        *,
        root: str = "",
        arch: str = "",
        machine: Description | None = None,
    ) -> None:
        self.warnings: list[tuple[str, Span]] = []
        self._programs: dict[str, None] = {}  # paths of those that are probed, in order: their types may be named
        self._command = os.fsdecode(command[0]) if command else ""
        self._search = os.fsdecode((environ or {}).get(b"PATH", b"")) or os.environ.get("PATH", "")
        self._cwd = os.fsdecode(cwd)
        self._root = root
        self._arch = arch
        if machine is not None:
            self.machine = machine
        self.arch = self.machine.arch if machine is not None or self._command else arch or DEFAULT_ARCH

    @cached_property
    def machine(self) -> Description:
        """What the machine will have."""
        from pyprobe.runtime.machine.targets import TargetResolver
        from pyprobe.runtime.probes.description import UserDescription

        targets = TargetResolver(self._arch or DEFAULT_ARCH, root=self._root, cwd=self._cwd, search=self._search)
        if self._command:
            targets.command = find_command(targets, self._command)
            targets.arch = self._arch or program_arch(targets, targets.command) or DEFAULT_ARCH
        return UserDescription(targets.arch, targets)

    def matches(self, point: AttachPoint) -> Iterable[AttachPoint]:
        found = provider(point.provider, self.machine)
        if found is None:
            raise PointError(f"{point.provider} probes are not supported yet")
        matches = found.matches(self.machine, point)
        if point.provider in USER and matches and "*" not in point.target:
            self._programs.setdefault(next(iter(matches)).target)
        if point.provider in ("uprobe", "uretprobe") and "*" not in point.target and matches:
            files = self.machine.targets.resolve(point.target)
            if len(files) > 1:
                what = f"attaching to {point.provider} target file '{files[0]}' but matched {len(files)} binaries"
                self.warnings.append((what, point.span))
        return matches

    def args(self, point: AttachPoint) -> Record | None:
        found = provider(point.provider, self.machine)
        return found.args(self.machine, point) if found else None

    def retval(self, point: AttachPoint) -> Type | None:
        if point.provider != "fexit":
            return None
        from pyprobe.runtime.probes import trampoline, typed

        found = typed.retval if self.machine.booted else trampoline.retval
        return found(self.machine, point)

    def type_named(self, name: str) -> Type | None:
        return self.machine.type_named(name) or next((t for p in self._programs if (t := self._type_of_program(p, name)) is not None), None)

    def _type_of_program(self, path: str, name: str) -> Type | None:
        from pyprobe.runtime.machine.elf import ElfError

        debug = self.machine.image(path).debug_info
        try:
            return debug.named(name) if debug is not None else None
        except ElfError:
            return None  # damaged information is as good as none

    def enum_constant(self, name: str) -> tuple[int, Enum] | None:
        return self.machine.enum_constant(name)

    def kernel_symbol(self, name: str) -> int | None:
        return self.machine.symbols.get(name)

    def symbols_hint(self) -> str:
        if not self.machine.booted:
            return ""
        system = cast("SystemDescription", self.machine)
        return "" if system.table.has_data else "This kernel has symbols for its functions only (it was built without CONFIG_KALLSYMS_ALL)."

    def user_symbol(self, point: AttachPoint, name: str) -> tuple[int, int] | None:
        from pyprobe.runtime.machine.elf import ElfError

        try:
            symbol = self.machine.image(point.target).object(name)
        except ElfError:
            return None
        return (symbol.address, symbol.size) if symbol else None

    def registers(self) -> frozenset[str]:
        return PT_REGS[self.arch]

    def listing(self, query: str = "*") -> list[Listed]:
        """What `-l QUERY` shows: for each of the patterns, which commas separate, its matches sorted by name. A pattern is
        `PROVIDER:PATTERN...`; one without a colon asks for a name in all of the kernel's providers."""
        found: dict[str, Listed] = {}
        for pattern in query.split(","):
            for one in sorted(self._listing(pattern.strip()), key=lambda one: one.name):
                found.setdefault(one.name, one)
        return list(found.values())

    def types(self, query: str) -> list[tuple[str, Callable[[], str]]]:
        """What `-l 'struct PATTERN'` shows, for `union` and `enum` too: full names, sorted for each of the patterns that commas separate,
        and the definitions in C."""
        found: dict[str, Callable[[], str]] = {}
        for pattern in query.split(","):
            keyword, _, tag = pattern.strip().partition(" ")
            wanted = matcher(f"{keyword} {tag.strip()}")
            for name in filter(wanted, self.machine.type_names(keyword)):
                found.setdefault(name, partial(self.machine.definition, name))
        return list(found.items())

    def _listing(self, pattern: str) -> Iterable[Listed]:
        if not pattern:
            return
        if pattern == "kprobes:blacklist":
            from pyprobe.runtime.kprobes import blacklist

            yield from (Listed(line) for line in blacklist.lines(self.machine))
            return
        if ":" not in pattern:
            kind, parts = "*", [pattern]
        else:
            kind, *parts = pattern.split(":")
        parts = [p for p in parts if p] or parts[:0]
        name = SHORT.get(kind) or SHORT.get(kind.lower()) or OLD_NAMES.get(kind.lower()) or kind.lower()
        if "*" not in kind:
            kinds = [name]
        elif parts and "/" in parts[0]:
            kinds = ["uprobe"]
        else:
            kinds = KERNEL_KINDS
        wanted = matcher(name)
        for one in kinds:
            found = provider(one, self.machine)
            if found is not None and wanted(one):
                yield from found.listing(self.machine, one, parts)


def find_command(targets: TargetResolver, name: str) -> str:
    """The guest path of a command as a shell finds it, following `#!` lines to the program; "" if there is none."""
    for _ in range(MAX_SCRIPTS):
        places = [name] if "/" in name else [f"{d}/{name}" for d in targets.search.split(":") if d]
        path = next((p for p in places if os.path.isfile(targets.host_path(p))), "")
        if not path:
            return ""
        try:
            with open(targets.host_path(path), "rb") as stream:
                first = stream.read(256)
        except OSError:
            return path
        if not first.startswith(b"#!") or not first[2:].split():
            return path
        name = os.fsdecode(first[2:].split(b"\n")[0].split()[0])
    return ""


def program_arch(targets: TargetResolver, path: str) -> str:
    """The architecture of a program, "" if it is none that can run."""
    from pyprobe.runtime.machine.elf import arch_of

    if not path:
        return ""
    try:
        with open(targets.host_path(path), "rb") as stream:
            return arch_of(stream)
    except OSError:
        return ""
