"""The page of kernel code that programs of some architectures need: where a signal handler returns to.

arm64's C libraries give sigaction(2) no restorer; the kernel's own, in the vDSO, makes the call (arch/arm64/kernel/vdso/sigreturn.S).
There is no AT_SYSINFO_EHDR, so clocks are read by system calls, which probes then see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import PAGE, AddressSpace, R, X
from pyprobe.runtime.user.abi import Abi

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import Backing
    from pyprobe.runtime.user.loader import FileZone

NAME = b"[vdso]"
SIGRETURN_OFFSET = 0x10  # behind a `nop`, which unwinders look for at the return address less one

# mov x8, #__NR_rt_sigreturn; svc #0 - by these two words unwinders know a signal frame
CODE = {"arm64": b"\x1f\x20\x03\xd5" * 4 + b"\x68\x11\x80\xd2\x01\x00\x00\xd4"}


class Vdso:
    """One page for all processes of an architecture, made when its first program starts."""

    def __init__(self, zone: FileZone) -> None:
        self._zone = zone
        self._pages: dict[str, Backing] = {}

    def map(self, space: AddressSpace, abi: Abi) -> int:
        """Put it into a new space; the address that handlers return to, 0 for an architecture that needs none."""
        code = CODE.get(abi.name)
        if code is None:
            return 0
        page = self._pages.get(abi.name)
        if page is None:
            page = self._pages[abi.name] = space.memory.anonymous(PAGE)
            page.write(0, code)
        address = space.free_area(PAGE, self._zone.address(page, PAGE))
        space.map(address, PAGE, R | X, backing=page, name=NAME)
        return address + SIGRETURN_OFFSET
