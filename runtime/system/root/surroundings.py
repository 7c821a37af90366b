"""What a run's command sees: its root, its streams, its environment, as the command line asks for them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from pyprobe.runtime.system.root import streams
from pyprobe.runtime.system.root.channel import Channel
from pyprobe.runtime.system.root.command import SEED_SIZE, Command
from pyprobe.runtime.system.root.fuse import Server
from pyprobe.runtime.system.root.tree import Content, HostTree, Node, memory_tree, resolve
from pyprobe.runtime.user import workload

if TYPE_CHECKING:
    from pyprobe.runtime.settings import Settings

NO_INPUT = "/dev/null"


class NoRoot(Exception):
    """There is nothing that can be the guest's root; the message is for the user."""


def host_architecture() -> str:
    """The host's, by the names of ours."""
    return {"aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def root_directory(arch: str, wanted: str | None, kernels_own: Path | None) -> str:
    """The host's directory that is the guest's root: the wanted one, the host's root where its programs can run, else the kernel's own.

    Raises:
        NoRoot: it is no directory, or there is none.
    """
    if wanted is not None:
        if not os.path.isdir(wanted):
            raise NoRoot(f"--root {wanted}: no such directory")
        return wanted
    if arch == host_architecture():
        return "/"
    if kernels_own is None:
        raise NoRoot(f"the host's programs do not run on {arch}, and the kernel came with no root of its own; name one with --root DIR")
    return str(kernels_own)


def has_directory(root: Node, path: bytes) -> bool:
    """Whether a path, whose links the host has resolved, leads to a directory in a tree."""
    node = resolve(root, filter(None, path.split(b"/")))
    return node is not None and stat.S_ISDIR(node.status.mode)


def seed_bytes(seed: int) -> bytes:
    """What the guest's random numbers come from in a run with that seed."""
    return blake2b(b"pyprobe guest %d" % seed, digest_size=SEED_SIZE).digest()


def built_in(arch: str) -> Node:
    """A root that holds the built-in workload alone."""
    binary = workload.data(workload.BINARIES[arch])
    home = {name: Content(binary, 0o755) for name in workload.PROGRAMS}
    home |= {name: Content(workload.data(name.decode())) for name in workload.TEXTS}
    return memory_tree({b"run": {workload.HOME.rsplit(b"/", 1)[1]: home}})


def write_out(stream: int, data: bytes) -> None:
    """Standard output or error of the guest to that of the host. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(stream, view) :]


def reads_input() -> bool:
    """Whether our own standard input has something to offer."""
    try:
        return not os.path.samestat(os.fstat(0), os.stat(NO_INPUT))
    except OSError:
        return False


def furnish(channel: Channel, settings: Settings, arch: str, kernels_own: Path | None, stopped: Callable[[], bool]) -> None:
    """Tell a channel what to run and where.

    arch: of the guest. kernels_own: the root that came with the kernel. stopped: whether waiting for input is to end.

    Raises:
        NoRoot: see root_directory.
        OSError: the root cannot be opened.
        ValueError: a NUL byte in the command.
    """
    seed = seed_bytes(settings.seed)
    stdin = reads_input()
    if settings.command is None:
        root = built_in(arch)
        channel.command = Command(workload.COMMAND, {**workload.ENVIRONMENT, **settings.environ}, stdin=stdin, seed=seed)
    else:
        root = HostTree(os.fsencode(root_directory(arch, settings.root, kernels_own))).root
        cwd = settings.cwd if settings.root is None and has_directory(root, settings.cwd) else b"/"
        channel.command = Command(settings.command, settings.environ, cwd, stdin=stdin, seed=seed)
    channel.command.pack()
    channel.root = root
    channel.servers = (Server(root), streams.StreamServer(streams.descriptor(0, stopped)))
    channel.output = write_out
