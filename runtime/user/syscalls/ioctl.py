"""ioctl(2): the requests every file answers; the rest is the file's own."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.vfs.abi import FIONREAD, O_ASYNC, O_NONBLOCK, O_PATH
from pyprobe.runtime.user.vfs.openfile import RegularFile
from pyprobe.runtime.user.words import s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

FIONBIO, FIONCLEX, FIOCLEX, FIOASYNC, FIOQSIZE = 0x5421, 0x5450, 0x5451, 0x5452, 0x5460
_FLAGS = {FIONBIO: O_NONBLOCK, FIOASYNC: O_ASYNC}


def sys_ioctl(k: Kernel, t: Task, fd: int, cmd: int, arg: int) -> int:
    files = t.process.files
    file = files.get(fd)
    cmd &= 0xFFFFFFFF
    if file.flags & O_PATH:
        raise Errno(errno.EBADF)
    if cmd in (FIOCLEX, FIONCLEX):
        files.set_close_on_exec(s32(fd), cmd == FIOCLEX)
        return 0
    if cmd in _FLAGS:
        on = t.space.u32(arg) != 0
        file.flags = file.flags | _FLAGS[cmd] if on else file.flags & ~_FLAGS[cmd]
        return 0
    if cmd == FIONREAD and isinstance(file, RegularFile):
        t.space.write(arg, struct.pack("<i", max(0, min(file.inode.size() - file.position.value, 0x7FFFFFFF))))
        return 0
    if cmd == FIOQSIZE and file.inode.is_regular:
        t.space.put_u64(arg, file.inode.size())
        return 0
    return file.ioctl(k, t, cmd, arg)
