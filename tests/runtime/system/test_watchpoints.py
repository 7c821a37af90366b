"""Watchpoints on a booted kernel's memory. The same run gives the same addresses, so that one tells what the next one watches."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.runtime.system.kernels.store import Kernel
from tests.conftest import ROOT, Result
from tests.runtime.system.conftest import COMPILERS

Guest = Callable[..., Result]
LINEAR = {"x86_64": 0xFFFF_8880_0000_0000, "arm64": 0xFFFF_0000_0000_0000 - 0x4000_0000}  # from physical addresses to the kernel's

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


@pytest.fixture
def accesses(kernel: Kernel, root: Path, tool: Callable[[str], str]) -> str:
    """A command of the guest; see accesses.c."""
    source, program = ROOT / "tests/programs/accesses.c", root / "bin/accesses"
    subprocess.run([tool(COMPILERS[kernel.arch]), "-O1", "-static", "-o", program, source], check=True, timeout=60)
    return "accesses"


def told(done: Result, arch: str) -> tuple[int, dict[str, tuple[int, int]]]:
    """What accesses.c prints: the word's address in the kernel, and for each kind how often it writes it and how often it accesses it."""
    first, *lines = done.out.split("\n\n")[0].splitlines()
    rows = [line.rsplit(" ", 2) for line in lines if line]
    return LINEAR[arch] + int(first, 16), {name: (int(writes), int(both)) for name, writes, both in rows}


def counted(done: Result) -> dict[str, dict[str, int]]:
    """The maps by their names."""
    maps: dict[str, dict[str, int]] = {}
    for name, key, count in re.findall(r"^@(\w+)\[(.*)\]: (\d+)$", done.out, re.MULTILINE):
        maps.setdefault(name, {})[key] = int(count)
    assert maps, done.err
    return maps


@pytest.mark.parametrize("end", ["", " end"])
def test_every_access_is_seen(guest: Guest, kernel: Kernel, accesses: str, end: str) -> None:
    """By instructions of all kinds; the word's place is the same in every run. A fault in an access across pages, which the first of those
    in each run has, hides nothing."""
    address, kinds = told(guest(accesses + end), kernel.arch)
    assert len(kinds) > (1 if end else 20)
    expected = {"w": {name: writes for name, (writes, _) in kinds.items()}, "rw": {name: both for name, (_, both) in kinds.items()}}
    if kernel.arch == "arm64":
        expected["r"] = {name: both - writes for name, (writes, both) in kinds.items()}
    script = "".join(f"watchpoint:{address:#x}:8:{mode} {{ @{mode}[comm] = count(); }}\n" for mode in expected)
    for mode, counts in counted(guest(accesses + end, script=script)).items():
        counts.pop("accesses", None)  # before the first kind, as the page is cleared
        assert counts == {name: n for name, n in expected[mode].items() if n}, mode


def test_lengths(guest: Guest, kernel: Kernel, accesses: str) -> None:
    address, _ = told(guest(accesses), kernel.arch)
    pieces = {8: address, 4: address + 4, 2: address + 6, 1: address + 7}
    script = "".join(f"watchpoint:{at:#x}:{size}:w {{ @l{size}[comm] = count(); }}\n" for size, at in pieces.items())
    found = counted(guest(accesses, script=script))
    for name, sizes in (("store", (8, 4, 2, 1)), ("store4", (8, 4, 2, 1)), ("store2", (8,)), ("beside", ())):
        assert {size: found[f"l{size}"].get(name, 0) for size in pieces} == {size: 10 if size in sizes else 0 for size in pieces}


CROSSING = r"""
#include <sys/mman.h>
#include <sys/prctl.h>
int main(void)
{
	char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	prctl(PR_SET_NAME, "first");
	page[0] = 1;
	(void)*(volatile long *)(page + 4092);
	prctl(PR_SET_NAME, "second");
	return 0;
}
"""


def test_after_a_fault_in_the_second_page_of_an_access(
    guest: Guest, kernel: Kernel, root: Path, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """The emulator itself would report no writes from then on."""
    source = tmp_path / "crossing.c"
    source.write_text(CROSSING)
    subprocess.run([tool(COMPILERS[kernel.arch]), "-O1", "-static", "-o", root / "bin/crossing", source], check=True, timeout=60)
    where = 'kprobe:__set_task_comm /str(arg1) == "first"/ { printf("AT %#llx\\n", arg0 + offsetof(struct task_struct, comm)); }'
    found = re.search(r"AT (\w+)", guest("crossing", script=where).out)
    assert found is not None
    done = guest("crossing", script=f"watchpoint:{found[1]}:1:w {{ @[comm] = count(); }}")
    assert re.findall(r"@\[(.*)\]", done.out) == ["crossing", "first", "second"]
