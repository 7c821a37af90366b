"""The names by which the emulated kernel's functions are called: `k.vfs_read(...)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


class KernelCalls:
    """Each attribute is the function's body bound to the kernel or, while probes are attached, a wrapper around it; see functions.py."""

    begin_new_exec: Function
    bprm_execve: Function
    do_execveat_common: Function
    do_exit: Function
    do_faccessat: Function
    do_filp_open: Function
    do_group_exit: Function
    do_linkat: Function
    do_mkdirat: Function
    do_mknodat: Function
    do_mmap: Function
    do_notify_parent: Function
    do_pipe2: Function
    do_readlinkat: Function
    do_renameat2: Function
    do_rmdir: Function
    do_send_sig_info: Function
    do_symlinkat: Function
    do_sys_openat2: Function
    do_unlinkat: Function
    filp_close: Function
    finish_task_switch: Function
    get_signal: Function
    handle_mm_fault: Function
    hrtimer_nanosleep: Function
    inet_csk_accept: Function
    iterate_dir: Function
    kernel_clone: Function
    ksys_read: Function
    ksys_write: Function
    load_elf_binary: Function
    tcp_close: Function
    tcp_connect: Function
    tcp_recvmsg: Function
    tcp_set_state: Function
    tcp_sendmsg: Function
    tcp_v4_connect: Function
    tcp_v6_connect: Function
    try_to_wake_up: Function
    udp_recvmsg: Function
    udp_sendmsg: Function
    vfs_create: Function
    vfs_fstat: Function
    vfs_fstatat: Function
    vfs_getattr: Function
    vfs_link: Function
    vfs_mkdir: Function
    vfs_mknod: Function
    vfs_open: Function
    vfs_read: Function
    vfs_readv: Function
    vfs_rename: Function
    vfs_rmdir: Function
    vfs_statx: Function
    vfs_symlink: Function
    vfs_truncate: Function
    vfs_unlink: Function
    vfs_write: Function
    vfs_writev: Function
    wake_up_new_task: Function
