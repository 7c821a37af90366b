"""/sys, as much as C libraries and runtimes ask of it: one online CPU."""

from __future__ import annotations

from typing import Final

from pyprobe.runtime.user.vfs.abi import SYSFS_MAGIC
from pyprobe.runtime.user.vfs.inode import FileSystem, Inode
from pyprobe.runtime.user.vfs.synthetic import Table, TextFile

_FILES: Final = {
    b"devices/system/cpu/online": b"0\n",
    b"devices/system/cpu/possible": b"0\n",
    b"devices/system/cpu/present": b"0\n",
    b"devices/system/cpu/kernel_max": b"0\n",
    b"devices/system/cpu/cpu0/topology/core_id": b"0\n",
    b"devices/system/cpu/cpu0/topology/physical_package_id": b"0\n",
    b"devices/system/cpu/cpu0/topology/die_id": b"0\n",
    **{
        b"devices/system/cpu/cpu0/topology/" + name + kind: text
        for name in (b"core_cpus", b"core_siblings", b"die_cpus", b"package_cpus", b"thread_siblings")
        for kind, text in ((b"", b"1\n"), (b"_list", b"0\n"))
    },
    b"devices/system/node/online": b"0\n",
    b"devices/system/node/has_cpu": b"0\n",
    b"devices/system/node/node0/cpumap": b"1\n",
    b"devices/system/node/node0/distance": b"10\n",
    b"devices/system/node/possible": b"0\n",
    b"devices/system/node/node0/cpulist": b"0\n",
    b"devices/system/node/node0/meminfo": b"Node 0 MemTotal:        4194304 kB\nNode 0 MemFree:         2097152 kB\n",
    b"class/net/lo/address": b"00:00:00:00:00:00\n",
    b"class/net/lo/flags": b"0x9\n",
    b"class/net/lo/ifindex": b"1\n",
    b"class/net/lo/mtu": b"65536\n",
    b"class/net/lo/operstate": b"unknown\n",
    b"class/net/lo/type": b"772\n",
    b"kernel/mm/transparent_hugepage/enabled": b"always madvise [never]\n",
    b"kernel/mm/transparent_hugepage/hpage_pmd_size": b"2097152\n",
}


def root(dev: int, now: int) -> Inode:
    """The root directory of a new sysfs."""
    fs = FileSystem("sysfs", dev, SYSFS_MAGIC)
    top = Table(fs, 0o555, now)
    for path, text in _FILES.items():
        *folders, name = path.split(b"/")
        at = top
        for folder in folders:
            below = at.children.get(folder)
            if not isinstance(below, Table):
                below = at.children[folder] = Table(fs, 0o755, now)
            at = below
        at.children[name] = TextFile(fs, 0o444, now, lambda k, t, text=text: text)  # type: ignore[misc]  # bound early on purpose
    for folder in (b"fs", b"block", b"bus", b"module", b"power"):
        top.children[folder] = Table(fs, 0o755, now)
    return top
