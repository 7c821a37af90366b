"""Libraries for programs of another architecture than the host's, when the guest's `/` has none.

Debian's cross compilers bring a C library under /usr/TRIPLET/lib. A dynamic program of that architecture looks for it at the places of a
native system; where nothing stands there, symbolic links in the machine's own layer lead to the cross libraries. (A whole system
of that architecture, given as the root, needs nothing of this.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.inode import Dentry
from pyprobe.runtime.user.vfs.tree import Symlink

if TYPE_CHECKING:
    from pyprobe.runtime.user.abi import Abi
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

TRIPLETS = {"x86_64": b"x86_64-linux-gnu", "arm64": b"aarch64-linux-gnu"}


def provide(k: Kernel, abi: Abi, interpreter: bytes) -> None:
    """Make the links that a program with this interpreter needs, if the interpreter is missing and the cross libraries are there."""
    task = k.current
    assert task is not None
    libraries = b"/usr/" + TRIPLETS[abi.name] + b"/lib"
    found = _look(k, task, interpreter)
    if found is None or found.inode is not None:
        return
    if not _link(k, task, interpreter, libraries + b"/" + interpreter.rsplit(b"/", 1)[-1]):
        return
    home = b"/lib/" + TRIPLETS[abi.name]
    if _link(k, task, home, libraries):
        return
    folder = _look(k, task, libraries)
    for name, _, _ in folder.require().entries(k, task) if folder is not None else ():
        if b".so" in name:
            _link(k, task, home + b"/" + name, libraries + b"/" + name)


def _link(k: Kernel, t: Task, path: bytes, target: bytes) -> bool:
    """Make a symbolic link where nothing stands, if there is something to lead to; whether it was made."""
    link, there = _look(k, t, path), _look(k, t, target)
    if link is None or link.inode is not None or there is None or there.inode is None:
        return False
    fs = k.vfs.rootfs
    link.inode = Symlink(fs, fs.number(), target, k.vfs.boot)
    link.parent.children[link.name] = link
    return True


def _look(k: Kernel, t: Task, path: bytes) -> Dentry | None:
    """The dentry of a path, maybe a negative one; None if its directory cannot be reached."""
    try:
        return k.vfs.walk(k, t, -100, path).look(path)
    except Errno:
        return None
