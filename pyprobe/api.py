"""For other programs: run a script and get what it printed.

import pyprobe
result = pyprobe.run('uprobe:libc:malloc { @ = count(); }', command=["ls", "/"])
print(result.output, result.status)
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence

from pyprobe.lang.compiler import compile_program
from pyprobe.lang.diagnostics import Diagnostic, Diagnostics
from pyprobe.lang.source import Source


class Result:
    """What a run gave. `output` and `messages` are what the command would print on stdout and stderr (text or JSON lines, as asked);
    `status` its exit status; `diagnostics` the warnings of the compilation."""

    def __init__(self, output: str, messages: str, status: int, diagnostics: list[Diagnostic]) -> None:
        self.output = output
        self.messages = messages
        self.status = status
        self.diagnostics = diagnostics

    def __repr__(self) -> str:
        return f"Result(output={self.output!r}, messages={self.messages!r}, status={self.status}, diagnostics={self.diagnostics!r})"


def run(
    text: str,
    *,
    command: Sequence[str] | None = None,
    params: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    format: str = "text",
    seed: int = 0,
    unsafe: bool = False,
    name: str = "script",
) -> Result:
    """Run a script in a machine of its own, with `command` in it (None: the built-in workload).

    environ: what the command gets, nothing of this process's by default. The command's own output goes to this process's streams.
    Raises ValueError when `command` is one string or empty, pyprobe.lang.diagnostics.CompileError for a wrong script and
    pyprobe.runtime.settings.RunError when it cannot be run.
    Must be called from the main thread, since a run handles SIGINT.
    """
    from pyprobe.runtime.probes.world import MachineWorld
    from pyprobe.runtime.session import Session
    from pyprobe.runtime.settings import Settings

    if isinstance(command, (str, bytes)) or (command is not None and not command):
        raise ValueError(f"command must be a sequence of words, got {command!r}")
    words = [os.fsencode(w) for w in command] if command is not None else None
    surroundings = {os.fsencode(k): os.fsencode(v) for k, v in (environ or {}).items()}
    settings = Settings(command=words, environ=surroundings, cwd=os.fsencode(os.getcwd()), format=format, seed=seed, unsafe=unsafe)
    world = MachineWorld(command=words, environ=surroundings, cwd=settings.cwd)
    diagnostics = Diagnostics()
    program = compile_program(Source(name, text), world=world, params=params, unsafe=unsafe, diagnostics=diagnostics)
    out, err = io.BytesIO(), io.BytesIO()
    status = Session(settings, world, out, err).run(program)
    return Result(_text(out), _text(err), status, list(diagnostics))


def _text(stream: io.BytesIO) -> str:
    return stream.getvalue().decode("utf-8", "surrogateescape")
