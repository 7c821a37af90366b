"""capget(2), capset(2), and what prctl(2) has of capabilities (kernel/capability.c, security/commoncap.c)."""

from __future__ import annotations

import struct
from errno import EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING

from pyprobe.runtime.user.capabilities import CAP_SETPCAP, LAST_CAPABILITY
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.words import U32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

VERSIONS = {0x19980330: 1, 0x20071026: 2, 0x20080522: 2}  # version to number of 32-bit words
VERSION_3 = 0x20080522
PR_CAP_AMBIENT_IS_SET, PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_LOWER, PR_CAP_AMBIENT_CLEAR_ALL = range(1, 5)
_DATA = struct.Struct("<III")  # struct __user_cap_data_struct: effective, permitted, inheritable


def _header(k: Kernel, t: Task, header: int) -> tuple[int, int] | None:
    """The number of words and the process's id; None for a version nobody knows, which is put right."""
    version, pid = struct.unpack("<Ii", t.space.read(header, 8))
    if version not in VERSIONS:
        t.space.put_u32(header, VERSION_3)
        return None
    return VERSIONS[version], pid


def sys_capget(k: Kernel, t: Task, header: int, data: int) -> int:
    """capget(2)."""
    known = _header(k, t, header)
    if known is None:
        if data:
            raise Errno(EINVAL)
        return 0
    words, pid = known
    if pid < 0:
        raise Errno(EINVAL)
    target = k.tasks.get(pid) if pid else t
    if target is None:
        raise Errno(ESRCH)
    if data:
        cred = target.cred
        sets = cred.cap_effective, cred.cap_permitted, cred.cap_inheritable
        t.space.write(data, b"".join(_DATA.pack(*(one >> 32 * i & U32 for one in sets)) for i in range(words)))
    return 0


def sys_capset(k: Kernel, t: Task, header: int, data: int) -> int:
    """capset(2): of the calling thread."""
    known = _header(k, t, header)
    if known is None:
        raise Errno(EINVAL)
    words, pid = known
    if pid not in (0, t.tid):
        raise Errno(EPERM)
    effective = permitted = inheritable = 0
    for i in range(words):
        parts = _DATA.unpack(t.space.read(data + i * _DATA.size, _DATA.size))
        effective |= parts[0] << 32 * i
        permitted |= parts[1] << 32 * i
        inheritable |= parts[2] << 32 * i
    cred = t.cred
    bound = cred.cap_inheritable | (cred.cap_bounding if cred.capable(CAP_SETPCAP) else cred.cap_permitted)
    if permitted & ~cred.cap_permitted or effective & ~permitted or inheritable & ~bound:
        raise Errno(EPERM)
    if inheritable & ~(cred.cap_inheritable | cred.cap_bounding):
        raise Errno(EPERM)
    cred.cap_effective, cred.cap_permitted, cred.cap_inheritable = effective, permitted, inheritable
    cred.cap_ambient &= permitted & inheritable
    return 0


def _valid(capability: int) -> int:
    if capability > LAST_CAPABILITY:
        raise Errno(EINVAL)
    return 1 << capability


def bounding_read(t: Task, capability: int) -> int:
    """PR_CAPBSET_READ."""
    return int(bool(t.cred.cap_bounding & _valid(capability)))


def bounding_drop(t: Task, capability: int) -> int:
    """PR_CAPBSET_DROP."""
    if not t.cred.capable(CAP_SETPCAP):
        raise Errno(EPERM)
    t.cred.cap_bounding &= ~_valid(capability)
    return 0


def ambient(t: Task, what: int, capability: int) -> int:
    """PR_CAP_AMBIENT."""
    cred = t.cred
    if what == PR_CAP_AMBIENT_CLEAR_ALL:
        if capability:
            raise Errno(EINVAL)
        cred.cap_ambient = 0
        return 0
    bit = _valid(capability)
    if what == PR_CAP_AMBIENT_IS_SET:
        return int(bool(cred.cap_ambient & bit))
    if what == PR_CAP_AMBIENT_RAISE:
        if not cred.cap_permitted & cred.cap_inheritable & bit:
            raise Errno(EPERM)
        cred.cap_ambient |= bit
    elif what == PR_CAP_AMBIENT_LOWER:
        cred.cap_ambient &= ~bit
    else:
        raise Errno(EINVAL)
    return 0
