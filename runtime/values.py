"""The text and the JSON form of values.

For each type a function is made once (and kept): handlers and writers call it with the Python value. Text is bytes, because guest
strings need not be text in any encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyprobe.lang.config import Config
from pyprobe.lang.typesys import (
    BOOL,
    CGROUP_PATH,
    KSYM,
    MAC,
    NONE,
    USERNAME,
    USYM,
    VOID,
    Aggregate,
    Array,
    Buffer,
    Enum,
    Inet,
    Integer,
    Pointer,
    Record,
    Stack,
    String,
    Struct,
    Timestamp,
    Tuple,
    Type,
)
from pyprobe.runtime.fields import decoder, members
from pyprobe.runtime.jsontext import json_integer, json_string
from pyprobe.runtime.stacks import stack_text
from pyprobe.runtime.times import strftime

if TYPE_CHECKING:
    from pyprobe.runtime.context import Clock, Names

Text = Callable[[Any], bytes]
Json = Callable[[Any], str]


class Renderer:
    """Makes the functions that render values. `tz` names the time zone of timestamps; `complain` takes what is wrong with a value (the
    output sets it)."""

    def __init__(self, config: Config, names: Names, clock: Clock, tz: str = "UTC") -> None:
        self.config = config
        self.names = names
        self.clock = clock
        self.tz = tz
        self.complain: Callable[[bytes], None] = lambda text: None
        self.trailer = str(config.str_trunc_trailer).encode()
        self._texts: dict[Type, Text] = {}
        self._jsons: dict[Type, Json] = {}

    def text(self, t: Type) -> Text:
        """The function that gives a value's text."""
        made = self._texts.get(t)
        if made is None:
            made = self._texts[t] = self._make_text(t)
        return made

    def json(self, t: Type) -> Json:
        """The function that gives a value's JSON."""
        made = self._jsons.get(t)
        if made is None:
            made = self._jsons[t] = self._make_json(t)
        return made

    def key(self, t: Type | None) -> Text:
        """The text of a map key between the brackets: parentheses around the whole text are left out."""
        if t is None:
            return lambda value: b""
        text = self.text(t)

        def key(value: Any) -> bytes:
            shown = text(value)
            return shown[1:-1] if shown.startswith(b"(") and shown.endswith(b")") else shown

        return key

    # ---- text

    def _timestamp(self, value: tuple[str, bytes | None, int]) -> bytes:
        text = strftime(value, self.clock, self.tz)
        if text is None:
            self.complain(b"strftime returned 0")
            return b"(?)"
        return text

    def _make_text(self, t: Type) -> Text:
        if isinstance(t, Enum):
            names = {value: name.encode() for value, name in t.names.items()}
            return lambda value: names[value] if value in names else b"%d" % value
        if isinstance(t, Aggregate) and t.function == "stats":
            return lambda value: b"{ .count = %d, .average = %d, .total = %d }" % value
        if isinstance(t, (Integer, Aggregate)):
            return lambda value: b"%d" % value
        if t is BOOL:
            return lambda value: b"true" if value else b"false"
        if isinstance(t, String):
            size, trailer = t.size, self.trailer
            return lambda value: value + trailer if len(value) >= size else value
        if isinstance(t, Buffer):
            return escaped
        if isinstance(t, Pointer):
            return lambda value: b"0x%x" % value
        if isinstance(t, (Tuple, Record, Struct, Array)):
            return self._compound_text(t)
        return self._symbolic_text(t)

    def _compound_text(self, t: Tuple | Record | Struct | Array) -> Text:
        if isinstance(t, Tuple):
            parts = [self.text(e) for e in t.elements]
            return lambda value: b"(" + b", ".join([part(v) for part, v in zip(parts, value, strict=True)]) + b")"
        if isinstance(t, Record):
            named = [(f".{name} = ".encode(), self.text(e)) for name, e in t.fields]
            return lambda value: _braces([label + text(v) for (label, text), v in zip(named, value, strict=True)])
        if isinstance(t, Struct):
            fields = [(f".{name} = ".encode(), decode, self.text(e)) for name, decode, e in members(t)]
            return lambda value: _braces([label + text(decode(value)) for label, decode, text in fields])
        split, element = elements(t), self.text(t.element)
        return lambda value: b"[" + b",".join([element(v) for v in split(value)]) + b"]"

    def _symbolic_text(self, t: Type) -> Text:
        names = self.names
        if t is KSYM:
            return lambda value: _symbol(names.kernel(value), value)
        if t is USYM:
            return lambda value: _symbol(names.user(value[1], value[0]), value[0])
        if isinstance(t, Stack):
            sources = self.config.show_debug_info
            return lambda value: stack_text(t, value, names, sources=sources)
        if isinstance(t, Inet):
            return inet
        if t is MAC:
            return lambda value: ":".join(f"{b:02X}" for b in value).encode()
        if isinstance(t, Timestamp):
            return self._timestamp
        if t is USERNAME:
            return lambda value: (names.username(value) or "").encode()
        if t is CGROUP_PATH:
            return lambda value: (names.cgroup(value) or "").encode()
        return lambda value: b"null"

    # ---- JSON

    def _make_json(self, t: Type) -> Json:
        if isinstance(t, Aggregate) and t.function == "stats":
            names = ("count", "average", "total")
            return lambda value: "{" + ", ".join([f'"{n}": {json_integer(v)}' for n, v in zip(names, value, strict=True)]) + "}"
        if isinstance(t, (Integer, Aggregate, Pointer, Enum)):
            return json_integer
        if t is BOOL:
            return lambda value: "true" if value else "false"
        if t in (NONE, VOID):
            return lambda value: "null"
        if isinstance(t, Buffer):
            return lambda value: "[" + ",".join(str(b - 256 if b > 127 else b) for b in value) + "]"
        if isinstance(t, Tuple):
            parts = [self.json(e) for e in t.elements]
            return lambda value: "[" + ",".join([part(v) for part, v in zip(parts, value, strict=True)]) + "]"
        if isinstance(t, Record):
            named = [(json_string(name.encode()) + ": ", self.json(e)) for name, e in t.fields]
            return lambda value: "{" + ", ".join([label + text(v) for (label, text), v in zip(named, value, strict=True)]) + "}"
        if isinstance(t, Struct):
            fields = [(json_string(name.encode()) + ": ", decode, self.json(e)) for name, decode, e in members(t)]
            return lambda value: "{" + ", ".join([label + text(decode(value)) for label, decode, text in fields]) + "}"
        if isinstance(t, Array):
            split, element = elements(t), self.json(t.element)
            return lambda value: "[" + ",".join([element(v) for v in split(value)]) + "]"
        text = self.text(t)
        if str(t) in ("none", "void", "float", "double"):
            return lambda value: "null"
        return lambda value: json_string(text(value))


def _braces(parts: list[bytes]) -> bytes:
    return b"{ " + b", ".join(parts) + b" }" if parts else b"{}"


def elements(t: Array) -> Callable[[bytes], list[Any]]:
    """The function that splits an array's bytes into element values."""
    decode, size = decoder(t.element), t.element.size
    return lambda value: [decode(value, at) for at in range(0, t.count * size, size)] if size else []


_PLAIN = bytes(range(32, 127))


def escaped(data: bytes) -> bytes:
    """Bytes with what is not printable ASCII as `\\xHH`."""
    return b"".join([bytes((b,)) if b in _PLAIN else b"\\x%02x" % b for b in data])


def inet(address: bytes) -> bytes:
    """An IPv4 or IPv6 address; a value without a family, as a map's missing element has, is empty."""
    import socket

    if not address:
        return b""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address).encode()


def _symbol(symbol: Any, address: int) -> bytes:
    if symbol is not None:
        name: str = symbol.name
        return name.encode()
    return b"0x%x" % address if address else b"0"
