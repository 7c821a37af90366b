"""Kprobes in a booted kernel: breakpoints in its own text, with the results of hooks and the contracts of lib/test_kprobes.c."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyprobe
from pyprobe import Kprobe, KprobeError, Kretprobe, regs_get_kernel_argument, regs_return_value
from pyprobe.runtime.machine.breakpoints import KPROBES_BRK_IMM, breakpoint_code
from pyprobe.runtime.system.kernels.store import Kernel
from pyprobe.runtime.system.metadata.facts import Facts
from tests.runtime.system.conftest import with_second_instructions

FAULTING = {"x86_64": ("clear_user_original", 16), "arm64": ("__arch_clear_user", 16)}
"""A store to a program's memory, which faults where nothing was yet, and its offset in that function of Debian's 6.1 kernels."""

SCRIPT = """
kprobe:vfs_read { @[comm, arg2] = count(); @stack[kstack(6)] = count(); }
kretprobe:vfs_read { @bytes[comm] = sum(retval); @from[func] = count(); }
kretprobe:ksys_read { @back[kstack(4)] = count(); }
kprobe:do_sys_openat2 { @open[str(arg1)] = count(); }
kprobe:vfs_read+SECOND, kprobe:vfs_write+SECOND { @inside[probe] = count(); }
kretprobe:do_sys_openat2, kretprobe:kernel_clone, kretprobe:do_execveat_common* { @ret[probe] = count(); }
kprobe:FAULTING { @faults = count(); }
kprobe:do_exit { @exit[comm] = sum(arg0); }
"""


def test_results_are_those_of_hooks(kernel: Kernel, guest: Callable[..., Any]) -> None:
    script = with_second_instructions(kernel, SCRIPT).replace("FAULTING", "+".join(map(str, FAULTING[kernel.arch])))
    command = "sh -c 'cat /etc/passwd | wc -l; dd if=/dev/zero bs=64k count=1 2>/dev/null | md5sum; exit 3'"
    hook, trap = (guest(command, "--attach", how, "--stats", script=script) for how in ("hook", "breakpoint"))
    assert (trap.out, trap.status) == (hook.out, hook.status)
    assert int(re.search(r"@faults: (\d+)", hook.out)[1]) > 8000  # type: ignore[index]  # it is there
    shown = [re.sub(r" {2,}", "|", line).split("|") for line in trap.err.splitlines() if line.startswith("k")]
    assert all(row[3].startswith("breakpoint") and row[2] == "0" and row[4] for row in shown) and len(shown) == 11
    assert any(row[0] == "kretprobe:vfs_read" and int(row[1]) > 0 for row in shown)


def test_contracts(kernel: Kernel, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Registering, several at one place, disabling, post handlers, hits within a handler, returns and nested ones, stacks, faults."""
    seen: list[tuple[Any, ...]] = []
    command = ["sh", "-c", "true | cat /etc/passwd | wc -l; sleep 0.3; true; true"]
    with pyprobe.Machine(command, kernel=kernel.name, root=str(root)) as machine:
        read, text = machine.machine.read, machine.kprobes.text
        place = text.lookup("kernel_clone")
        before = read(place, 8)
        advance = 1 if kernel.arch == "x86_64" else 0

        first = Kprobe(
            symbol_name="kernel_clone",
            pre_handler=lambda p, regs: seen.append(("pre", p.addr, regs.pointer)),
            post_handler=lambda p, regs, flags: seen.append(("post", flags, regs.pointer > p.addr)),
        )
        second = Kprobe(addr=place, pre_handler=lambda p, regs: seen.append(("second",)))
        pyprobe.register_kprobes([first, second])
        assert read(place, 8) != before and read(place, 8).startswith(breakpoint_code(kernel.arch, KPROBES_BRK_IMM))
        off = Kprobe(symbol_name="kernel_clone", pre_handler=lambda p, regs: seen.append(("off",)))
        pyprobe.register_kprobe(off)
        pyprobe.disable_kprobe(off)

        inner = Kprobe(symbol_name="vfs_read", pre_handler=lambda p, regs: seen.append(("inner",)))
        pyprobe.register_kprobe(inner)
        outer = Kprobe(symbol_name="ksys_read", pre_handler=lambda p, regs: machine.kprobes.table[inner.addr].hit())
        pyprobe.register_kprobe(outer)

        stacks: set[tuple[str, ...]] = set()

        def names(what: str) -> None:
            found = [machine.machine.functions.symbol(a) for a in machine.machine.functions.stack()[1:4]]
            stacks.add((what, *(name[0] if name else "" for name in found)))

        def returned(ri: pyprobe.KretprobeInstance, regs: pyprobe.PtRegs) -> None:
            names("back")
            seen.append(("returned", int.from_bytes(ri.data, "little"), regs_return_value(regs) <= 4096))

        inside = Kprobe(symbol_name="rw_verify_area", pre_handler=lambda p, regs: names("inside"))
        pyprobe.register_kprobe(inside)
        returns = Kretprobe(
            symbol_name="vfs_read",
            data_size=8,
            entry_handler=lambda ri, regs: ri.data.__setitem__(slice(8), regs_get_kernel_argument(regs, 2).to_bytes(8, "little")),
            handler=returned,
        )
        nested = Kretprobe(symbol_name="ksys_read", handler=lambda ri, regs: seen.append(("nested",)))
        pyprobe.register_kretprobes([returns, nested])
        few = Kretprobe(symbol_name="do_wait", maxactive=1, handler=lambda ri, regs: seen.append(("waited",)))
        never = Kretprobe(symbol_name="do_exit", maxactive=5)
        pyprobe.register_kretprobes([few, never])

        name, offset = FAULTING[kernel.arch]
        faults: list[int] = []
        fault = Kprobe(symbol_name=name, offset=offset, fault_handler=lambda p, regs, number: faults.append(number) or 0)
        pyprobe.register_kprobe(fault)

        refuse(kernel, text)
        assert machine.run() == 0
        assert inner.nmissed == seen.count(("inner",)) > 0
        clones = [s for s in seen if s[0] in ("pre", "post", "second", "off")]
        assert clones == [("pre", place, place + advance), ("second",), ("post", 0, True)] * (len(clones) // 3) and len(clones) >= 9
        assert [s for s in seen if s[0] in ("returned", "nested")][:2] == [("returned", seen_count(seen), True), ("nested",)]
        caller = "do_syscall_64" if kernel.arch == "x86_64" else "__arm64_sys_read"
        assert ("inside", "vfs_read", "ksys_read", caller) in stacks and any(s[:2] == ("back", caller) for s in stacks), stacks
        assert faults and set(faults) <= ({14} if kernel.arch == "x86_64" else {n for n in faults if n >> 26 == 0x25})
        assert ("waited",) in seen and few.nmissed == 0 and never.nmissed == 0
        pyprobe.unregister_kprobes([first, second, off])
        assert read(place, 8) == before
    assert capfd.readouterr().out.strip().isdecimal()


def seen_count(seen: list[tuple[Any, ...]]) -> int:
    """How much the first read that returned had asked for."""
    return next(int(s[1]) for s in seen if s[0] == "returned")


def refuse(kernel: Kernel, text: Any) -> None:
    """Errors are Linux's."""
    facts = text.description.facts
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"symbol_name": "no_such_function"}, errno.ENOENT),
        ({"symbol_name": "vfs_read", "addr": 1}, errno.EINVAL),
        ({"symbol_name": "vfs_read", "offset": 1}, errno.EILSEQ if kernel.arch == "x86_64" else errno.EINVAL),
        ({"symbol_name": next(iter(text.description.forbidden))}, errno.EINVAL),
        ({"addr": 0x1000}, errno.EINVAL),
        ({"addr": sorted(facts.patched)[50]}, errno.EINVAL),
        ({"addr": min(facts.patched & set(facts.symbols.functions.values()))}, errno.EINVAL),
        *(({"addr": sorted(found)[50]}, errno.EINVAL) for found in (facts.static_calls, facts.bugs) if found),
        *([({"symbol_name": "vfs_read", "offset": 4}, errno.EINVAL)] if kernel.arch == "arm64" else []),
    ]
    for arguments, number in wrong:
        with pytest.raises(KprobeError) as error:
            pyprobe.register_kprobe(Kprobe(**arguments))
        assert error.value.errno == number, arguments


def test_instructions_that_the_kernel_knows_by_their_address(kernel: Kernel, facts: Facts) -> None:
    """Static calls call or jump, BUG() is an undefined instruction; arm64 has no static calls, and its BUG() is a breakpoint."""
    if kernel.arch == "arm64":
        assert not facts.static_calls
        return
    calls = {facts.memory.read(address, 1) for address in facts.static_calls}
    assert len(facts.static_calls) > 1000 and calls <= {b"\xe8", b"\xe9"}
    assert len(facts.bugs) > 1000 and {facts.memory.read(address, 2) for address in facts.bugs} == {b"\x0f\x0b"}


def test_forbidden_functions(kernel: Kernel, pyprobe: Callable[..., Any]) -> None:
    lines = pyprobe("--kernel", kernel.name, "-l", "kprobes:blacklist").out.splitlines()
    assert len(lines) > 50 and all(re.fullmatch(r"0x[0-9a-f]{16}-0x[0-9a-f]{16}\t\S+", line) for line in lines)
    address, name = lines[-1].split("-")[0], lines[-1].split("\t")[1]
    done = pyprobe("--kernel", kernel.name, "--faithful", "-e", f"kprobe:{name} {{ }}")
    assert done.status == 1 and "Linux refuses" in done.err, done
    for probe in (f"kprobe:{name}", f"kprobe:{int(address, 16)}"):
        done = pyprobe("--kernel", kernel.name, "--unsafe", "--faithful", "-e", probe + " { }")
        assert done.status == 255 and "Linux refuses it" in done.err and "(EINVAL)" in done.err, done
        done = pyprobe("--kernel", kernel.name, "--unsafe", "--attach", "breakpoint", "-e", probe + " { }")
        assert done.status == 255 and "(EINVAL)" in done.err, done


def test_without_the_extension(guest: Callable[..., Any]) -> None:
    script = "kprobe:vfs_read { @[comm] = count(); } kretprobe:vfs_read { @r = sum(retval); } kprobe:ksys_read { @s[kstack(2)] = count(); }"
    command = ("sh -c 'cat /etc/passwd | wc -c'", "--attach", "breakpoint")
    native, plain = (guest(*command, script=script, env={"PYPROBE_NATIVE": how}) for how in ("1", "0"))
    assert plain.out == native.out and "@[wc]: 2" in plain.out, plain
