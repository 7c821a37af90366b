"""The numbers of a booted kernel's sockets (sock_gen_cookie of net/core/sock_diag.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyprobe.runtime.system.machine import SystemMachine

_SIZE = 8  # atomic64_t


class Cookies:
    """Reads them in the sockets. One that the kernel has not numbered yet gets a number here, and the kernel is not changed: such numbers
    come down from the highest, as those do that the kernel gives where it cannot count (gen_cookie_next)."""

    def __init__(self, machine: SystemMachine) -> None:
        self._machine = machine
        self._place = machine.description.offset("sock_common", "skc_cookie")
        self._own: dict[int, int] = {}

    def of(self, socket: int) -> int:
        """The number of the socket (struct sock) at an address, 0 where none can be read."""
        data = self._machine.read(socket + self._place, _SIZE) if socket else None
        if data is None:
            return 0
        return int.from_bytes(data, "little") or self._own.setdefault(socket, (1 << 64) - 1 - len(self._own))
