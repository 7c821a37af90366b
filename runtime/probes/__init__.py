"""Probes: one provider a module, all in one table; and what the attachments of a run share.

Adding a provider is one module with the functions of `base.Provider` and a line for each of its names here.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.runtime.probes.base import Attached, AttachError, Handler, MakeHandler, Provider

if TYPE_CHECKING:
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.probes.user_points import UserPoints
    from pyprobe.runtime.user.kernel import Kernel

PROVIDERS: dict[str, str] = {
    "begin": "special",
    "end": "special",
    "self": "special",
    "test": "special",
    "bench": "special",
    "interval": "timers",
    "profile": "timers",
    "kprobe": "kernel",
    "kretprobe": "kernel",
    "fentry": "trampoline",
    "fexit": "trampoline",
    "uprobe": "user",
    "uretprobe": "user",
    "usdt": "usdt",
    "tracepoint": "tracepoint",
    "rawtracepoint": "rawtracepoint",
    "software": "software",
    "hardware": "hardware",
    "watchpoint": "watchpoint",
    "iter": "iterator",
}
"""Names of probes to the modules that provide them, which are imported when they are asked for."""


BOOTED: dict[str, str] = {
    "kprobe": "text",
    "kretprobe": "text",
    "fentry": "typed",
    "fexit": "typed",
    "tracepoint": "kernel_events",
    "rawtracepoint": "kernel_events",
    "software": "kernel_software",
    "hardware": "kernel_hardware",
    "watchpoint": "kernel_watchpoint",
}
"""Where the provider for a booted kernel is another one."""


def provider(name: str, machine: Description | None = None) -> Provider | None:
    """The provider of probes with a (long) name, on a described machine; None if there is none yet."""
    module = PROVIDERS.get(name)
    if machine is not None and machine.booted:
        module = BOOTED.get(name, module)
    return _module(module) if module else None


@cache
def _module(name: str) -> Provider:
    return cast(Provider, import_module(f"{__name__}.{name}"))


class Attachments:
    """The probes of one run on one machine. `begin` and `end` are for the session to call, in their order."""

    def __init__(self, machine: Kernel, description: Description, *, unsafe: bool = False, breakpoints: bool = False) -> None:
        self.machine = machine
        self.description = description
        self.unsafe = unsafe
        self.breakpoints = breakpoints
        self.attached: dict[str, Attached] = {}
        self.begin: list[Handler] = []
        self.end: list[Handler] = []
        self.own: dict[str, list[tuple[str, Handler]]] = {}
        self.iterators: list[tuple[str | None, Handler]] = []
        self._user: UserPoints | None = None

    def attach(self, point: AttachPoint, make: MakeHandler) -> None:
        """Attach an expanded point; to be called in source order, before the machine runs. Raises AttachError."""
        found = provider(point.provider, self.description)
        if found is None:
            raise AttachError(f"{point.provider} probes are not supported")
        found.attach(self.machine, self, point, make)

    def user_points(self, machine: Kernel) -> UserPoints:
        """The points in programs, made when the first is attached."""
        from pyprobe.runtime.probes.user_points import UserPoints

        if self._user is None:
            self._user = UserPoints(machine, self.description, breakpoints=self.breakpoints)
        return self._user

    def warnings(self) -> list[str]:
        """What to tell at the end of the run: targets that nothing mapped, so that their probes could not fire."""
        unmapped = self._user.unmapped() if self._user else []
        return [f"uprobe target '{path}' was not mapped by any process: its probes could not fire" for path in unmapped]


__all__ = ["PROVIDERS", "AttachError", "Attachments", "Provider", "provider"]
