"""Names of addresses, also after the process that they belong to has ended or runs another program."""

from __future__ import annotations

import pytest

from pyprobe.runtime.machine.symbols import Image
from pyprobe.runtime.probes.world import MachineWorld
from pyprobe.runtime.symbolizer import Symbolizer
from pyprobe.runtime.user.machine import UserMachine


@pytest.fixture
def ended(compiled):
    """A shell that forked, executed a program and ended: (symbolizer, machine, program)."""
    program = compiled("calls.c", output="named")
    machine = UserMachine(native=False)
    symbolizer = Symbolizer(machine, MachineWorld().machine)
    machine.spawn([b"/bin/sh", b"-c", b"%b; true" % str(program).encode()], [b"PATH=/bin"], b"/", (b"", lambda _: None, lambda _: None))
    assert machine.run() == 0
    return symbolizer, machine, program


def test_names_outlive_processes(ended):
    symbolizer, _, program = ended
    image = Image.open(str(program))
    rec = image.function("rec")
    base = 0x555555554000
    found = symbolizer.user(1001, base + rec.address + 2)
    assert (found.name, found.offset, found.module) == ("rec", 2, str(program))
    assert symbolizer.build_id(1001, base + rec.address) == (image.build_id, image.elf.offset(rec.address))
    assert symbolizer.user(1000, base + rec.address) is None or symbolizer.user(1000, base + rec.address).module != str(program)


def test_what_has_no_name(ended):
    symbolizer, _, _ = ended
    assert symbolizer.user(1000, 16) is None
    assert symbolizer.user(4242, 0x555555555000) is None
    assert symbolizer.build_id(1000, 16) is None
    assert symbolizer.kernel(16) is None


def test_kernel_and_ids(ended):
    symbolizer, machine, _ = ended
    found = symbolizer.kernel(machine.functions.addresses["vfs_read"] + 3)
    assert (found.name, found.offset) == ("vfs_read", 3)
    assert symbolizer.username(0) == "root"
    assert symbolizer.username(4_000_000) is None
    assert symbolizer.cgroup(1) == "unified:/"


def test_a_program_that_the_guest_wrote(compiled):
    """Its image comes from the machine's own file, which the host does not have."""
    program = compiled("calls.c", output="original")
    machine = UserMachine(native=False)
    symbolizer = Symbolizer(machine, MachineWorld().machine)
    command = b"cp %b /tmp/pyprobe-test-copy; /tmp/pyprobe-test-copy; true" % str(program).encode()
    machine.spawn([b"/bin/sh", b"-c", command], [b"PATH=/bin"], b"/", (b"", lambda _: None, lambda _: None))
    assert machine.run() == 0
    found = symbolizer.user(1002, 0x555555554000 + Image.open(str(program)).function("leaf").address)
    assert (found.name, found.offset, found.module) == ("leaf", 0, "/tmp/pyprobe-test-copy")
