"""`kernel install`: a distribution's kernel by a short name, with a small root file system for where the host's cannot serve."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyprobe.runtime.system.kernels import apt, deb, store
from pyprobe.runtime.system.kernels.errors import KernelError

METAPACKAGE = "linux-image-cloud-{arch}"
ROOT_PACKAGE = "busybox-static"
_APPLETS = re.compile(rb"\[\0\[\[\0(?:[A-Za-z][A-Za-z0-9_.+-]*\0)+")


def install(name: str, progress: apt.Progress = lambda text: None) -> store.Kernel:
    """Fetch and unpack one of `store.DISTRIBUTED`. Raises KernelError."""
    if name not in store.DISTRIBUTED:
        raise KernelError(f"no kernel {name} to install: there are {' and '.join(store.DISTRIBUTED)}; others: kernel add NAME FILE")
    return fetch(name, name.partition("-")[2], progress)


def fetch(name: str, arch: str, progress: apt.Progress = lambda text: None, *, sources: str = "") -> store.Kernel:
    """Fetch and unpack Debian's cloud kernel for an architecture (Debian's name of it) under a name, and a small root file system.

    sources: lines of a sources.list(5) to look in instead of the user's sources. Raises KernelError.
    """
    with apt.private(store.directory(), arch, sources) as manager:
        progress(f"reading the package lists for {arch}")
        manager.update()
        packages = apt.kernel_packages(manager, METAPACKAGE.format(arch=arch))
        progress(f"fetching {' '.join(packages)}")
        files = manager.download(packages)
        progress(f"fetching {ROOT_PACKAGE}")
        (busybox,) = manager.download([ROOT_PACKAGE])
        progress("unpacking")
        return store.add(name, files, root=small_root(busybox.read_bytes(), busybox.name))


def small_root(package: bytes, name: str) -> Iterator[deb.Member]:
    """The files of a root file system made of a busybox-static package: its program, and a link to it for each of its applets."""
    for member in deb.members(package, name):
        if member.path in ("bin/busybox", "usr/bin/busybox"):
            program = member.read()
            yield deb.Member.made("bin/busybox", program, 0o755)
            for applet in applets(program):
                if applet != "busybox":
                    yield deb.Member.made(f"bin/{applet}", target="busybox")
            yield from (deb.Member.made(path, text.encode(), 0o644) for path, text in _FILES.items())
            return
    raise KernelError(f"{name} has no busybox")


_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/hostname": "pyprobe\n",
}


def applets(program: bytes) -> list[str]:
    """The names of a busybox's applets, which it holds as one sorted run of strings that begins with `[` and `[[`
    (include/applet_tables.h of its build)."""
    runs = [found[0].decode().split("\0")[:-1] for found in _APPLETS.finditer(program)]
    return max(runs, key=len, default=[])
