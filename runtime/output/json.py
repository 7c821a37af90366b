"""Events as JSON, one object a line."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pyprobe.lang.source import Span
from pyprobe.lang.typesys import HISTOGRAMS, Aggregate, Integer, Type
from pyprobe.runtime import aggregates, order
from pyprobe.runtime.jsontext import json_integer, json_string
from pyprobe.runtime.maps import MapStorage
from pyprobe.runtime.names import ERRORS
from pyprobe.runtime.output import histograms, series
from pyprobe.runtime.output.base import Output
from pyprobe.runtime.zeros import zero_of


@lru_cache(maxsize=64)
def _place(span: Span) -> str:
    """Where a message comes from."""
    line, column = span.source.place(span.start)
    file = json_string(span.source.name.encode("utf-8", "surrogateescape"))
    return f'"filename": {file}, "line": {line}, "col": {column}'


class JsonOutput(Output):
    """Writes what a program reads."""

    def event(self, kind: str, data: str, extra: str = "") -> None:
        """One line: `data` and `extra` are JSON already."""
        self.write(f'{{"type": "{kind}", {extra}"data": {data}}}\n'.encode("utf-8", "surrogateescape"))

    def printf(self, text: bytes) -> None:
        self.event("printf", json_string(text))

    def value(self, t: Type) -> Callable[[Any], None]:
        json = self.renderer.json(t)
        return lambda value: self.event("value", json(value))

    def time(self, text: bytes) -> None:
        self.event("time", json_string(text))

    def join(self, text: bytes) -> None:
        self.event("join", json_string(text))

    def cat(self, data: bytes) -> None:
        self.event("cat", json_string(data))

    def system(self, data: bytes) -> None:
        self.event("syscall", json_string(data))

    def attached(self, count: int) -> None:
        self.event("attached_probes", f'{{"probes": {count}}}', f'"count": {count}, ')

    def lost(self, count: int) -> None:
        self.event("lost_events", f'{{"events": {count}}}', f'"count": {count}, ')

    # ---- messages

    def error(self, text: bytes) -> None:
        self.plain_error(text)

    def message(self, kind: str, span: Span, text: bytes) -> None:
        if kind == "errorf" or self.warnings:
            self._placed(kind, json_string(text), span)

    def runtime_error(self, span: Span, text: str) -> None:
        self._placed("runtime_error", json_string(text.encode()), span)  # as in bpftrace also with --no-warnings

    def helper_error(self, span: Span, text: str, helper: str, code: int) -> None:
        if self.warnings:
            reason = ERRORS.get(-code, "Unknown error").encode()
            self._placed("helper_error", json_string(reason), span, f'"helper": "{helper}", "retcode": {code}, ')

    def _placed(self, kind: str, text: str, span: Span, extra: str = "") -> None:
        self.write(f'{{"type": "{kind}", "msg": {text}, {extra}{_place(span)}}}\n'.encode())

    # ---- maps

    def map(self, storage: MapStorage, top: int, divisor: int, *, final: bool = False) -> None:
        kind = storage.aggregate
        items = order.elements(storage, top)
        function = kind.function if kind is not None else ""
        if not items and (final or storage.keyed or function in HISTOGRAMS):
            return
        show = self._stored(storage, divisor, items)
        if storage.keyed:
            key = self._key(storage.info.key)
            body = "{" + ", ".join([f"{key(k)}: {show(v)}" for k, v in items]) + "}"
        else:
            zero = aggregates.empty(kind) if kind is not None else zero_of(storage.value)
            body = show(items[0][1] if items else zero)
        kind_name = {"hist": "hist", "lhist": "hist", "tseries": "tseries", "stats": "stats", "avg": "stats"}.get(function, "map")
        self.event(kind_name, f"{{{json_string(storage.name.encode())}: {body}}}")

    def _key(self, t: Type | None) -> Callable[[Any], str]:
        """Keys are strings: the text form without blanks and without a tuple's parentheses."""
        key = self.renderer.key(t)
        return lambda value: json_string(key(value).replace(b" ", b""))

    def _stored(self, storage: MapStorage, divisor: int, items: list[order.Element]) -> Callable[[Any], str]:
        t = storage.value
        if not isinstance(t, Aggregate):
            if type(t) is Integer and divisor > 1:
                return lambda value: json_integer(order.divided(value, divisor))
            return self.renderer.json(t)
        if t.function in ("hist", "lhist"):
            return lambda stored: histograms.json(t, stored, divisor)
        if t.function == "tseries":
            last = series.newest(items)
            return lambda stored: series.json(t, stored, last)
        if t.function == "stats":
            show = self.renderer.json(t)

            def statistics(stored: list[int]) -> str:
                count, average, total = aggregates.statistics(t, stored)
                return show((count, order.divided(average, divisor), total))

            return statistics
        return lambda stored: json_integer(order.divided(aggregates.as_integer(t, stored), divisor))
