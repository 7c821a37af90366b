"""The built-in workload: a small system of its own for scripts that name no program.

The machine then sees nothing of the host at all: its root holds the programs (one binary under nine names, see
stdlib/workload/workload.c), two text files for them to read, and /tmp.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyprobe import stdlib
from pyprobe.runtime.user.vfs import names
from pyprobe.runtime.user.vfs.inode import Dentry, Inode
from pyprobe.runtime.user.vfs.tree import Directory

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel

HOME = b"/run/pyprobe"
PROGRAMS = (b"session", b"reader", b"writer", b"producer", b"filter", b"server", b"client", b"sleeper", b"thinker")
TEXTS = (b"passwd", b"motd")
BINARIES = {"x86_64": "workload.x86_64.bin", "arm64": "workload.aarch64.bin"}
COMMAND = [HOME + b"/session"]
ENVIRONMENT = {b"PATH": HOME, b"HOME": b"/root"}


def data(name: str) -> bytes:
    """A file of the workload as the package holds it."""
    return stdlib.read("workload", name)


def root() -> bytes:
    """The folder that stands in for the host's root: the package's own, so that nothing of the host is seen."""
    return os.fsencode(os.path.join(stdlib.FOLDER, "workload"))


def install(k: Kernel) -> None:
    """Put the programs and files in place, before the machine's first process starts."""
    run = _directory(k, k.vfs.root, b"run")
    home = _directory(k, run, b"pyprobe")
    _directory(k, k.vfs.root, b"tmp", 0o1777)
    binary = data(BINARIES[k.arch])
    for name in PROGRAMS:
        _file(k, home, name, 0o755, binary)
    for name in TEXTS:
        _file(k, home, name, 0o644, data(name.decode()))


def _entry(k: Kernel, parent: Dentry, name: bytes, inode: Inode) -> Dentry:
    dentry = Dentry(parent, name, inode)
    parent.children[name] = dentry
    return dentry


def _directory(k: Kernel, parent: Dentry, name: bytes, mode: int = 0o755) -> Dentry:
    fs = k.vfs.rootfs
    return _entry(k, parent, name, Directory(fs, fs.number(), mode, k.clock.wall()))


def _file(k: Kernel, parent: Dentry, name: bytes, mode: int, content: bytes) -> None:
    inode = names.anonymous(k, k.vfs.rootfs, mode)
    inode.nlink = 1
    inode.write([memoryview(bytearray(content))], 0)
    _entry(k, parent, name, inode)
