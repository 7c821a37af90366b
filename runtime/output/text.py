"""Events as text, the way bpftrace prints them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pyprobe.lang.diagnostics import Diagnostic, Severity, render
from pyprobe.lang.source import Span
from pyprobe.lang.typesys import HISTOGRAMS, Aggregate, Integer, Type
from pyprobe.runtime import aggregates, order
from pyprobe.runtime.maps import MapStorage, MapStore
from pyprobe.runtime.output import histograms, series
from pyprobe.runtime.output.base import Output
from pyprobe.runtime.zeros import zero_of


@lru_cache(maxsize=64)
def _placed(severity: Severity, text: str, span: Span, paint: Callable[[str, Severity], str]) -> bytes:
    """A message about a place in the script, which may come any number of times."""
    return render(Diagnostic(severity, text, span), paint).encode("utf-8", "surrogateescape") + b"\n"


class TextOutput(Output):
    """Writes what a person reads."""

    def printf(self, text: bytes) -> None:
        self.write(text)

    def value(self, t: Type) -> Callable[[Any], None]:
        text = self.renderer.text(t)
        return lambda value: self.write(text(value) + b"\n")

    def time(self, text: bytes) -> None:
        self.write(text)

    def join(self, text: bytes) -> None:
        self.write(text + b"\n")

    def cat(self, data: bytes) -> None:
        self.write(data)

    def system(self, data: bytes) -> None:
        self.write(data + b"\n")

    def attached(self, count: int) -> None:
        self.write_error(b"Attached %d probe%s\n" % (count, b"" if count == 1 else b"s"))

    def lost(self, count: int) -> None:
        self.write_error(b"Lost %d events\n" % count)

    # ---- messages

    def error(self, text: bytes) -> None:
        self.plain_error(text)

    def message(self, kind: str, span: Span, text: bytes) -> None:
        if kind == "warnf" and not self.warnings:
            return
        word = "ERROR" if kind == "errorf" else "WARNING"
        severity: Severity = "error" if kind == "errorf" else "warning"
        ended = text.removesuffix(b"\n").decode("utf-8", "surrogateescape")  # the line ends by itself
        line = self.paint(f"{span.source.name}:{span.header}: {word}: {ended}", severity)
        self.write_error(line.encode("utf-8", "surrogateescape") + b"\n")
        if span.outer is not None:
            self.write_error(_placed(severity, "expanded from", span.outer, self.paint))

    def runtime_error(self, span: Span, text: str) -> None:
        if self.warnings:
            self.write_error(_placed("warning", text, span, self.paint))

    def helper_error(self, span: Span, text: str, helper: str, code: int) -> None:
        if self.warnings:
            info = f"{text}\nAdditional Info - helper: {helper}, retcode: {code}"
            self.write_error(_placed("warning", info, span, self.paint))

    # ---- maps

    def maps_at_exit(self, store: MapStore) -> None:
        super().maps_at_exit(store)

    def map(self, storage: MapStorage, top: int, divisor: int, *, final: bool = False) -> None:
        kind = storage.aggregate
        name = storage.name.encode()
        items = order.elements(storage, top)
        if kind is not None and kind.function in HISTOGRAMS:
            self.write(b"".join(self._charts(storage, kind, items, divisor)))
            return
        show = self.value_text(storage.value, divisor)
        if not storage.keyed:
            if items:
                self.write(name + b": " + show(items[0][1]) + b"\n")
            elif not final:
                zero = aggregates.empty(kind) if kind is not None else zero_of(storage.value)
                self.write(name + b": " + show(zero) + b"\n")
            return
        key = self.renderer.key(storage.info.key)
        self.write(b"".join([b"%s[%s]: %s\n" % (name, key(k), show(v)) for k, v in items]))

    def value_text(self, t: Type, divisor: int) -> Callable[[Any], bytes]:
        """The text of a stored value that fits on a line."""
        if isinstance(t, Aggregate):
            if t.function == "stats":
                show = self.renderer.text(t)

                def statistics(stored: list[int]) -> bytes:
                    count, average, total = aggregates.statistics(t, stored)
                    return show((count, order.divided(average, divisor), total))

                return statistics
            return lambda stored: b"%d" % order.divided(aggregates.as_integer(t, stored), divisor)
        if type(t) is Integer and divisor > 1:
            return lambda value: b"%d" % order.divided(value, divisor)
        return self.renderer.text(t)

    def _charts(self, storage: MapStorage, kind: Aggregate, items: list[order.Element], divisor: int) -> list[bytes]:
        key = self.renderer.key(storage.info.key)
        name = storage.name.encode()
        charts = []
        newest = series.newest(items) if kind.function == "tseries" else 0
        for k, stored in items:
            header = name + (b"[" + key(k) + b"]:\n" if storage.keyed else b":\n")
            if kind.function == "tseries":
                body = series.text(kind, stored, newest, self.renderer)
            else:
                body = histograms.text(kind, stored, divisor)
            charts.append(header + body.encode() + (b"" if body == series.NOTHING else b"\n"))
        return charts
