"""Modules of a booted kernel: their functions, symbols, types and stacks, and probes that wait for one to be loaded."""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

import pytest

import pyprobe
from pyprobe.runtime.machine.disassembly import instructions
from pyprobe.runtime.machine.targets import TargetResolver
from pyprobe.runtime.system.description import SystemDescription
from pyprobe.runtime.system.kernels.store import Kernel
from pyprobe.runtime.system.metadata.modulefile import ModuleFile


def test_functions_types_and_stacks_of_what_init_has_loaded(guest) -> None:  # type: ignore[no-untyped-def]  # a fixture that returns a function
    script = """kprobe:fuse:fuse_lookup_name { @name[func] = count(); printf("%s", kstack(4)); }
        kretprobe:ovl_lookup { @back[func] = count(); } kprobe:fuse:fuse_lookup_nam* { @wild[probe] = count(); }
        fentry:fuse:fuse_open_common /!args.isdir/ { @type = str(args.inode->i_sb->s_type->name); }
        fexit:overlay:ovl_open { @opened[func, str(args.file->f_path.dentry->d_name.name), retval] = count(); }"""
    done = guest("cat /etc/passwd", script=script)
    assert "@name[fuse_lookup_name]:" in done.out and "@back[ovl_lookup]:" in done.out and "@type: fuse" in done.out, done
    assert "@wild[kprobe:fuse:fuse_lookup_name]:" in done.out and "@opened[ovl_open, passwd, 0]: 1" in done.out, done
    frames = [line.split("+")[0].strip() for line in done.out.splitlines() if line.startswith("        ")]
    assert frames[:3] == ["fuse_lookup_name", "fuse_lookup", "__lookup_slow"], frames


@pytest.mark.parametrize("how", ["hook", "breakpoint"])
def test_a_module_that_the_command_loads(kernel: Kernel, guest, root: Path, how: str) -> None:  # type: ignore[no-untyped-def]  # see above
    folder = root / "lib/modules" / kernel.release
    folder.mkdir(parents=True)
    order = kernel.load_order("virtio")
    for path in order:
        shutil.copy(path, folder)
    script = 'kprobe:virtio:virtio_init { printf("%s %s\\n", comm, func); } kretprobe:virtio:virtio_init { printf("= %d\\n", retval); }'
    insert = "; ".join(f"insmod /lib/modules/{kernel.release}/{path.name}" for path in order)
    remove = "; ".join(f"rmmod {path.stem}" for path in reversed(order))
    done = guest(f"sh -c '{insert}; {remove}; {insert}; grep ^virtio /proc/modules'", "--attach", how, script=script)
    assert done.out.split("\n")[:4] == ["insmod virtio_init", "= 0"] * 2 and "virtio " in done.out, done


def test_breakpoints_give_what_hooks_do(kernel: Kernel, guest) -> None:  # type: ignore[no-untyped-def]  # see above
    script = """kprobe:fuse:fuse_file_read_iter { @[comm, kstack(3)] = count(); } kprobe:ovl_open+SECOND { @second = count(); }
        kretprobe:fuse:fuse_file_read_iter { @back[comm, func, kstack(2)] = count(); } kretprobe:ovl_read_iter { @sum = sum(retval); }"""
    script = script.replace("SECOND", "5" if kernel.arch == "x86_64" else "8")
    hook, trap = (guest("sh -c 'cat /etc/passwd | wc -l'", "--attach", how, "--stats", script=script) for how in ("hook", "breakpoint"))
    assert hook.out == trap.out and "@back[cat, fuse_file_read_iter" in hook.out
    assert "breakpoint at fuse:fuse_file_read_iter+0x0" in trap.err and "breakpoint at overlay:ovl_open+0x" in trap.err, trap.err


def test_kprobes_and_events_in_modules(kernel: Kernel, root: Path) -> None:
    seen: list[int] = []
    with pyprobe.Machine(["cat", "/etc/passwd"], kernel=kernel.name, root=str(root), environ={"PATH": "/bin"}) as machine:
        pyprobe.register_kprobe(pyprobe.Kprobe(symbol_name="fuse:fuse_file_read_iter", pre_handler=lambda p, regs: seen.append(p.addr)))
        machine.kprobe_events.write("p:into fuse:fuse_file_read_iter\nr:back fuse:fuse_file_read_iter $retval:s64")
        assert "p:kprobes/into fuse:fuse_file_read_iter\n" in machine.kprobe_events.read()
        for name in ("nosuch:fuse_open", "fuse:nosuch"):
            with pytest.raises(pyprobe.KprobeError) as error:
                pyprobe.register_kprobe(pyprobe.Kprobe(symbol_name=name))
            assert error.value.errno == errno.ENOENT
        assert machine.run() == 0
    into = [line for line in machine.trace if " into: " in line]
    assert seen and len(into) == len(seen)
    assert all(re.search(r"into: \(fuse_file_read_iter\+0x0/0x[0-9a-f]+ \[fuse\]\)$", line) for line in into), into
    assert any(re.search(r"back: \(\S+ <- fuse_file_read_iter \[fuse\]\) arg1=\d+$", line) for line in machine.trace), machine.trace


def test_from_the_first_instruction_on(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    done = guest("true", "--boot", script="kprobe:fuse:fuse_init { @fuse = count(); } kprobe:fuse:fuse_lookup { @lookups = count(); }")
    assert "@lookups:" in done.out and not done.err, done


def test_names_that_are_not_there(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    done = guest("true", script="kprobe:nosuch:fuse_lookup { }")
    assert "specified module nosuch in probe kprobe:nosuch:fuse_lookup is not loaded" in done.err and done.status
    done = guest("true", script="kprobe:fuse_lookupp { }")
    assert "Did you mean fuse_lookup" in done.err and done.status


def test_places_in_modules_that_linux_refuses(kernel: Kernel, guest) -> None:  # type: ignore[no-untyped-def]  # see above
    """Static branches, static calls (both on x86-64 alone) and WARN() in a module: the kernel's own kprobe_events refuse the same."""
    known = SystemDescription(kernel, TargetResolver(kernel.arch))
    file = known.module_file("fuse")
    assert file is not None
    places, refused = [], set()
    for name in sorted(file.traceable):
        if name in known.functions or ".cold" in name:
            continue  # the kernel's own comes first; what is cold may begin within another function
        at = [instruction.address for instruction in instructions(kernel.arch, file.code(name), 0)]
        told = {offset: known.refused_in(file, name, offset) for offset in at}
        for offset in [o for o, reason in told.items() if reason and reason.split(" is ")[1] not in refused][:3]:
            refused.add(told[offset].split(" is ")[1])
            places += [(name, o, told[o]) for o in at[max(at.index(offset) - 1, 0) : at.index(offset) + 2] if o]
    assert len(refused) == (3 if kernel.arch == "x86_64" else 1) and not all(reason for *_, reason in places), places
    ask = "cd /sys/kernel/tracing; for place in {}; do (echo p:p fuse:$place >kprobe_events) 2>/dev/null && echo || echo refused; done"
    words = " ".join(f"{name}+{offset}" for name, offset, _ in places)
    done = guest(f"sh -c 'mount -t tracefs t /sys/kernel/tracing; {ask.format(words)}'")
    assert done.out.split("\n")[: len(places)] == ["refused" if reason else "" for *_, reason in places], (done, places)
    name, offset, reason = next(place for place in places if place[2])
    point = f"kprobe:fuse:{name}+{offset} {{ }}"
    for options in (["--faithful"], ["--attach", "breakpoint"]):
        done = guest("rmmod fuse", *options, script=point)
        assert reason in done.err and done.status, done


def test_functions_of_modules_that_linux_refuses(build) -> None:  # type: ignore[no-untyped-def]  # see above
    """Modules have lists and sections of such functions as the kernel itself has (NOKPROBE_SYMBOL, __kprobes, noinstr)."""
    path = build("nokprobe_module.c", "-c", "-O1")
    file = ModuleFile("nokprobe_module", path.read_bytes())
    assert file.forbidden == {"marked", "in_section", "uninstrumented"}
    assert file.refused("marked", 4, 0) == "marked is on the list of functions that no kprobe may enter" and not file.refused("plain", 4, 0)


def test_a_function_of_another_module_is_traceable(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    done = guest("true", script="kprobe:fuse:vfs_read { } kprobe:vmlinux:fuse_open { } kprobe:fuse:nosuch { }")
    assert "No matches for kprobe fuse:vfs_read." in done.err and "No matches for kprobe vmlinux:fuse_open." in done.err and done.status
    assert re.findall(r"(\S+) is not traceable", done.err) == ["nosuch"], done
    done = guest("true", "--unsafe", script="kprobe:fuse:vfs_read { }")
    assert "ERROR: module fuse has no function vfs_read\n" in done.err and done.status, done


def test_a_module_is_probed_as_linux_lets_one(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    done = guest("cat /etc/passwd", "--faithful", script="kprobe:fuse:fuse_lookup { @ = count(); } kprobe:fuse:fuse_get_tree { }")
    assert done.status == 0 and "@: " in done.out, done
    done = guest("true", "--faithful", script="kprobe:fuse:cleanup_module { }")
    assert "HINT: Linux refuses this function: it is marked notrace, or gone after boot." in done.err and done.status, done
