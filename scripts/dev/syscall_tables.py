#!/usr/bin/env python3
"""Make stdlib/syscalls_x86_64.tsv and stdlib/syscalls_arm64.tsv.

Columns: number, name (as in unistd.h), function (the kernel's sys_NAME without `sys_`, which also names the tracepoints), parameters (C,
`-` for a call the kernel has no function for).

Numbers come from the unistd headers; parameters from the formats of the running kernel's syscalls tracepoints (tracefs must
be mounted), and for calls that kernel lacks from the prototypes below, which are those of the man pages of section 2.

    sudo scripts/dev/syscall_tables.py
"""

import re
import sys
from pathlib import Path

EVENTS = Path("/sys/kernel/tracing/events/syscalls")
HEADERS = {"x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), "arm64": Path("/usr/include/asm-generic/unistd.h")}
STDLIB = Path(__file__).resolve().parents[2] / "stdlib"

# Where the kernel's function is named unlike the call: arch/x86/entry/syscalls/syscall_64.tbl, scripts/syscall.tbl
FUNCTIONS = {
    "x86_64": {
        "stat": "newstat", "fstat": "newfstat", "lstat": "newlstat", "uname": "newuname", "sendfile": "sendfile64", "umount2": "umount",
    },
    "arm64": {"fstat": "newfstat", "uname": "newuname", "sendfile": "sendfile64", "umount2": "umount", "fadvise64": "fadvise64_64"},
}  # fmt: skip
# asm-generic/unistd.h names these after their 32-bit forms; what 64-bit architectures call them
NAMES_3264 = {"fstatat": "newfstatat"}

# Slots of the calls with 64-bit times on 32-bit machines
TIME64 = range(403, 424)
# Where an architecture's kernel is configured with another order of parameters (CONFIG_CLONE_BACKWARDS)
REORDERED = {
    ("arm64", "clone"): "unsigned long clone_flags, unsigned long newsp, int * parent_tidptr, unsigned long tls, int * child_tidptr",
}

# Newer than the headers that may be installed
NEWER_NAMES = (
    "cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount lsm_get_self_attr "
    "lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr "
    "file_setattr"
)
NEWER = dict(enumerate(NEWER_NAMES.split(), 451))

# Calls without a tracepoint format in a usual kernel configuration
PROTOTYPES = {
    "delete_module": "const char * name_user, unsigned int flags",
    "finit_module": "int fd, const char * uargs, int flags",
    "init_module": "void * umod, unsigned long len, const char * uargs",
    "kexec_file_load": "int kernel_fd, int initrd_fd, unsigned long cmdline_len, const char * cmdline_ptr, unsigned long flags",
    "kexec_load": "unsigned long entry, unsigned long nr_segments, struct kexec_segment * segments, unsigned long flags",
    "uselib": "const char * library",
    "lookup_dcookie": "u64 cookie64, char * buf, size_t len",
    "sync_file_range2": "int fd, unsigned int flags, loff_t offset, loff_t nbytes",
    "fadvise64_64": "int fd, loff_t offset, loff_t len, int advice",
    "memfd_secret": "unsigned int flags",
    "map_shadow_stack": "unsigned long addr, unsigned long size, unsigned int flags",
    "rseq": "struct rseq * rseq, u32 rseq_len, int flags, u32 sig",
    "userfaultfd": "int flags",
    "bpf": "int cmd, union bpf_attr * uattr, unsigned int size",
    "io_pgetevents": "aio_context_t ctx_id, long min_nr, long nr, struct io_event * events, struct __kernel_timespec * timeout, "
    "const struct __aio_sigset * usig",
}


def numbers(arch: str) -> dict[int, str]:
    """System call number to name."""
    text = HEADERS[arch].read_text()
    found: dict[int, str] = {}
    for prefix, name, number in re.findall(r"#define __NR(3264)?_(\w+)[ \t]+(\d+)\n", text):
        if name not in ("syscalls", "arch_specific_syscall"):
            found.setdefault(int(number), NAMES_3264.get(name, name) if prefix else name)
    found = {n: name for n, name in found.items() if n not in TIME64 and name != "sync_file_range2"}
    return dict(sorted((found | NEWER).items()))


def parameters(function: str) -> str:
    """The parameters of a kernel's system call function, or `-`."""
    path = EVENTS / f"sys_enter_{function}" / "format"
    if path.exists():
        fields = re.findall(r"field:(.*?);\toffset:(\d+)", path.read_text())
        return ", ".join(re.sub(r"\s+", " ", declaration) for declaration, offset in fields if int(offset) >= 16)
    return PROTOTYPES.get(function, "-")


def main() -> None:
    if not EVENTS.is_dir():
        sys.exit(f"no tracepoints at {EVENTS}: mount tracefs there, with a kernel that has CONFIG_FTRACE_SYSCALLS")
    for arch in HEADERS:
        lines = ["# number\tname\tfunction\tparameters; made by scripts/dev/syscall_tables.py"]
        for number, name in numbers(arch).items():
            function = FUNCTIONS[arch].get(name, name)
            lines.append(f"{number}\t{name}\t{function}\t{REORDERED.get((arch, name)) or parameters(function)}")
        (STDLIB / f"syscalls_{arch}.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
