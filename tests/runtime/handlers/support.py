"""Running small scripts in-process, with guest memory that is a few byte strings."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from pyprobe.lang.compiler import compile_program
from pyprobe.lang.source import Source
from pyprobe.runtime.binding import FixedBinding
from pyprobe.runtime.context import NoMachine, RuntimeContext
from pyprobe.runtime.handlers import Handler, compile_probe
from pyprobe.runtime.maps import MapStore
from pyprobe.runtime.output import FORMATS
from pyprobe.runtime.values import Renderer


class Memory(NoMachine):
    """Guest memory: address -> bytes."""

    def __init__(self, regions: Mapping[int, bytes]) -> None:
        self.regions = regions

    def _from(self, address: int) -> bytes | None:
        return next((data[address - at :] for at, data in self.regions.items() if at <= address < at + len(data)), None)

    def read(self, address: int, size: int) -> bytes | None:
        data = self._from(address)
        return data[:size] if data is not None and len(data) >= size else None

    def read_string(self, address: int, limit: int) -> bytes | None:
        data = self._from(address)
        return None if data is None else data[:limit].split(b"\0", 1)[0]


class Script:
    """A compiled script whose handlers a test calls itself."""

    def __init__(
        self,
        text: str,
        *,
        memory: Mapping[int, bytes] | None = None,
        values: Mapping[Any, Any] | None = None,
        json: bool = False,
        k: bool = False,
        clock: NoMachine | None = None,
    ) -> None:
        self.program = compile_program(Source("stdin", text))
        self.out, self.err = io.BytesIO(), io.BytesIO()
        nothing = clock or NoMachine()
        self.output = FORMATS["json" if json else "text"](self.out, self.err, Renderer(self.program.config, nothing, nothing))
        self.context = RuntimeContext(
            MapStore(self.program), self.output, self.program.config, memory=Memory(memory or {}), clock=nothing, verbose_helpers=k
        )
        binding = FixedBinding(values or {})
        self.handlers: list[Handler] = [compile_probe(p, self.program, binding, self.context) for p in self.program.probes]

    def run(self) -> str:
        """Call every handler once, print the maps; what was written to the output."""
        for handler in self.handlers:
            handler()
        self.output.maps_at_exit(self.context.maps)
        return self.out.getvalue().decode()

    @property
    def errors(self) -> str:
        return self.err.getvalue().decode()
