"""capabilities(7): what root's power consists of, and how changes of user ids change it (security/commoncap.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pyprobe.runtime.user.task import Credentials

# include/uapi/linux/capability.h
CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP = range(9)
CAP_LINUX_IMMUTABLE, CAP_NET_BIND_SERVICE, CAP_IPC_OWNER, CAP_SYS_RAWIO, CAP_SYS_CHROOT, CAP_SYS_PTRACE = 9, 10, 15, 17, 18, 19
CAP_SYS_ADMIN, CAP_SYS_BOOT, CAP_SYS_NICE, CAP_SYS_RESOURCE, CAP_MKNOD, CAP_MAC_OVERRIDE = 21, 22, 23, 24, 27, 32
LAST_CAPABILITY: Final = 40  # CAP_CHECKPOINT_RESTORE
ALL_CAPABILITIES: Final = (1 << LAST_CAPABILITY + 1) - 1
#: what goes with the user id for file systems (CAP_FS_MASK)
FS_CAPABILITIES: Final = sum(
    1 << one
    for one in (
        CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_LINUX_IMMUTABLE, CAP_MKNOD, CAP_MAC_OVERRIDE,
    )
)  # fmt: skip


def after_setuid(cred: Credentials, before: tuple[int, int, int], *, keep: bool) -> None:
    """The user ids (real, effective, saved) were `before` (cap_emulate_setxuid). keep: prctl(PR_SET_KEEPCAPS)."""
    if 0 in before and 0 not in (cred.uid, cred.euid, cred.suid):
        if not keep:
            cred.cap_permitted = cred.cap_effective = 0
        cred.cap_ambient = 0
    if before[1] == 0 and cred.euid != 0:
        cred.cap_effective = 0
    elif before[1] != 0 and cred.euid == 0:
        cred.cap_effective = cred.cap_permitted


def after_setfsuid(cred: Credentials, before: int) -> None:
    """The user id for file systems was `before` (cap_task_fix_setuid, LSM_SETID_FS)."""
    if before == 0 and cred.fsuid != 0:
        cred.cap_effective &= ~FS_CAPABILITIES
    elif before != 0 and cred.fsuid == 0:
        cred.cap_effective |= cred.cap_permitted & FS_CAPABILITIES


def after_exec(cred: Credentials, *, set_id: bool) -> None:
    """A program without file capabilities starts (cap_bprm_creds_from_file). set_id: by its mode with other ids."""
    if set_id:
        cred.cap_ambient = 0
    root = 0 in (cred.uid, cred.euid)
    cred.cap_permitted = (cred.cap_bounding | cred.cap_inheritable if root else 0) | cred.cap_ambient
    cred.cap_effective = cred.cap_permitted if cred.euid == 0 else cred.cap_ambient
