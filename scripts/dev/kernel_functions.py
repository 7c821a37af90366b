"""The emulated kernel's functions against a real kernel's: the same program, the same probes, the same hits.

    python -m pyprobe.scripts.dev.kernel_functions KERNEL PROGRAM [OPTION...]

PROGRAM is tests/programs/kernelwork.c, linked statically; options (`--root DIR`) are for both runs. It
prints a table: for every function how often it was called on either side, and whether the calls were the same: the same arguments
(those listed here), the same results, in the same order. Only tasks named `kernelwork` count.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

COMM = "kernelwork"


class Function(NamedTuple):
    """How a function is compared. arguments: expressions, as `%d` unless they begin with `str(`; result: the C type of what it returns,
    `void`, `pointer` (only whether it is an error shows) or `id` (positive ones differ); why: the reason for other counts there."""

    name: str
    arguments: tuple[str, ...] = ()
    result: str = "int32"
    why: str = ""


FD = "(int32)arg0"
FILE = "str(((struct file *)arg0)->f_path.dentry->d_name.name)"
NAME = "str(((struct filename *)arg1)->name)"
DENTRY = "str(((struct dentry *)arg2)->d_name.name)"
PORTS = "((struct sock *)arg0)->__sk_common.skc_dport"
STATE = "((struct sock *)arg0)->__sk_common.skc_state"
FAMILY = "((struct sock *)arg0)->__sk_common.skc_family"
BINPRM = "str(((struct linux_binprm *)arg0)->filename)"

FUNCTIONS: tuple[Function, ...] = (
    # processes
    Function("kernel_clone", ("((struct kernel_clone_args *)arg0)->exit_signal",), "id"),
    Function("wake_up_new_task", ("str(((struct task_struct *)arg0)->comm)",), "void"),
    Function("bprm_execve", (NAME.replace("arg1", "arg2"), "((struct linux_binprm *)arg0)->argc")),
    Function("load_elf_binary", (BINPRM,)),
    Function("begin_new_exec", (BINPRM,)),
    Function("do_group_exit", (FD,), "void"),
    Function("do_exit", ("(int32)arg0",), "void"),
    Function("do_notify_parent", ("(int32)arg1", "str(((struct task_struct *)arg0)->comm)"), "uint8"),
    # signals
    Function("do_send_sig_info", (FD, "str(((struct task_struct *)arg2)->comm)", "(int32)arg3")),
    Function("get_signal", (), "uint8", "called once more where a wait was interrupted or other work is done on the way out"),
    Function("hrtimer_nanosleep", ("arg0", "(int32)arg1", "(int32)arg2")),
    # memory
    Function("do_mmap", ("(int32)(arg0 != 0)", "arg2", "arg3"), "pointer", "exec maps a program's segments with it; here the loader does"),
    Function("__vm_munmap", ("arg1",)),
    Function("handle_mm_fault", (), "void", "which pages are there already depends on the memory and its caches"),
    # files
    Function("do_sys_openat2", (FD,)),
    Function("do_filp_open", (NAME,), "pointer"),
    Function("vfs_open", ("str(((struct path *)arg0)->dentry->d_name.name)",)),
    Function("filp_close", (FILE,)),
    Function("ksys_read", (FD, "arg2"), "int64"),
    Function("vfs_read", (FILE, "arg2"), "int64"),
    Function("vfs_readv", (FILE, "arg2"), "int64"),
    Function("ksys_write", (FD, "arg2"), "int64"),
    Function("vfs_write", (FILE, "arg2"), "int64"),
    Function("vfs_writev", (FILE, "arg2"), "int64"),
    Function("vfs_fstatat", (FD, "str(arg1)", "(int32)arg3")),
    Function("vfs_statx", (FD, NAME, "(int32)arg2")),
    Function("vfs_getattr", (), "int32", "a compiler may put it into vfs_statx, its caller in the same file"),
    Function("vfs_truncate", ("str(((struct path *)arg0)->dentry->d_name.name)", "arg1"), "int64"),
    Function("iterate_dir", (FILE,)),
    Function("do_faccessat", (FD, "(int32)arg2", "(int32)arg3"), "int64"),
    Function("do_readlinkat", (FD, "(int32)arg3")),
    Function("do_pipe2", ("(int32)arg1",)),
    # names
    Function("do_mkdirat", (FD, NAME, "(uint16)arg2")),
    Function("vfs_mkdir", (DENTRY, "(uint16)arg3")),
    Function("do_rmdir", (FD, NAME), "int64"),
    Function("vfs_rmdir", (DENTRY,)),
    Function("do_unlinkat", (FD, NAME), "int64"),
    Function("vfs_unlink", (DENTRY,)),
    Function("do_symlinkat", ("str(((struct filename *)arg0)->name)", "(int32)arg1")),
    Function("vfs_symlink", (DENTRY, "str(arg3)")),
    Function("do_linkat", (FD, NAME)),
    Function("vfs_link", ("str(((struct dentry *)arg0)->d_name.name)", "str(((struct dentry *)arg3)->d_name.name)")),
    Function("do_renameat2", (FD, NAME)),
    Function("vfs_rename", ("str(((struct renamedata *)arg0)->old_dentry->d_name.name)",)),
    Function("do_mknodat", (FD, NAME, "(uint16)arg2")),
    Function("vfs_mknod", (DENTRY, "(uint16)arg3")),
    Function("vfs_create", (DENTRY, "(uint16)arg3")),
    # sockets
    Function("tcp_v4_connect", ("((struct sockaddr_in *)arg1)->sin_port", "(int32)arg2")),
    Function("tcp_v6_connect", ("((struct sockaddr_in6 *)arg1)->sin6_port", "(int32)arg2")),
    Function("tcp_connect", (PORTS, STATE, FAMILY)),
    Function("tcp_set_state", (STATE, "(int32)arg1"), "void", "the far end's may change while no task, or another one, runs"),
    Function("inet_csk_accept", ("((struct sock *)arg0)->__sk_common.skc_num",), "pointer"),
    Function("tcp_sendmsg", (STATE, "arg2")),
    Function("tcp_recvmsg", ("arg2",)),
    Function("tcp_close", (STATE,), "void"),
    Function("udp_sendmsg", ("arg2",)),
    Function("udp_recvmsg", ("arg2",)),
    # the CPU
    Function("try_to_wake_up", (), "void", "what waits, and for how long, depends on time"),
    Function("finish_task_switch", (), "void", "what waits, and for how long, depends on time; a compiler may give it another name"),
)
TIMED = frozenset(f.name for f in FUNCTIONS if f.why)
"""Functions whose counts may differ, for the reasons that are told."""


STREAMS = frozenset(f"filp_close({name})" for name in ("null", "stdin", "stdout", "stderr"))
"""Standard streams: what they are depends on who started the run."""


def script(functions: list[Function]) -> str:
    """Probes that print every call and every return."""
    parts = []
    for f in functions:
        shown = " ".join("%s" if a.startswith("str(") else "%d" for a in f.arguments)
        values = "".join(f", {a}" for a in f.arguments)
        only = f'/comm == "{COMM}"/'
        parts.append(f'kprobe:{f.name} {only} {{ printf("{f.name}({shown})\\n"{values}); }}')
        if f.result != "void":
            kind = {"pointer": "int64", "id": "int32"}.get(f.result, f.result)
            parts.append(f'kretprobe:{f.name} {only} {{ printf("{f.name} = %d\\n", ({kind})retval); }}')
    return "\n".join(parts)


def normal(line: str) -> str:
    """A line of the trace without what differs between two runs: addresses and process ids."""
    name, equals, value = line.partition(" = ")
    if not equals:
        return "filp_close()" if line in STREAMS else line
    kind = next((f.result for f in FUNCTIONS if f.name == name), "")
    number = int(value)
    if kind == "pointer":
        return f"{name} = {number if -4096 < number < 0 else 'pointer'}"
    return f"{name} = id" if kind == "id" and number > 0 else line


def of_function(trace: list[str], name: str) -> list[str]:
    """The lines of a trace that belong to one function."""
    return [line for line in trace if line.startswith((f"{name}(", f"{name} = "))]


class Compared(NamedTuple):
    """One function on both sides. ours, real: its lines."""

    function: Function
    ours: list[str]
    real: list[str]

    @property
    def same(self) -> bool:
        return self.ours == self.real

    @property
    def verdict(self) -> str:
        return "same" if self.same else self.function.why or "DIFFERS"


Run = Callable[[list[str]], str]
"""Runs the command with arguments; what it writes. Raises RuntimeError when it fails."""


def compare(run: Run, kernel: str, program: str, *extra: str) -> tuple[list[Compared], list[str], list[str]]:
    """Every function that the real kernel lets one probe, and the two whole traces without those functions whose counts may differ.

    extra: options for both runs.
    """
    theirs = set(run(["--kernel", kernel, "-l", "kprobe:*"]).split())
    functions = [f for f in FUNCTIONS if f"kprobe:{f.name}" in theirs]
    text = script(functions)
    ours = [normal(line) for line in run(["-q", *extra, "-e", text, "-c", program]).splitlines() if line]
    real = [normal(line) for line in run(["-q", *extra, "--kernel", kernel, "-e", text, "-c", program]).splitlines() if line]
    table = [Compared(f, of_function(ours, f.name), of_function(real, f.name)) for f in functions]
    fixed = [f.name for f in functions if f.name not in TIMED]
    return table, _only(ours, fixed), _only(real, fixed)


def _only(trace: list[str], names: list[str]) -> list[str]:
    """The lines of some functions."""
    return [line for line in trace if line.split(" = ")[0].split("(")[0] in names]


def table_text(table: list[Compared]) -> str:
    """For people."""
    lines = [f"{'FUNCTION':22}{'CALLS':>7}{'THERE':>7}  SAME?"]
    for c in table:
        calls, there = (sum("(" in line.split(" = ")[0] for line in lines_of) for lines_of in (c.ours, c.real))
        lines.append(f"{c.function.name:22}{calls:7}{there:7}  {c.verdict}")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the table, and the first difference of the traces."""
    kernel, program, *extra = arguments

    def run(options: list[str]) -> str:
        command = [sys.executable, "-m", "pyprobe", *options]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    table, ours, real = compare(run, kernel, program, *extra)
    print(table_text(table))
    for here, there in zip([*ours, ""], [*real, ""], strict=False):
        if here != there:
            print(f"\nThe first difference: {here or 'the end'} here, {there or 'the end'} there")
            return 1
    print(f"\n{len(ours)} calls and returns, in the same order")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
