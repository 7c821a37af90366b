"""What a run changed of the files it saw: as a list, and written out to a directory of the host.

Only names in the machine's root file system count; /dev, /proc and /sys are its own. A deleted file is written as an empty file `.wh.NAME`
and a directory that replaces the host's holds `.wh..wh..opq`, as layers of container images have it (OCI image specification, "Layer
Filesystem Changeset").
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import NAME_MAX, PATH_MAX
from pyprobe.runtime.user.vfs.content import HostContent
from pyprobe.runtime.user.vfs.inode import Dentry, Inode
from pyprobe.runtime.user.vfs.tree import Directory, Regular, Symlink
from pyprobe.runtime.user.words import printable

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel

ADDED, CHANGED, DELETED = "A", "C", "D"
_CHUNK = 1 << 20
_OPAQUE = b".wh..wh..opq"


class Change(NamedTuple):
    """One name. kind: ADDED, CHANGED or DELETED; dentry: what stands there now; opaque: nothing of the host's shows through."""

    kind: str
    path: bytes
    dentry: Dentry
    opaque: bool = False


def changes(k: Kernel) -> Iterator[Change]:
    """All changes, in the order of their paths; directories before what they hold. What lies deeper than a path can name is left out."""
    waiting = [(k.vfs.root, b"")]  # directories still to be looked into and files of those begun, the next one last
    while waiting:
        dentry, path = waiting.pop()
        if path:
            change = _of(dentry.parent, dentry, path)
            if change is not None:
                yield change
        if dentry.inode is None or not dentry.inode.is_directory or len(path) >= PATH_MAX - NAME_MAX:
            continue
        below = [(child, path + b"/" + name) for name, child in sorted(dentry.children.items()) if not child.mounted]
        waiting += reversed(below)


def _of(parent: Dentry, dentry: Dentry, path: bytes) -> Change | None:
    directory, inode = parent.inode, dentry.inode
    assert isinstance(directory, Directory)
    fs, lower = directory.fs, directory.lower
    try:
        status = fs.host.status(lower, dentry.name) if lower is not None else None
    except Errno:
        status = None
    if inode is None:
        return Change(DELETED, path, dentry) if status is not None else None
    if status is None or lower is None:
        return Change(ADDED, path, dentry)
    if inode.ino != fs.numbered(lower, dentry.name, status.st_dev, status.st_ino):
        return Change(CHANGED, path, dentry, opaque=inode.is_directory)
    same = (inode.mode, inode.uid, inode.gid) == (status.st_mode, status.st_uid, status.st_gid)
    if same and (not isinstance(inode, Regular) or isinstance(inode.content, HostContent)):
        return None
    return Change(CHANGED, path, dentry)


def keep(k: Kernel, folder: str) -> Iterator[str]:
    """Write the changes below `folder`, which is made; lines about what could not be written."""
    top = os.fsencode(folder)
    try:
        os.makedirs(top, exist_ok=True)
    except OSError as error:
        yield f"WARNING: --keep {folder}: {error.strerror}: nothing was kept"
        return
    made = {b""}
    for change in changes(k):
        parent, _, name = change.path.rpartition(b"/")
        try:
            _directories(top, parent, made)
            inode = change.dentry.inode
            if inode is None:
                _new(top + parent + b"/.wh." + name, 0o644, ())
            elif inode.is_directory:
                _directories(top, change.path, made)
                os.chmod(top + change.path, inode.mode & 0o777 | 0o700)
                if change.opaque:
                    _new(top + change.path + b"/" + _OPAQUE, 0o644, ())
            elif isinstance(inode, Symlink):
                os.symlink(inode.target, top + change.path)
            elif isinstance(inode, Regular):
                _new(top + change.path, inode.mode & 0o777, _pieces(inode))
                os.utime(top + change.path, ns=(inode.mtime, inode.mtime))
            else:
                yield f"WARNING: --keep: {printable(change.path)} is a special file and was left out"
        except (OSError, Errno) as error:
            why = os.strerror(error.errno or 0)
            yield f"WARNING: --keep: {printable(change.path)}: {why}"


def _directories(top: bytes, path: bytes, made: set[bytes]) -> None:
    """Make the directory and those above it."""
    if path not in made:
        _directories(top, path.rpartition(b"/")[0], made)
        os.mkdir(top + path)
        made.add(path)


def _new(path: bytes, mode: int, pieces: Iterator[bytes] | tuple[()]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        for piece in pieces:
            file.write(piece)
        os.fchmod(file.fileno(), mode)


def _pieces(inode: Inode) -> Iterator[bytes]:
    assert isinstance(inode, Regular)
    offset = 0
    while offset < inode.size():
        piece = bytearray(min(_CHUNK, inode.size() - offset))
        n = inode.content.read((memoryview(piece),), offset)
        if not n:
            break
        yield bytes(piece[:n])
        offset += n
