"""Probes: one provider a module, all in one table; and what the attachments of a run share.

Adding a provider is one module with the names of `base.Provider` and one line here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.runtime.probes import kernel, special, timers, tracepoint, user
from pyprobe.runtime.probes.base import AttachError, Handler, MakeHandler, Provider

if TYPE_CHECKING:
    from pyprobe.runtime.probes.description import Description
    from pyprobe.runtime.user.kernel import Kernel

PROVIDERS: tuple[Provider, ...] = (special, timers, kernel, user, tracepoint)
BY_NAME: dict[str, Provider] = {name: provider for provider in PROVIDERS for name in provider.names}


class Attachments:
    """The probes of one run on one machine. `begin` and `end` are for the session to call, in their order."""

    def __init__(self, machine: Kernel, description: Description, *, unsafe: bool = False) -> None:
        self.machine = machine
        self.description = description
        self.unsafe = unsafe
        self.begin: list[Handler] = []
        self.end: list[Handler] = []
        self.signals: list[tuple[str, Handler]] = []
        self._user: user.UserPoints | None = None

    def attach(self, point: AttachPoint, make: MakeHandler) -> None:
        """Attach an expanded point; to be called in source order, before the machine runs. Raises AttachError."""
        provider = BY_NAME.get(point.provider)
        if provider is None:
            raise AttachError(f"{point.provider} probes are not supported")
        provider.attach(self.machine, self, point, make)

    def user_points(self, machine: Kernel) -> user.UserPoints:
        """The points in programs, made when the first is attached."""
        if self._user is None:
            self._user = user.UserPoints(machine, self.description)
        return self._user

    def warnings(self) -> list[str]:
        """What to tell at the end of the run: targets that nothing mapped, so that their probes could not fire."""
        unmapped = self._user.unmapped() if self._user else []
        return [f"uprobe target '{path}' was not mapped by any process: its probes could not fire" for path in unmapped]


__all__ = ["BY_NAME", "PROVIDERS", "AttachError", "Attachments", "Provider"]
