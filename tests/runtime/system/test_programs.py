"""Probes in programs on a booted kernel: the same program under the same script gives there what it gives on the user machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pyprobe.runtime.system.kernels.store import Kernel
from tests.conftest import ROOT
from tests.runtime.system.conftest import COMPILERS

LIBC = {
    "arm64": [Path("/usr/aarch64-linux-gnu/lib", name) for name in ("ld-linux-aarch64.so.1", "libc.so.6")],
    "x86_64": [Path("/lib64/ld-linux-x86-64.so.2"), Path("/lib/x86_64-linux-gnu/libc.so.6")],
}

CALLS = """
uprobe:/bin/calls:leaf,uprobe:/bin/calls:rec,uprobe:/bin/calls:even,uprobe:/bin/calls:odd,uprobe:/bin/calls:jumper,uprobe:/bin/calls:guarded
{ printf("%s %d %s %s %s\\n", func, arg0, comm, usym(reg("pc")), ustack(3)); }
uretprobe:/bin/calls:leaf,uretprobe:/bin/calls:rec,uretprobe:/bin/calls:even,uretprobe:/bin/calls:odd,uretprobe:/bin/calls:jumper,
uretprobe:/bin/calls:guarded { printf("%s = %d\\n", func, retval); }
"""


@pytest.fixture
def compiled(kernel: Kernel, root: Path, tool):  # type: ignore[no-untyped-def]  # a fixture that returns a function
    """`compiled("calls.c", "-static")` puts a program of tests/programs into the guest's root."""

    def build(source: str, *flags: str, to: str = "") -> Path:
        target = root / (to or f"bin/{Path(source).stem}")
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler, program = tool(COMPILERS[kernel.arch]), ROOT / "tests/programs" / source
        subprocess.run([compiler, "-O2", "-fno-omit-frame-pointer", "-o", target, program, *flags], check=True)
        return target

    return build


@pytest.fixture
def both(kernel: Kernel, root: Path, pyprobe):  # type: ignore[no-untyped-def]  # see above
    """`both("calls 3", script)` is what a run gives on the user machine and on the booted kernel: two Results."""

    def run(command: str, script: str, *options: str):  # type: ignore[no-untyped-def]  # see above
        common = ("-q", "--root", str(root), *options, "-e", script, "-c", command)
        return pyprobe(*common), pyprobe("--kernel", kernel.name, *common)

    return run


def test_calls_and_returns_of_a_static_program(compiled, both) -> None:  # type: ignore[no-untyped-def]  # see above
    compiled("calls.c", "-static")
    user, system = both("/bin/calls 3", CALLS)
    assert system.out == user.out and user.out.count("\n") > 100 and "rec = 6" in user.out, (user, system)
    assert "jumper =" not in user.out and not system.err


def test_a_library_in_every_program_that_maps_it(kernel: Kernel, root: Path, compiled, both) -> None:  # type: ignore[no-untyped-def]  # see above
    for file in LIBC[kernel.arch]:
        target = root / ("lib64" if file.name.startswith("ld-linux-x86-64") else "lib") / file.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(file, target)
    compiled("library.c", "-shared", "-fPIC", "-Wl,-soname,libours.so", to="lib/libours.so")
    compiled("library.c", "-DLIBRARY_USER", str(root / "lib/libours.so"), to="bin/user")
    script = """uprobe:/lib/libours.so:library_* { printf("%s %d %d %s\\n", func, arg0, arg1, comm); }
        uretprobe:/lib/libours.so:library_add { printf("%s = %d\\n", func, retval); }
        uprobe:libc:write { printf("write %d %s\\n", arg0, str(arg1, arg2)); }"""
    user, system = both("sh -c 'user; user'", script)
    assert system.out == user.out and user.out.count("library_twice") == 2 and "write 1 33 8" in user.out, (user, system)
    assert not system.err


def test_threads_signals_and_forks(compiled, both) -> None:  # type: ignore[no-untyped-def]  # see above
    compiled("threads.c", "-static", "-pthread")
    compiled("coroutines.c", "-static")
    script = """uprobe:/bin/threads:work { @in = count(); } uretprobe:/bin/threads:work { @out = count(); @[retval] = count(); }
        uprobe:/bin/coroutines:step { @step[arg0, arg1] = count(); } uretprobe:/bin/coroutines:step { @stepped[retval] = count(); }"""
    user, system = both("sh -c 'threads; coroutines; (threads)'", script)
    assert sorted(system.out.split("\n")) == sorted(user.out.split("\n"))  # which thread comes first is the scheduler's choice
    assert "@in: 646" in user.out and "@stepped[102]: 1" in user.out, (user, system)


def test_inside_functions_and_where_they_run_into_each_other(kernel: Kernel, compiled, both) -> None:  # type: ignore[no-untyped-def]  # see above
    compiled("fallthrough.c", "-static")
    second = {"arm64": 4, "x86_64": 1}[kernel.arch]  # instruction of main
    script = f"""uprobe:/bin/fallthrough:first {{ printf("%s %d\\n", func, arg0); }}
        uprobe:/bin/fallthrough:second {{ printf("%s %d\\n", func, arg0); }}
        uprobe:/bin/fallthrough:main+{second} {{ printf("main\\n"); }}"""
    user, system = both("sh -c 'fallthrough; fallthrough'", script)
    assert system.out == user.out and user.out.count("second") == 4 and user.out.count("main") == 2, (user, system)


def test_static_probes(compiled, both, kernel: Kernel) -> None:  # type: ignore[no-untyped-def]  # see above
    compiled("static.c", "-static")
    script = """usdt:/bin/static:app:args { printf("%d %s %d\\n", arg0, str(arg1), arg3); }
        usdt:/bin/static:app:twice { @[arg0] = count(); }"""
    user, system = both("/bin/static", script)
    assert not system.err and system.out == user.out and "2 text 200" in user.out and "@[1]: 2" in user.out, (user, system)


@pytest.mark.parametrize("linked", ["-static", "-static-pie"])
def test_static_probes_behind_a_semaphore(compiled, both, linked: str) -> None:  # type: ignore[no-untyped-def]  # see above
    compiled("static.c", linked)
    script = "usdt:/bin/static:app:guarded { @[comm] = count(); } usdt:/bin/static:app:args { @args = count(); }"
    user, system = both("sh -c 'static; static'", script)
    assert not system.err and system.out == user.out and "87 1\n87 1\n" in user.out and "@[static]: 4" in user.out, (user, system)


def test_stacks_of_programs_in_the_kernel(compiled, both) -> None:  # type: ignore[no-untyped-def]  # see above
    compiled("calls.c", "-static")
    _, system = both("/bin/calls 3", 'kprobe:ksys_write /comm == "calls"/ { printf("%s", ustack); }')
    assert "write+" in system.out.splitlines()[1], system
