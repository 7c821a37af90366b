"""Watchpoints on a booted kernel's memory. The same run gives the same addresses, so that one tells what the next one watches."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.conftest import Result

Guest = Callable[..., Result]

COMMAND = "sh -c 'ls /etc >/dev/null; true'"
WHERE = """kprobe:__set_task_comm /str(arg1) == "ls"/ {
    $runtime = offsetof(struct task_struct, se) + offsetof(struct sched_entity, sum_exec_runtime);
    printf("AT %#llx %#llx\\n", arg0 + offsetof(struct task_struct, comm), arg0 + $runtime);
}"""


@pytest.fixture
def addresses(guest: Guest) -> tuple[str, str]:
    """Of the comm and of the time that it ran, of the task that becomes `ls`."""
    found = re.search(r"AT (\w+) (\w+)", guest(COMMAND, script=WHERE).out)
    assert found is not None
    return found[1], found[2]


ON_ARM64 = pytest.mark.parametrize("kernel", ["debian-arm64"], indirect=True)


@ON_ARM64
@pytest.mark.parametrize("mode", ["w", "rw"])
def test_writes_of_a_name(guest: Guest, addresses: tuple[str, str], mode: str) -> None:
    script = f"""
        watchpoint:{addresses[0]}:8:{mode} {{ printf("WATCHED %s %s %s\\n", comm, str((uint8 *){addresses[0]}), kstack(8)); }}
        tracepoint:task:task_rename {{ printf("RENAME %s\\n", args.newcomm); }}
    """
    done = guest(COMMAND, script=script)
    renamed = done.out.partition("RENAME ls\n")[2]
    assert renamed, done.err
    first = re.search(r"WATCHED (\w+) (\w+) (?:.*\n)*?\s+__set_task_comm\+\d+", renamed)
    assert first is not None and first.groups() == ("ls", "ls"), done.out


@ON_ARM64
def test_every_write_of_a_counter(guest: Guest, addresses: tuple[str, str]) -> None:
    """The kernel adds to it whenever it looks at the clock; memory is what the instruction left."""
    script = f"""
        watchpoint:{addresses[1]}:8:w {{ @n = count(); @last = *(uint64 *){addresses[1]}; }}
        kprobe:do_exit /comm == "ls"/ {{ printf("RAN %d %d\\n", @last, curtask.se.sum_exec_runtime); }}
    """
    done = guest(COMMAND, script=script)
    found = re.search(r"RAN (\d+) (\d+)", done.out)
    assert found is not None and found[1] == found[2] != "0", done.err


def test_execution(guest: Guest) -> None:
    where = re.search(r"AT (\w+)", guest("true", script='begin { printf("AT %#llx\\n", kaddr("vfs_open")); }').out)
    assert where is not None
    script = f"watchpoint:{where[1]}:8:x {{ @x = count(); }} kprobe:vfs_open {{ @k = count(); }}"
    done = guest(COMMAND, script=script)
    counts = re.findall(r"^@\w: (\d+)", done.out, re.MULTILINE)
    assert len(counts) == 2 and counts[0] == counts[1], done.err


@pytest.mark.parametrize(
    ("point", "why"),
    [
        ("0x1000:8:w", "only the kernel's can be watched"),
        ("0xffff800000001001:8:w", "is not aligned to 8 bytes"),
        ("0x1000:1:x", "only the kernel's can be watched"),
    ],
)
def test_what_cannot_be_watched(guest: Guest, point: str, why: str) -> None:
    done = guest("true", script=f"watchpoint:{point} {{ }}")
    assert done.status != 0
    assert why in done.err


@pytest.mark.parametrize("kernel", ["debian-amd64"], indirect=True)
def test_accesses_on_amd64_are_refused(guest: Guest) -> None:
    """Better than to miss some."""
    done = guest("true", script="watchpoint:0xffffffff81000000:8:w { }")
    assert done.status != 0
    assert "not reported reliably" in done.err
