"""Uprobes in a booted kernel: with breakpoints, which are that kernel's own, the results are those of hooks."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyprobe
from pyprobe import KprobeError, PtRegs, Uprobe, regs_get_kernel_argument, regs_return_value
from pyprobe.runtime.machine.breakpoints import breakpoint_code
from pyprobe.runtime.system.kernels.store import Kernel
from tests.runtime.system.conftest import COMPILERS

SOURCE = r"""
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline)) int work(int a, int b) { __asm__ volatile(""); return a * b + 1; }
__attribute__((noinline)) int outer(int n) { int r = work(n, 3); __asm__ volatile(""); return r + work(n, 4); }
static unsigned char *volatile text = (unsigned char *)work;
int main(void)
{
	int sum = 0;
	for (int i = 0; i < 3; i++)
		sum += outer(i);
	if (!fork())
		_exit(outer(9));
	wait(0);
	printf("%d %02x%02x%02x%02x\n", sum, text[0], text[1], text[2], text[3]);
	return 0;
}
"""
SCRIPT = """
uprobe:/bin/calls:work { @a[arg0, arg1] = count(); @s[ustack(4)] = count(); @k[kstack(3)] = count();
  @at[reg("PC") == uaddr("work")] = count(); }
uretprobe:/bin/calls:work { @ret[retval, func] = count(); @back[ustack(3)] = count(); }
uprobe:/bin/calls:work+SECOND { @second[arg1, ustack(3)] = count(); }
uretprobe:/bin/calls:outer { @sum[comm] = sum(retval); }
kprobe:vfs_write { @from[ustack(6)] = count(); }
kprobe:kern_path { @paths[comm] = count(); }
"""


@pytest.fixture
def calls(kernel: Kernel, root: Path, tmp_path: Path, tool: Callable[[str], str]) -> Path:
    """The program in the guest's /bin."""
    source = tmp_path / "calls.c"
    source.write_text(SOURCE)
    program = root / "bin/calls"
    options = ("-g", "-O1", "-fno-omit-frame-pointer", "-static")
    subprocess.run([tool(COMPILERS[kernel.arch]), *options, "-o", str(program), str(source)], check=True, timeout=60)
    return program


def test_results_are_those_of_hooks(kernel: Kernel, calls: Path, guest: Callable[..., Any]) -> None:
    pc, second = ("ip", "3") if kernel.arch == "x86_64" else ("pc", "4")
    script = SCRIPT.replace("PC", pc).replace("SECOND", second)
    hook, trap = (guest("calls", "--attach", how, "--stats", script=script) for how in ("hook", "breakpoint"))
    found, seen = (done.out.splitlines() for done in (hook, trap))
    assert [line for line in seen if not line.startswith("27 ")] == [line for line in found if not line.startswith("27 ")]
    own = next(line for line in found if line.startswith("27 ")).split()[1]
    changed = next(line for line in seen if line.startswith("27 ")).split()[1]
    assert own != changed and bytes.fromhex(changed).startswith(breakpoint_code(kernel.arch))  # as a program can see
    rows = [line for line in trap.err.splitlines() if line.startswith("u")]
    assert len(rows) == 4 and all("breakpoint at /bin/calls+" in row for row in rows)


def test_from_python(kernel: Kernel, root: Path, calls: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[Any, ...]] = []

    def changed(u: Uprobe, regs: PtRegs) -> None:
        seen.append(("outer", regs_get_kernel_argument(regs, 0)))
        setattr(regs, "di" if regs.arch == "x86_64" else "r0", 5)

    with pyprobe.Machine(["calls"], kernel=kernel.name, root=str(root), environ={"PATH": "/bin"}) as machine:
        path = "/bin/calls"
        work = Uprobe(
            path,
            symbol_name="work",
            handler=lambda u, regs: seen.append(("work", regs_get_kernel_argument(regs, 0))),
            ret_handler=lambda u, func, regs: seen.append(("ret", func == address, regs_return_value(regs))),
        )
        late = Uprobe(path, symbol_name="main", handler=print)
        second = Uprobe(path, symbol_name="work", handler=lambda u, regs: seen.append(("second",)))
        gone = Uprobe(path, symbol_name="outer", handler=lambda u, regs: seen.append(("gone",)))
        pyprobe.register_uprobes([work, second, gone, Uprobe(path, symbol_name="outer", handler=changed)])
        pyprobe.unregister_uprobe(gone)
        address = machine.uprobes._open(path).image.function("work").address  # type: ignore[union-attr]  # it is there
        for wrong, number in (
            (Uprobe(path, symbol_name="work"), errno.EINVAL),
            (Uprobe(path, symbol_name="nothing", handler=print), errno.ENOENT),
            (Uprobe("/nothing", offset=4, handler=print), errno.ENOENT),
            (Uprobe(path, offset=1 << 30, handler=print), errno.EINVAL),
        ):
            with pytest.raises(KprobeError) as error:
                pyprobe.register_uprobe(wrong)
            assert error.value.errno == number
        assert machine.run() == 0
        with pytest.raises(KprobeError) as error:
            pyprobe.register_uprobe(late)
        assert error.value.errno == errno.EBUSY
    one = [("work", 5), ("second",), ("ret", True, 16), ("work", 5), ("second",), ("ret", True, 21)]
    assert seen == [event for n in (0, 1, 2, 9) for event in (("outer", n), *one)]
    assert work.nhits == 8 and capfd.readouterr().out.startswith("111 ")
