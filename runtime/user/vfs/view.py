"""From paths that are to appear to the tree of names that the host layer shows."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pyprobe.runtime.user.vfs.abi import MAX_SYMLINKS
from pyprobe.runtime.user.vfs.host import View


def visible(root: bytes, paths: Iterable[bytes], cwd: bytes = b"/") -> View:
    """What a view shows in which these absolute guest paths appear, with all below them and the symbolic links that lead there.

    root: the host's directory that is the guest's `/`. cwd: a directory that appears by itself, without what it holds.
    Paths that do not exist show nothing.
    """
    tree: dict[bytes, View] = {}
    top = root.rstrip(b"/")
    for path in paths:
        names = [name for name in reversed(path.split(b"/")) if name]
        links = 0
        at: list[bytes] = []
        while names:
            name = names.pop()
            if name == b"..":
                del at[-1:]
            elif name != b".":
                here = [*at, name]
                place = top + b"/" + b"/".join(here)
                if links < MAX_SYMLINKS and os.path.islink(place):
                    links += 1
                    _add(tree, here)
                    target = os.readlink(place)
                    names += [part for part in reversed(target.split(b"/")) if part]
                    at = [] if target.startswith(b"/") else at
                else:
                    at = here
        if not at:
            return None
        _add(tree, at)
    at_cwd: View = tree
    for name in cwd.split(b"/"):
        if name and at_cwd is not None:
            at_cwd = at_cwd.setdefault(name, {})
    return tree


def _add(tree: dict[bytes, View], names: list[bytes]) -> None:
    """Show the file of these names, and everything below it."""
    for name in names[:-1]:
        below = tree.setdefault(name, {})
        if below is None:
            return
        tree = below
    tree[names[-1]] = None
