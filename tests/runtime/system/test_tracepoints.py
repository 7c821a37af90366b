"""Tracepoints in a booted kernel against what the kernel's own tracefs prints of the same events, in the same run."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

import pytest

from pyprobe.runtime.system.metadata.facts import Facts
from tests.conftest import Result

Guest = Callable[..., Result]

# event: what the kernel prints of it (the beginning), and the arguments for that in a script
EVENTS = {
    "sched:sched_process_exec": ("filename=%s pid=%d old_pid=%d", "args.filename, args.pid, args.old_pid"),
    "sched:sched_process_exit": ("comm=%s pid=%d prio=%d", "args.comm, args.pid, args.prio"),
    "sched:sched_process_fork": (
        "comm=%s pid=%d child_comm=%s child_pid=%d",
        "args.parent_comm, args.parent_pid, args.child_comm, args.child_pid",
    ),
    "sched:sched_wakeup": ("comm=%s pid=%d prio=%d target_cpu=%03d", "args.comm, args.pid, args.prio, args.target_cpu"),
    "sched:sched_stat_runtime": ("comm=%s pid=%d runtime=%llu [ns]", "args.comm, args.pid, args.runtime"),
    "sched:sched_switch": ("prev_comm=%s prev_pid=%d prev_prio=%d", "args.prev_comm, args.prev_pid, args.prev_prio"),
    "raw_syscalls:sys_enter": ("NR %ld (%lx, %lx, %lx", "args.id, args.args[0], args.args[1], args.args[2]"),
    "raw_syscalls:sys_exit": ("NR %ld = %ld", "args.id, args.ret"),
    "syscalls:sys_enter_openat": ("sys_openat(dfd: %lx, filename: %lx, flags: %lx", "args.dfd, args.filename, args.flags"),
    "syscalls:sys_exit_openat": ("sys_openat -> 0x%lx", "args.ret"),
    "syscalls:sys_enter_write": ("sys_write(fd: %lx, buf: %lx, count: %lx)", "args.fd, args.buf, args.count"),
    "task:task_rename": ("pid=%d oldcomm=%s newcomm=%s", "args.pid, args.oldcomm, args.newcomm"),
    "signal:signal_generate": ("sig=%d errno=%d code=%d comm=%s pid=%d", "args.sig, args.errno, args.code, args.comm, args.pid"),
    "irq:softirq_entry": ("vec=%u", "args.vec"),
    "kmem:rss_stat": ("mm_id=%u curr=%d", "args.mm_id, args.curr"),
    "rcu:rcu_utilization": ("%s", "str(args.s)"),
}
NAMES = {name.partition(":")[2] for name in EVENTS}
# What an interrupt may tell: one that comes after a script saw an event and before the kernel has reserved the
# place for it in its ring buffer is printed by the kernel first, so that these are compared each with its own.
TICK = {"rcu_utilization", "softirq_entry", "sched_stat_runtime", "sched_switch", "sched_wakeup"}
SCRIPT = "".join(
    f'tracepoint:{name} {{ printf("OURS %d {name.partition(":")[2]} {text}\\n", pid, {values}); }}\n'
    for name, (text, values) in EVENTS.items()
)
WORK = "sort /etc/passwd -o /tmp/sorted"
FOLDER = "/sys/kernel/tracing"
TRACE = "; ".join(
    [
        f"mount -t tracefs t {FOLDER}; cd {FOLDER}; echo 8192 > buffer_size_kb",
        *(f"echo 1 > events/{name.replace(':', '/')}/enable" for name in EVENTS),
        WORK,
        "echo 0 > events/enable; cat trace",
    ]
)
LINE = re.compile(r"\s*(?:sort)-(\d+)\s+\[\d+\]\s+\S+\s+[\d.]+: (.*)")


def events(output: str) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """What the script and what the kernel printed of the traced command, by the process: each line a name and a text."""
    ours: dict[int, list[str]] = defaultdict(list)
    theirs: dict[int, list[str]] = defaultdict(list)
    for line in output.splitlines():
        if line.startswith("OURS "):
            _, pid, text = line.split(" ", 2)
            ours[int(pid)].append(text)
        elif found := LINE.match(line):
            theirs[int(found[1])].append(named(found[2]))
    return ours, theirs


def named(text: str) -> str:
    """`sys_openat(...` and `sys_openat -> ...`, which the kernel prints without the event's name, with it."""
    if found := re.match(r"sys_(\w+)( ->|\()", text):
        return f"sys_{'exit' if '>' in found[2] else 'enter'}_{found[1]} {text}"
    name, _, rest = text.partition(": ")
    return f"{name} {rest}"


def test_events_are_what_the_kernel_prints(guest: Guest) -> None:
    done = guest(f"sh -c '{TRACE}'", script=SCRIPT)
    assert done.status == 0, done.err
    ours, theirs = events(done.out)
    ((pid, printed),) = theirs.items()
    assert len(ours[pid]) == len(printed)
    for names in (NAMES - TICK, *({name} for name in TICK)):
        mine, lines = ([line for line in told if line.split()[0] in names] for told in (ours[pid], printed))
        for one, line in zip(mine, lines, strict=True):
            assert line.startswith(one), (one, line)
    seen = {line.split()[0] for line in printed}
    assert len(seen) >= 12, seen


def test_without_the_kernels_own_tracing_they_are_the_same(guest: Guest) -> None:
    """That the kernel is not attached itself makes a difference in the code that runs."""
    steady = ("sys_enter ", "sys_exit ", "sys_enter_", "task_rename", "signal_generate")
    runs = [guest(f"sh -c '{command}'", script=SCRIPT) for command in (TRACE, TRACE.replace("echo 1 ", "echo 0 "))]
    found = []
    for run in runs:
        ours, _ = events(run.out)
        of_sort = next(lines for lines in ours.values() if any("newcomm=sort" in line for line in lines))
        found.append([line for line in of_sort if line.startswith(steady)])
    assert found[0] == found[1]
    assert len(found[0]) > 20


def test_time_does_not_pass_in_a_tracepoint(guest: Guest) -> None:
    plain = guest("ls /etc", "--stats")
    probed = guest(
        "ls /etc",
        "--stats",
        script="tracepoint:sched:sched_switch { @ = count(); } tracepoint:sched:sched_process_exec { @ = count(); }",
    )
    times = [re.search(r"virtual time, ns +(\d+)", run.out + run.err) for run in (plain, probed)]
    assert times[0] is not None and times[1] is not None
    assert times[0][1] == times[1][1]
    hits = re.search(r"@: (\d+)", probed.out)
    assert hits is not None and int(hits[1]) > 5


def test_switches_follow_from_each_other(guest: Guest) -> None:
    """While a task of the machine's own runs, the processor is told to be idle, so that none is missed and none is to be seen."""
    script = """
        tracepoint:sched:sched_switch { printf("e %d %d %d %s %s\\n", args.prev_pid, args.next_pid, tid, args.prev_comm, args.next_comm); }
        rawtracepoint:sched_switch { printf("r %d %d %d %s %s\\n", args.prev.pid, args.next.pid, tid, args.prev.comm, args.next.comm); }
    """
    done = guest("sh -c 'ls / | wc -l; sleep 0.01'", script=script)
    for kind in "er":
        switches = [line.split()[1:] for line in done.out.splitlines() if line.startswith(f"{kind} ")]
        assert len(switches) > 20, done
        assert [s[0] for s in switches[1:]] == [s[1] for s in switches[:-1]]
        assert all(before == current for before, _, current, *_ in switches)
        assert {"sh", "ls", "wc", "sleep", "swapper/0"} <= {s[4] for s in switches}
        assert not {"init", "1"} & {word for s in switches for word in s}


def test_raw_tracepoints_have_typed_arguments(guest: Guest) -> None:
    script = """
        rawtracepoint:sched_process_exec {
            printf("%s %d %d %s\\n", args.p.comm, args.old_pid, args.p.pid == pid, str(args.bprm.filename));
        }
        rawtracepoint:sched_switch { @[arg1 == (uint64)args.prev, args.prev.pid == tid] = count(); }
    """
    done = guest("ls /etc", script=script)
    assert re.search(r"^ls (\d+) 1 /bin/ls$", done.out, re.MULTILINE), done.out
    assert re.findall(r"@\[(.*?)\]", done.out) == ["true, true"]


def test_pointers_of_system_calls_have_the_kernels_types(guest: Guest) -> None:
    """Of the program's memory, with what BTF knows of the struct."""
    script = "tracepoint:syscalls:sys_enter_*nanosleep { print((args.rqtp.tv_sec, args->rqtp->tv_nsec)); }"
    done = guest("sh -c 'sleep 0.25'", script=script)
    assert "(0, 250000000)" in done.out.splitlines(), done.err


@pytest.mark.parametrize("pattern", ["tracepoint:sched:*", "rawtracepoint:sched_*"])
def test_many_at_once(guest: Guest, pattern: str) -> None:
    done = guest("ls /etc", script=f"{pattern} {{ @[probe] = count(); }}")
    assert done.status == 0, done.err
    assert len(re.findall(r"^@\[", done.out, re.MULTILINE)) > 4


def test_from_the_first_instruction(guest: Guest) -> None:
    done = guest("ls /", "--boot", script="tracepoint:initcall:initcall_start { @i = count(); }", timeout=120)
    calls = re.search(r"@i: (\d+)", done.out)
    assert calls is not None and int(calls[1]) > 300, done.err


def test_software_events_count_what_the_kernel_does(guest: Guest) -> None:
    script = """
        software:page-faults:1 { @all = count(); }
        software:minor-faults:1 { @minor = count(); } software:major-faults:1 { @major = count(); }
        software:context-switches:1 { @switches = count(); } tracepoint:sched:sched_switch { @traced = count(); }
        software:cpu-clock:100us { @clock = count(); }
    """
    done = guest("ls /etc", script=script)
    found = {name: int(count) for name, count in re.findall(r"^@(\w+): (\d+)", done.out, re.MULTILINE)}
    assert found["all"] == found["minor"] + found["major"] > 20
    assert found["switches"] == found["traced"]
    assert found["clock"] > 10


def test_names_of_other_tasks(guest: Guest) -> None:
    done = guest("ls /etc", script='tracepoint:sched:sched_process_exit { printf("%s %s\\n", comm(2), comm(pid)); }')
    assert "kthreadd ls" in done.out, done.out + done.err


def test_a_kernel_without_symbols_for_data_says_so(guest: Guest, facts: Facts) -> None:
    done = guest("ls /etc", script='begin { print(kaddr("init_task")); }')
    if facts.symbols.has_data:
        assert int(done.out.split()[0]) == facts.symbols.address("init_task")
    else:
        assert "Failed to resolve kernel symbol: init_task" in done.err
        assert "symbols for its functions only" in done.err
