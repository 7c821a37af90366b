"""Probes on real programs in the emulated machine: what fired, in which order, with which values."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.runtime.machine.bound import Bound
from pyprobe.runtime.probes import Attachments
from pyprobe.runtime.probes.world import MachineWorld
from pyprobe.runtime.user.machine import UserMachine


def point(text: str, **parts: Any) -> AttachPoint:
    """The attach point of `provider:target:function` or, for kernel probes, `provider:function`; `+N` is an offset."""
    provider, *rest = text.split(":")
    found = AttachPoint(text)
    found.provider = provider
    if rest:
        name, _, offset = rest.pop().partition("+")
        found.function, found.offset = name, int(offset or 0)
    if rest:
        found.target = rest[0]
    for name, value in parts.items():
        setattr(found, name, value)
    return found


class Run:
    """A finished run: `events` are tuples of the probe's name and the builtins asked for; out is the program's output."""

    def __init__(self, machine: UserMachine, world: MachineWorld, attachments: Attachments) -> None:
        self.machine = machine
        self.world = world
        self.attachments = attachments
        self.events: list[tuple[Any, ...]] = []
        self.out = b""
        self.status = 0

    def names(self) -> list[str]:
        """The last parts of the fired probes' names."""
        return [event[0].rpartition(":")[2] for event in self.events]


Trace = Callable[..., Run]


@pytest.fixture(params=["extension", "python"])
def native(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "extension")


@pytest.fixture
def breakpoints() -> bool:
    """Whether code is probed as Linux does it; a module may say yes."""
    return False


@pytest.fixture
def trace(native: bool, breakpoints: bool) -> Trace:
    """`trace(COMMAND, (POINT, BUILTIN...), ...)` runs a command with probes; a builtin is a name or a tuple of a name and its literals."""

    def run(command: Sequence[str | Path], *probes: tuple[Any, ...], arch: str = "x86_64", root: str = "") -> Run:
        words = [os.fsencode(w) for w in command]
        world = MachineWorld(words, {b"PATH": b"/usr/bin:/bin"}, b"/", root=root)
        machine = UserMachine(native=native, arch=world.arch, architectures=(world.arch,), root=os.fsencode(root or "/"))
        attachments = Attachments(machine, world.machine, breakpoints=breakpoints)
        result = Run(machine, world, attachments)
        for written, *builtins in probes:
            for expanded in world.matches(written if isinstance(written, AttachPoint) else point(written)):
                attachments.attach(expanded, lambda binding, e=expanded, b=tuple(builtins): recorder(result, e, binding, b))
        output: list[bytes] = []
        for handler in attachments.begin:
            handler()
        machine.spawn(words, [b"PATH=/usr/bin:/bin"], b"/", (b"", output.append, output.append))
        result.status = machine.run()
        for handler in attachments.end:
            handler()
        result.out = b"".join(output)
        return result

    return run


def recorder(result: Run, expanded: AttachPoint, binding: Any, builtins: tuple[Any, ...]) -> Callable[[], None]:
    bounds: list[Bound] = [binding.builtin(b) if isinstance(b, str) else binding.builtin(*b) for b in builtins]
    codes = [(compile(bound.expression, "<test>", "eval"), dict(bound.names)) for bound in bounds]

    def handler() -> None:
        result.events.append((expanded.name, *(eval(code, names) for code, names in codes)))

    return handler
