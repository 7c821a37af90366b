"""Modules of a booted kernel: their functions, symbols, types and stacks, and probes that wait for one to be loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

from pyprobe.runtime.system.kernels.store import Kernel


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


def test_a_module_that_the_command_loads(kernel: Kernel, guest, root: Path) -> None:  # type: ignore[no-untyped-def]  # see above
    folder = root / "lib/modules" / kernel.release
    folder.mkdir(parents=True)
    order = kernel.load_order("virtio")
    for path in order:
        shutil.copy(path, folder)
    script = 'kprobe:virtio:virtio_init { printf("%s %s\\n", comm, func); } kretprobe:virtio:virtio_init { printf("= %d\\n", retval); }'
    insert = "; ".join(f"insmod /lib/modules/{kernel.release}/{path.name}" for path in order)
    remove = "; ".join(f"rmmod {path.stem}" for path in reversed(order))
    done = guest(f"sh -c '{insert}; {remove}; {insert}; grep ^virtio /proc/modules'", script=script)
    assert done.out.split("\n")[:4] == ["insmod virtio_init", "= 0"] * 2 and "virtio " in done.out, done


def test_from_the_first_instruction_on(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    done = guest("true", "--boot", script="kprobe:fuse:fuse_init { @fuse = count(); } kprobe:fuse:fuse_lookup { @lookups = count(); }")
    assert "@lookups:" in done.out and not done.err, done


def test_names_that_are_not_there(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    done = guest("true", script="kprobe:nosuch:fuse_lookup { }")
    assert "specified module nosuch in probe kprobe:nosuch:fuse_lookup is not loaded" in done.err and done.status
    done = guest("true", script="kprobe:fuse_lookupp { }")
    assert "Did you mean fuse_lookup" in done.err and done.status
