"""The initial root: our first process and the modules it loads. Nothing in it depends on what will run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyprobe import stdlib
from pyprobe.runtime.system.root import cpio

#: The program for each architecture, in the package's stdlib/guest.
INIT: Final = {"x86_64": "init.x86_64.bin", "arm64": "init.aarch64.bin"}
PATH: Final = "/init"


def build(arch: str, modules: Sequence[tuple[str, bytes]]) -> bytes:
    """The archive for a kernel.

    arch: `x86_64` or `arm64`. modules: names and contents in load order, see modules.load_order.
    """
    init = stdlib.read("guest", INIT[arch])
    return cpio.pack(
        [
            cpio.directory(b"dev"),
            cpio.character(b"dev/console", 5, 1),  # the kernel opens it for init; without it the log has a warning
            cpio.directory(b"modules"),
            *(cpio.regular(b"modules/%d.ko" % i, data) for i, (_, data) in enumerate(modules)),
            cpio.regular(PATH.lstrip("/").encode(), init, 0o755),
        ]
    )
