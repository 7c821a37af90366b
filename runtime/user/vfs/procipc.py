"""/proc/sysvipc: the System V objects there are, as ipcs(1) reads them (ipc/{shm,sem,msg}.c, sysvipc_*_proc_show)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import PAGE

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel


def shm(k: Kernel) -> bytes:
    rows = [
        b"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime"
        b"                   rss                  swap\n"
    ]
    for one in k.shm.objects.values():
        numbers = (
            one.key, one.id, one.mode, one.size, one.creator, one.last, one.attachments(k), one.uid, one.gid, one.cuid, one.cgid,
            one.attached_at, one.detached_at, one.changed, len(one.backing.frames) * PAGE, 0,
        )  # fmt: skip
        rows.append(b"%10d %10d  %4o %21u %5u %5u  %5u %5u %5u %5u %5u %10u %10u %10u %21u %21u\n" % numbers)
    return b"".join(rows)


def sem(k: Kernel) -> bytes:
    rows = [b"       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"]
    for one in k.sem.objects.values():
        numbers = (one.key, one.id, one.mode, len(one.values), one.uid, one.gid, one.cuid, one.cgid, one.operated_at, one.changed)
        rows.append(b"%10d %10d  %4o %10u %5u %5u %5u %5u %10u %10u\n" % numbers)
    return b"".join(rows)


def msg(k: Kernel) -> bytes:
    rows = [b"       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n"]
    for one in k.msg.objects.values():
        numbers = (
            one.key, one.id, one.mode, one.size, len(one.messages), one.last_sender, one.last_receiver, one.uid, one.gid, one.cuid,
            one.cgid, one.sent_at, one.received_at, one.changed,
        )  # fmt: skip
        rows.append(b"%10d %10d  %4o  %10u %10u %5u %5u %5u %5u %5u %5u %10u %10u %10u\n" % numbers)
    return b"".join(rows)
