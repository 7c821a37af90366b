"""Kernel structs as scripts read them: what the functions of the emulated kernel, its raw tracepoints and `curtask` point to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.lang.typesys import Pointer, Struct
from pyprobe.runtime.user.kernel_types import kernel_types
from pyprobe.runtime.user.machine import UserMachine
from pyprobe.runtime.user.object_fields import FIELDS, IMAGES, OF_KERNEL, WHOLE, getter
from tests.conftest import Result

Run = Callable[..., Result]

# As published with bpftrace (tools/tcpconnect.bt), but for the clock and the layout of its output.
TCPCONNECT = """
#ifndef BPFTRACE_HAVE_BTF
#include <linux/socket.h>
#include <net/sock.h>
#else
#define AF_INET   2
#define AF_INET6 10
#endif
kprobe:tcp_connect
{
  $sk = ((struct sock *) arg0);
  $inet_family = $sk->__sk_common.skc_family;
  let $daddr;
  let $saddr;
  if ($inet_family == AF_INET || $inet_family == AF_INET6) {
    if ($inet_family == AF_INET) {
      $daddr = ntop($sk->__sk_common.skc_daddr);
      $saddr = ntop($sk->__sk_common.skc_rcv_saddr);
    } else {
      $daddr = ntop($sk->__sk_common.skc_v6_daddr.in6_u.u6_addr8);
      $saddr = ntop($sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
    }
    $lport = $sk->__sk_common.skc_num;
    $dport = $sk->__sk_common.skc_dport;
    $dport = bswap($dport);
    printf("%s %s %d %s %d\\n", comm, $saddr, $lport, $daddr, $dport);
  }
}
"""

SCRIPTS = {
    "tcpconnect": (TCPCONNECT, {"client 127.0.0.1 32768 127.0.0.1 8080"}),
    "accepted": (
        "kretprobe:inet_csk_accept { $sk = (struct sock *)retval; printf(\"%s %d %d\\n\", ntop($sk->__sk_common.skc_daddr), "
        "$sk->__sk_common.skc_num, $sk->__sk_common.skc_state == TCP_ESTABLISHED); }",
        {"127.0.0.1 8080 1"},
    ),
    "files": (
        "kprobe:vfs_read { printf(\"%s %s\\n\", comm, str(((struct file *)arg0)->f_path.dentry->d_name.name)); }",
        {"reader motd", "filter ", "client TCP", "server TCP"},
    ),
    "file systems": (
        "fentry:vfs_open { $i = args.path->dentry->d_inode; printf(\"%s %s %o %d\\n\", path(args.path), "
        "str(args.path->mnt->mnt_sb->s_type->name), $i->i_mode, $i->i_size > 0); }",
        {"/run/pyprobe/motd overlay 100644 1"},
    ),
    "names": ("kprobe:do_filp_open { printf(\"%s\\n\", str(((struct filename *)arg1)->name)); }", {"/run/pyprobe/missing"}),
    "exec": (
        "kprobe:bprm_execve { $b = (struct linux_binprm *)arg0; printf(\"%s %d\\n\", str($b->filename), $b->argc); }",
        {"/run/pyprobe/client 1", "/run/pyprobe/server 1"},
    ),
    "tasks": (
        "kprobe:do_exit { printf(\"%s %s %d %d\\n\", curtask->comm, curtask->real_parent->comm, curtask->tgid == pid, "
        "curtask->cred->uid.val); printf(\"%d %s\\n\", curtask->nsproxy->pid_ns_for_children->ns.inum == 4026531836, "
        "curtask->nsproxy->uts_ns->name.nodename); }",
        {"client session 1 0", "1 pyprobe"},
    ),
    "identities": ("kprobe:do_exit { printf(\"%d\\n\", curtask->thread_pid->numbers[0].nr == tid && curtask->mm->map_count > 3); }", {"1"}),
    "registers": (
        "kprobe:__x64_sys_openat { $r = (struct pt_regs *)arg0; printf(\"%s %d\\n\", str($r->si), $r->orig_ax); }",
        {"/run/pyprobe/motd 257"},
    ),
    "arguments in user memory": ("t:syscalls:sys_enter_nanosleep { printf(\"%d\\n\", args.rqtp->tv_nsec > 0); }", {"1"}),
    "raw tracepoint": ("rt:sched_switch { printf(\"%s>%s\\n\", args.prev->comm, args.next->comm); }", {"swapper/0>session"}),
    "sum of a connection": (
        "kprobe:tcp_close { $t = (struct tcp_sock *)arg0; printf(\"%d %d\\n\", $t->bytes_sent, $t->bytes_received); }",
        {"25 18", "18 25"},
    ),
    "messages": ("kprobe:tcp_sendmsg { printf(\"%d\\n\", ((struct msghdr *)arg1)->msg_iter.count == arg2); }", {"1"}),
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(name: str, pyprobe: Run) -> None:
    """Every script shows the lines that are told of it, on the built-in workload."""
    script, expected = SCRIPTS[name]
    done = pyprobe("-e", script, timeout=60)
    assert done.status == 0 and expected <= set(done.out.splitlines()), done.out + done.err


def test_what_is_gone_reads_as_nothing(pyprobe: Run) -> None:
    """A pointer that is kept longer than its object lives, one past it, and one to nowhere."""
    script = (
        'kprobe:do_sys_openat2 { @how = arg2 } kprobe:vfs_open { @f = arg1 } '
        'END { printf("%d %s %d\\n", ((struct file *)@f)->f_flags, str(((struct filename *)0xffff888000000000)->name), '
        '*(uint64 *)(@f + 4090)); clear(@f); clear(@how) }'
    )  # fmt: skip
    done = pyprobe("-e", script, timeout=60)
    assert done.status == 0 and "0  0" in done.out.splitlines(), done.out + done.err


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_every_declared_member_is_filled(arch: str) -> None:
    """No member is declared that nothing fills; only what a struct in a struct shows is told by its own members."""
    types = kernel_types(arch)
    machine = UserMachine(arch=arch)
    own = {*FIELDS, *OF_KERNEL}
    reached = {struct for struct in own if types.named(struct) is not None}
    assert reached == own
    alias = {"u6_addr8", "u6_addr16", "u6_addr32", "__pad", "si_pid", "si_uid", "si_addr"}  # parts of unions that are filled whole
    for name in sorted(own - set(IMAGES)):
        for member, field in types.struct(name).fields.items():
            inside = field.type
            if getter(machine, name, member) is None and member not in alias:
                assert isinstance(inside, Struct) and (inside.name in own or inside.name in WHOLE), f"{name}.{member}"


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_user_structs_lie_as_in_a_real_kernel(arch: str) -> None:
    """The structs that programs pass: as the type information of a distribution's kernel has them."""
    from pyprobe.runtime.system.kernels import store
    from pyprobe.runtime.system.metadata.facts import Facts

    facts = Facts.of(store.find({"x86_64": "debian-amd64", "arm64": "debian-arm64"}[arch]))
    ours = kernel_types(arch)
    text = (Path(__file__).parents[3] / "stdlib" / "kernel" / "uapi.h").read_text()
    names = [line.split(" {")[0] for line in text.splitlines() if line.startswith("struct ")]
    assert len(names) > 20
    for name in [*names, "struct pt_regs"]:
        real = facts.types.named(name)
        assert isinstance(real, Struct), name
        mine = ours.struct(name)
        for member, field in mine.fields.items():
            if member.startswith("__"):
                continue
            assert real.fields[member].offset == field.offset, f"{name}.{member}"
            if member != "sa_data" and not isinstance(field.type, (Pointer, Struct)):
                assert real.fields[member].type.size == field.type.size, f"{name}.{member}"


def test_numbers_of_sockets(pyprobe: Run, build: Callable[..., str]) -> None:
    """A socket has one number, whoever asks for it."""
    program = build((Path(__file__).parents[2] / "programs" / "cookie.c").read_text(), "-static")
    script = 'fentry:tcp_connect { $n = socket_cookie(args.sk); printf("told %d %d\\n", $n, $n == socket_cookie(args.sk)); }'
    told = pyprobe("-q", "-e", script, "-c", program).out.split("\n")
    assert sorted(line for line in told if line) == ["connecting 2", "other 1", "told 2 1"]
