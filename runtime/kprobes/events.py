"""Kprobe events as text: definitions as in /sys/kernel/tracing/kprobe_events, hits as lines of a trace.

Syntax and formats: Documentation/trace/kprobetrace.rst, kernel/trace/trace_kprobe.c and trace_probe.c.

    p[:[GRP/]EVENT] SYMBOL[+OFFSET]|ADDRESS [FETCHARG...]
    r[MAXACTIVE][:[GRP/]EVENT] SYMBOL[+0] [FETCHARG...]
    -:[GRP/]EVENT

FETCHARG is [NAME=]FETCH[:TYPE] with %REG, $argN, $retval, $comm, $stack, $stackN, @ADDRESS, @SYMBOL[+-OFFSET], +|-[u]OFFSET(FETCH) and
\\IMMEDIATE. What the kernel has files for beside this one, `write` takes in lines, too:

    filter:[GRP/]EVENT EXPRESSION (see filters.py; `0` takes the filter away)
"""

from __future__ import annotations

import builtins
import errno
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.kprobes.api import Kprobe, KprobeError, Kretprobe, KretprobeInstance
from pyprobe.runtime.kprobes.filters import Filter
from pyprobe.runtime.kprobes.filters import parse as parse_filter
from pyprobe.runtime.kprobes.registers import FIELDS, PtRegs, regs_get_kernel_argument, regs_return_value

if TYPE_CHECKING:
    from pyprobe.runtime.kprobes.api import Kprobes

MAX_ARGUMENTS = 128  # MAX_TRACE_ARGS
MAX_NAME = 64
STRING_LIMIT = 4096
U64 = (1 << 64) - 1

_HEAD = re.compile(r"(?P<kind>[pr])(?P<maxactive>\d*)(?::(?:(?P<group>[^/\s]*)/)?(?P<event>[^/\s]*))?$")
_PLACE = re.compile(r"(?:(?P<module>\w+):)?(?P<symbol>[A-Za-z_][\w.$]*)(?:\+(?P<offset>\w+))?$")
_TYPE = re.compile(
    r"(?:(?P<sign>[usx])(?P<bits>8|16|32|64)|b(?P<width>\d+)@(?P<at>\d+)/(?P<container>8|16|32|64)|(?P<word>u?string|symbol|char))$"
)
_NAME = re.compile(r"[A-Za-z_]\w*$")
_DEREFERENCE = re.compile(r"([+-])u?(\w+)\((.*)\)$")

Fetch = Callable[["Hit"], int]


class Memory(NamedTuple):
    """What fetching needs of a machine. read: memory, None where there is none; comm: the running task's name and id; now: ns since
    boot."""

    read: Callable[[int, int], bytes | None]
    comm: Callable[[], tuple[str, int]]
    now: Callable[[], int]


class Hit(NamedTuple):
    """A hit while its arguments are fetched."""

    regs: PtRegs
    memory: Memory


class Fault(Exception):
    """An argument that cannot be fetched; shows as (fault)."""


class Argument(NamedTuple):
    """One FETCHARG. comm: it is the task's name."""

    name: str
    fetch: Fetch
    type: str
    comm: bool

    def show(self, hit: Hit, symbol: Callable[[int], str]) -> str:
        """The value as a trace shows it."""
        try:
            return self._show(hit, symbol)
        except Fault:
            return "(fault)"

    def _show(self, hit: Hit, symbol: Callable[[int], str]) -> str:
        value = self.value(hit)
        if isinstance(value, str):
            return f'"{value}"'
        if self.type == "symbol":
            return symbol(value)
        if self.type == "char":
            return f"'{chr(value)}'"
        return f"{value:#x}" if self.type.startswith("x") else str(value)

    @property
    def kind(self) -> builtins.type[int] | builtins.type[str]:
        """What `value` gives: int or str."""
        return str if self.comm or self.type in ("string", "ustring") else int

    def value(self, hit: Hit) -> int | str:
        """The value itself. Raises Fault."""
        if self.comm:
            return hit.memory.comm()[0]
        value = self.fetch(hit)
        parts = _TYPE.match(self.type)
        assert parts is not None
        if parts["word"] in ("string", "ustring"):
            return _string(hit, value)
        if parts["word"]:
            return value & 255 if parts["word"] == "char" else value
        if parts["width"]:
            return value >> int(parts["at"]) & (1 << int(parts["width"])) - 1
        bits = int(parts["bits"])
        value &= (1 << bits) - 1
        return value - (1 << bits) if parts["sign"] == "s" and value >> (bits - 1) else value


def _string(hit: Hit, address: int) -> str:
    found = b""
    while len(found) < STRING_LIMIT and b"\0" not in found:
        at = address + len(found)
        piece = hit.memory.read(at & U64, min(64, 4096 - at % 4096))
        if piece is None:
            if not found:
                raise Fault
            break
        found += piece
    return found.partition(b"\0")[0].decode("utf-8", "backslashreplace")


class Definition:
    """One event. group, event: its names; returns: it is a return probe; offset, symbol or address: where; written: as it was given."""

    def __init__(self, group: str, event: str, returns: bool, maxactive: int, symbol: str, offset: int, address: int) -> None:
        self.group = group
        self.event = event
        self.returns = returns
        self.maxactive = maxactive
        self.symbol = symbol
        self.offset = offset
        self.address = address
        self.arguments: list[Argument] = []
        self.written: list[str] = []
        self.nhits = 0
        self.probe: Kprobe | Kretprobe | None = None
        self.filter: Filter | None = None

    def passes(self, hit: Hit) -> bool:
        """Whether the filter lets a hit through; what cannot be fetched counts as nothing."""
        if self.filter is None:
            return True
        arguments = {a.name: a for a in self.arguments}

        def field(name: str) -> int | str:
            argument = arguments.get(name)
            if argument is None:
                comm, pid = hit.memory.comm()
                return pid if name == "common_pid" else comm
            try:
                return argument.value(hit)
            except Fault:
                return argument.kind()

        return self.filter(field)

    def __str__(self) -> str:
        """As kprobe_events shows it."""
        kind = f"r{self.maxactive or ''}" if self.returns else "p"
        place = f"{self.symbol}{f'+{self.offset}' if self.offset else ''}" if self.symbol else f"{self.address:#x}"
        return " ".join([f"{kind}:{self.group}/{self.event} {place}", *self.written])


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise KprobeError(errno.EINVAL, f"not a number: {text}") from None


def parse(line: str, arch: str, lookup: Callable[[str], int] = lambda name: 0) -> Definition:
    """A definition (`p` or `r`). lookup: the address of a symbol. Raises KprobeError(EINVAL) for wrong ones, ENOENT for unknown symbols."""
    words = line.split()
    head = _HEAD.match(words[0]) if len(words) > 1 else None
    if head is None or (head["kind"] == "p" and head["maxactive"]):
        raise KprobeError(errno.EINVAL, f"not a definition: {line}")
    returns = head["kind"] == "r"
    place = _PLACE.match(words[1])
    symbol, offset, address = "", 0, 0
    if place is not None and not words[1].lower().startswith("0x"):
        symbol, offset = (f"{place['module']}:" if place["module"] else "") + place["symbol"], _number(place["offset"] or "0")
    else:
        address = _number(words[1])
    if returns and (offset or not symbol):
        raise KprobeError(errno.EINVAL, "a return probe must be at a function's entry")
    default = f"{head['kind']}_{re.sub(r'[^0-9A-Za-z_]', '_', symbol)}_{offset}" if symbol else f"{head['kind']}_{address:#x}"
    found = Definition(head["group"] or "kprobes", head["event"] or default, returns, int(head["maxactive"] or 0), symbol, offset, address)
    for name in (found.group, found.event):
        if not _NAME.match(name) or len(name) >= MAX_NAME:
            raise KprobeError(errno.EINVAL, f"not a name: {name}")
    if len(words) - 2 > MAX_ARGUMENTS:
        raise KprobeError(errno.E2BIG)
    for n, word in enumerate(words[2:], 1):
        argument = _argument(word, n, arch, returns, lookup)
        if any(a.name == argument.name for a in found.arguments):
            raise KprobeError(errno.EINVAL, f"two arguments are named {argument.name}")
        found.arguments.append(argument)
        found.written.append(f"{argument.name}={word.partition('=')[2] or word}")
    return found


def _argument(word: str, number: int, arch: str, returns: bool, lookup: Callable[[str], int]) -> Argument:
    name, equals, rest = word.partition("=")
    if not equals:
        name, rest = f"arg{number}", word
    if not _NAME.match(name):
        raise KprobeError(errno.EINVAL, f"not a name: {name}")
    expression, colon, ctype = rest.rpartition(":")
    if not colon:
        expression, ctype = rest, ""
    comm = expression in ("$comm", "$COMM")
    ctype = ctype or ("string" if comm else "x64")
    if _TYPE.match(ctype) is None:
        raise KprobeError(errno.EINVAL, f"unknown type: {ctype}")
    fetch = (lambda hit: 0) if comm else _fetch(expression, arch, returns, lookup)
    if _DEREFERENCE.match(expression) and "string" not in ctype:
        size = _size(ctype)
        inner = fetch
        fetch = lambda hit: _load(hit, inner(hit), size)  # noqa: E731 - a function that wraps the one before
    elif expression.startswith("@") and "string" not in ctype:
        size, place = _size(ctype), fetch
        fetch = lambda hit: _load(hit, place(hit), size)  # noqa: E731 - the same
    return Argument(name, fetch, ctype, comm)


def _size(ctype: str) -> int:
    parts = _TYPE.match(ctype)
    assert parts is not None
    return int(parts["bits"] or parts["container"] or (8 if parts["word"] == "char" else 64)) // 8


def _load(hit: Hit, address: int, size: int = 8) -> int:
    content = hit.memory.read(address & U64, size)
    if content is None:
        raise Fault
    return int.from_bytes(content, "little")


def _fetch(text: str, arch: str, returns: bool, lookup: Callable[[str], int]) -> Fetch:
    """What an expression stands for; for memory, its address: the type says how much is loaded there."""
    outer = _DEREFERENCE.match(text)
    if outer:
        sign, offset, inside = -1 if outer[1] == "-" else 1, _number(outer[2]), outer[3]
        inner = _fetch(inside, arch, returns, lookup)
        if _DEREFERENCE.match(inside) or inside.startswith("@"):
            return lambda hit: _load(hit, inner(hit)) + sign * offset
        return lambda hit: inner(hit) + sign * offset
    if text.startswith("%"):
        register = {"lr": "r30"}.get(text[1:], text[1:])
        register = re.sub(r"^x(\d+)$", r"r\1", register) if arch == "arm64" else register
        if register not in FIELDS[arch]:
            raise KprobeError(errno.EINVAL, f"no register {text}")
        return lambda hit: int(getattr(hit.regs, register))
    if text == "$retval":
        if not returns:
            raise KprobeError(errno.EINVAL, "$retval is for return probes")
        return lambda hit: regs_return_value(hit.regs)
    if text == "$stack":
        return lambda hit: int(hit.regs.sp)
    stack = re.fullmatch(r"\$stack(\d+)", text)
    if stack:
        return lambda hit: _load(hit, int(hit.regs.sp) + 8 * int(stack[1]))
    argument = re.fullmatch(r"\$arg([1-9]\d*)", text)
    if argument:
        if returns:
            raise KprobeError(errno.EINVAL, "$argN is for entry probes")
        return lambda hit: regs_get_kernel_argument(hit.regs, int(argument[1]) - 1)
    if text.startswith("@"):
        place = re.fullmatch(r"([A-Za-z_][\w.$]*)([+-]\w+)?", text[1:])
        if place is None:
            address = _number(text[1:])
        else:
            address = lookup(place[1])
            if not address:
                raise KprobeError(errno.ENOENT, f"no symbol {place[1]}")
            address += _number(place[2] or "0")
        return lambda hit: address
    if text.startswith("\\"):
        value = _number(text[1:])
        return lambda hit: value
    raise KprobeError(errno.EINVAL, f"not an argument: {text}")


class KprobeEvents:
    """The events of one machine. output: takes the lines of the trace."""

    def __init__(self, kprobes: Kprobes, memory: Memory, output: Callable[[str], object]) -> None:
        self.kprobes = kprobes
        self.memory = memory
        self.output = output
        self.events: dict[tuple[str, str], Definition] = {}

    def write(self, text: str) -> None:
        """Lines as written to kprobe_events: definitions are added (and enabled), `-:` takes one away, `filter:` filters. Raises
        KprobeError."""
        for line in text.splitlines():
            line = line.partition("#")[0].strip()
            if line.startswith("-:"):
                self.remove(line[2:].split()[0])
            elif line.startswith("filter:"):
                name, _, expression = line[7:].partition(" ")
                self.set_filter(name, expression)
            elif line:
                self.add(line)

    def add(self, line: str) -> Definition:
        """Define and enable an event. Raises KprobeError, EEXIST when there is one of that name, EADDRNOTAVAIL for a symbol of several
        functions."""
        event = parse(line, self.kprobes.text.arch, self.kprobes.text.lookup)
        key = event.group, event.event
        if key in self.events:
            raise KprobeError(errno.EEXIST)
        symbol = event.symbol or None
        if symbol and self.kprobes.text.count(symbol) > 1:
            raise KprobeError(errno.EADDRNOTAVAIL, f"the symbol {symbol} is not unique")
        if event.returns:
            event.probe = Kretprobe(
                handler=lambda ri, regs: self._returned(event, ri, regs),
                maxactive=event.maxactive,
                kp=Kprobe(symbol_name=symbol, addr=event.address),
            )
            self.kprobes.register_kretprobe(event.probe)
        else:
            event.probe = Kprobe(
                symbol_name=symbol, offset=event.offset, addr=event.address, pre_handler=lambda p, regs: self._entered(event, p, regs)
            )
            self.kprobes.register_kprobe(event.probe)
        self.events[key] = event
        return event

    def remove(self, name: str) -> None:
        """Take `[GROUP/]EVENT` away. Raises KprobeError(ENOENT)."""
        found = self._named(name)
        del self.events[found.group, found.event]
        if isinstance(found.probe, Kretprobe):
            self.kprobes.unregister_kretprobe(found.probe)
        elif found.probe is not None:
            self.kprobes.unregister_kprobe(found.probe)

    def set_filter(self, name: str, expression: str) -> None:
        """Have `[GROUP/]EVENT` traced only where a filter is true; `0`: always. Raises KprobeError, ENOENT for an unknown event."""
        event = self._named(name)
        fields = {"common_pid": int, "comm": str, "COMM": str, **{a.name: a.kind for a in event.arguments}}
        event.filter = None if expression.strip() == "0" else parse_filter(expression, fields)

    def _named(self, name: str) -> Definition:
        group, _, event = name.rpartition("/")
        found = self.events.get((group or "kprobes", event))
        if found is None:
            raise KprobeError(errno.ENOENT, f"no event {name}")
        return found

    def read(self) -> str:
        """The definitions, as kprobe_events shows them."""
        return "".join(f"{event}\n" for event in self.events.values())

    def profile(self) -> str:
        """Hits and misses, as kprobe_profile shows them."""
        return "".join(f"  {e.event:<44} {e.nhits:15} {_missed(e):15}\n" for e in self.events.values())

    def symbol(self, address: int, *, offset: bool = True) -> str:
        """`name+0xOFFSET/0xSIZE`, or the name alone, and the module if it is in one."""
        found = self.kprobes.text.function(address)
        if found is None:
            return f"{address:#x}"
        module = self.kprobes.text.module(address)
        return (f"{found[0]}+{address - found[1]:#x}/{found[2]:#x}" if offset else found[0]) + (f" [{module}]" if module else "")

    def _entered(self, event: Definition, p: Kprobe, regs: PtRegs) -> int:
        self._trace(event, f"({self.symbol(p.addr)})", regs)
        return 0

    def _returned(self, event: Definition, ri: KretprobeInstance, regs: PtRegs) -> int:
        self._trace(event, f"({self.symbol(ri.ret_addr)} <- {self.symbol(ri.function, offset=False)})", regs)
        return 0

    def _trace(self, event: Definition, place: str, regs: PtRegs) -> None:
        event.nhits += 1
        hit = Hit(regs, self.memory)
        if not event.passes(hit):
            return
        values = "".join(f" {a.name}={a.show(hit, self.symbol)}" for a in event.arguments)
        comm, pid = self.memory.comm()
        now = self.memory.now() // 1000
        self.output(f"{comm[:16]:>16}-{pid:<7} [000] ..... {now // 1_000_000:5}.{now % 1_000_000:06}: {event.event}: {place}{values}")


def _missed(event: Definition) -> int:
    probe = event.probe
    return probe.nmissed + probe.kp.nmissed if isinstance(probe, Kretprobe) else probe.nmissed if probe is not None else 0


def header() -> Iterable[str]:
    """The lines before a trace."""
    yield "# tracer: nop"
    yield "#"
    yield "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION"
    yield "#              | |         |   |||||     |         |"
