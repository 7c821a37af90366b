"""System calls that this kernel knows and refuses: as Linux does in a container, to ordinary users, or on a simple processor.

Programs that try them have another way when they meet these errors. Those a kernel may be built without fail with ENOSYS; ABSENT
lists them, and why.
"""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOSPC, EOPNOTSUPP, EPERM
from typing import TYPE_CHECKING

from pyprobe.runtime.user.capabilities import CAP_SYS_BOOT
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.fork import CLONE_NAMESPACES
from pyprobe.runtime.user.pidfd import PidFile
from pyprobe.runtime.user.syscalls.memory import sys_mprotect
from pyprobe.runtime.user.vfs.namespaces import NamespaceFile
from pyprobe.runtime.user.words import U32, s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

_WITHOUT = {
    "CONFIG_AIO": "io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents",
    "CONFIG_IO_URING": "io_uring_setup io_uring_enter io_uring_register",
    "CONFIG_NUMA": "mbind set_mempolicy get_mempolicy migrate_pages move_pages set_mempolicy_home_node",
    "CONFIG_KEYS": "add_key request_key keyctl",
    "CONFIG_SECURITY_LANDLOCK": "landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    "CONFIG_SECRETMEM": "memfd_secret",
    "CONFIG_MODIFY_LDT_SYSCALL": "modify_ldt",
    "CONFIG_PROFILING": "lookup_dcookie",
    "CONFIG_SYSFS_SYSCALL": "sysfs",
    "CONFIG_USELIB": "uselib",
}
REBOOT_MAGIC, REBOOT_MAGICS = 0xFEE1DEAD, frozenset({672274793, 85072278, 369367448, 537993216})  # include/uapi/linux/reboot.h
_NEWER = (
    "cachestat map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount lsm_get_self_attr lsm_set_self_attr "
    "lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr"
)

#: call without a handler -> the option this kernel is built without, or why else
ABSENT = {
    **{name: option for option, names in _WITHOUT.items() for name in names.split()},
    **dict.fromkeys(_NEWER.split(), "newer than the release that uname(2) names"),
}


def _not_permitted(k: Kernel, t: Task) -> int:
    """As without CAP_SYS_ADMIN and the capabilities like it, or where the administrator forbids it to users."""
    raise Errno(EPERM)


sys_mount = sys_umount2 = sys_pivot_root = sys_mount_setattr = sys_move_mount = _not_permitted
sys_fsopen = sys_fspick = sys_fsmount = sys_open_tree = _not_permitted
sys_swapon = sys_swapoff = sys_acct = sys_quotactl = sys_quotactl_fd = sys_vhangup = _not_permitted
sys_kexec_load = sys_kexec_file_load = _not_permitted
sys_init_module = sys_finit_module = sys_delete_module = _not_permitted
sys_ioperm = sys_iopl = _not_permitted
sys_bpf = sys_userfaultfd = sys_fanotify_init = sys_open_by_handle_at = _not_permitted


def sys_reboot(k: Kernel, t: Task, magic1: int, magic2: int, cmd: int, arg: int) -> int:
    """reboot(2): only who knows the magic numbers is refused."""
    if t.cred.capable(CAP_SYS_BOOT) and (magic1 & U32 != REBOOT_MAGIC or magic2 & U32 not in REBOOT_MAGICS):
        raise Errno(EINVAL)
    raise Errno(EPERM)


def sys_fsconfig(k: Kernel, t: Task, fd: int) -> int:
    """fsconfig(2): nobody can have such a descriptor."""
    t.process.files.get(fd)
    raise Errno(EINVAL)


def sys_fanotify_mark(k: Kernel, t: Task, fd: int) -> int:
    """fanotify_mark(2): nobody can have such a descriptor."""
    t.process.files.get(fd)
    raise Errno(EINVAL)


def sys_perf_event_open(k: Kernel, t: Task) -> int:
    """perf_event_open(2): as /proc/sys/kernel/perf_event_paranoid says to those without CAP_PERFMON."""
    raise Errno(EACCES)


def sys_name_to_handle_at(k: Kernel, t: Task) -> int:
    """name_to_handle_at(2): as on a file system without handles."""
    raise Errno(EOPNOTSUPP)


def sys_ustat(k: Kernel, t: Task, dev: int, ubuf: int) -> int:
    """ustat(2): of no device that is mounted."""
    raise Errno(EINVAL)


def sys_setns(k: Kernel, t: Task, fd: int, nstype: int) -> int:
    """setns(2): everybody is in the first namespaces, which only a privileged task may enter again."""
    file, wanted = t.process.files.get(fd), s32(nstype)
    if isinstance(file, NamespaceFile):
        if wanted and wanted != file.inode.flag:
            raise Errno(EINVAL)
    elif not isinstance(file, PidFile) or not wanted or wanted & U32 & ~CLONE_NAMESPACES:
        raise Errno(EINVAL)
    raise Errno(EPERM)


# protection keys, on a processor without them (mm/mprotect.c)


def sys_pkey_alloc(k: Kernel, t: Task, flags: int, init_val: int) -> int:
    """pkey_alloc(2): there is none to give."""
    if flags or init_val & ~3:
        raise Errno(EINVAL)
    raise Errno(ENOSPC)


def sys_pkey_free(k: Kernel, t: Task, pkey: int) -> int:
    """pkey_free(2): nobody has one."""
    raise Errno(EINVAL)


def sys_pkey_mprotect(k: Kernel, t: Task, start: int, length: int, prot: int, pkey: int) -> int:
    """pkey_mprotect(2): with the key -1 it is mprotect(2)."""
    if s32(pkey) != -1:
        raise Errno(EINVAL)
    return sys_mprotect(k, t, start, length, prot)
