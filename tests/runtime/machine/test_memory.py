"""Address spaces: mappings as mmap(2) and mprotect(2) describe them, copy-on-write, page caches, limits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyprobe.runtime.machine.memory import PAGE, AddressSpace, MemoryFault, OutOfMemory, PhysicalMemory, R, W, X

BASE = 0x10000000


@pytest.fixture
def memory() -> PhysicalMemory:
    return PhysicalMemory(16 << 20)


@pytest.fixture
def space(memory: PhysicalMemory) -> AddressSpace:
    return AddressSpace(memory)


def shape(space: AddressSpace) -> list[tuple[int, int, int]]:
    """Mappings in pages from BASE, with their protection."""
    return [((vma.start - BASE) // PAGE, (vma.end - BASE) // PAGE, vma.prot) for vma in space.vmas()]


def test_mappings_split_and_merge(space: AddressSpace) -> None:
    space.map(BASE, 10 * PAGE, R | W)
    space.protect(BASE + 3 * PAGE, 2 * PAGE, R)
    assert shape(space) == [(0, 3, R | W), (3, 5, R), (5, 10, R | W)]
    space.protect(BASE + 3 * PAGE, PAGE, R | W)
    assert shape(space) == [(0, 4, R | W), (4, 5, R), (5, 10, R | W)]
    space.protect(BASE, 10 * PAGE, R | W)
    assert shape(space) == [(0, 10, R | W)]
    space.unmap(BASE + 4 * PAGE, PAGE)
    assert shape(space) == [(0, 4, R | W), (5, 10, R | W)]
    space.map(BASE + 4 * PAGE, PAGE, R | W)
    assert shape(space) == [(0, 10, R | W)]
    space.map(BASE + 2 * PAGE, 4 * PAGE, 0)
    assert shape(space) == [(0, 2, R | W), (2, 6, 0), (6, 10, R | W)]
    space.unmap(BASE - PAGE, 100 * PAGE)
    assert shape(space) == []


def test_unmapping_forgets_the_content(space: AddressSpace, memory: PhysicalMemory) -> None:
    space.map(BASE, 2 * PAGE, R | W)
    space.write(BASE, b"x" * 2 * PAGE)
    used = memory.used
    space.unmap(BASE, PAGE)
    assert memory.used == used - PAGE
    space.map(BASE, PAGE, R | W)
    assert space.read(BASE, 4) == bytes(4)
    assert space.read(BASE + PAGE, 4) == b"xxxx"


def test_accesses_across_pages_and_faults(space: AddressSpace) -> None:
    space.map(BASE, 2 * PAGE, R | W)
    data = bytes(range(200))
    space.write(BASE + PAGE - 100, data)
    assert space.read(BASE + PAGE - 100, 200) == data
    assert b"".join(space.views(BASE + PAGE - 100, 200, R)) == data
    with pytest.raises(MemoryFault) as fault:
        space.write(BASE + 2 * PAGE - 10, data)
    assert (fault.value.address, fault.value.access) == (BASE + 2 * PAGE, W)
    assert space.read(BASE + 2 * PAGE - 10, 10) == data[:10]
    with pytest.raises(MemoryFault):
        space.read(BASE - 1, 1)
    with pytest.raises(MemoryFault):
        space.read(-1, 1)
    space.put_u64(BASE + PAGE - 4, -2)
    assert space.u64(BASE + PAGE - 4) == (1 << 64) - 2
    space.put_u32(BASE, 7)
    assert (space.u8(BASE), space.u16(BASE), space.u32(BASE)) == (7, 7, 7)


def test_strings(space: AddressSpace) -> None:
    space.map(BASE, 2 * PAGE, R | W)
    space.write(BASE + PAGE - 3, b"hello\0")
    assert space.cstring(BASE + PAGE - 3) == b"hello"
    assert space.cstring(BASE + PAGE - 3, 4) == b"hell"
    space.write(BASE + 2 * PAGE - 2, b"ab")
    with pytest.raises(MemoryFault):
        space.cstring(BASE + 2 * PAGE - 2)


def test_protection(space: AddressSpace) -> None:
    space.map(BASE, PAGE, R | W)
    space.write(BASE, b"data")
    space.protect(BASE, PAGE, R)
    with pytest.raises(MemoryFault):
        space.write(BASE, b"x")
    space.protect(BASE, PAGE, 0)
    with pytest.raises(MemoryFault):
        space.read(BASE, 1)
    space.protect(BASE, PAGE, X)  # execute-only may be read, as on these processors
    assert space.read(BASE, 4) == b"data"


def test_fork_copies_on_write(space: AddressSpace, memory: PhysicalMemory) -> None:
    space.map(BASE, 4 * PAGE, R | W)
    space.write(BASE, b"parent")
    before = memory.used
    child = space.fork()
    grandchild = child.fork()
    assert memory.used == before
    child.write(BASE, b"child!")
    assert [s.read(BASE, 6) for s in (space, child, grandchild)] == [b"parent", b"child!", b"parent"]
    assert memory.used == before + PAGE
    grandchild.destroy()
    space.write(BASE, b"again!")
    assert memory.used == before + PAGE  # the last owner writes in place
    child.destroy()
    space.destroy()
    assert memory.used == 0


def test_fork_respects_protection(space: AddressSpace) -> None:
    space.map(BASE, PAGE, R | W)
    space.write(BASE, b"x")
    space.protect(BASE, PAGE, R)
    child = space.fork()
    with pytest.raises(MemoryFault):
        child.write(BASE, b"y")
    child.protect(BASE, PAGE, R | W)
    child.write(BASE, b"y")
    assert (space.read(BASE, 1), child.read(BASE, 1)) == (b"x", b"y")


def test_shared_memory_survives_fork(space: AddressSpace) -> None:
    space.map(BASE, PAGE, R | W, shared=True)
    child = space.fork()
    child.write(BASE, b"both")
    assert space.read(BASE, 4) == b"both"
    later = space.fork()
    space.write(BASE, b"all!")
    assert later.read(BASE, 4) == child.read(BASE, 4) == b"all!"


def test_private_file_mapping(space: AddressSpace, memory: PhysicalMemory, tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = os.urandom(3 * PAGE + 100)
    path.write_bytes(content)
    with path.open("rb") as file:
        backing = memory.file(file.fileno())
        assert memory.file(file.fileno()) is backing
    other = AddressSpace(memory)
    for s in (space, other):
        s.map(BASE, 5 * PAGE, R | W, backing=backing, offset=PAGE)
    assert space.read(BASE, 2 * PAGE + 100) == content[PAGE:]
    assert space.read(BASE + 2 * PAGE + 100, PAGE - 100) == bytes(PAGE - 100)
    with pytest.raises(MemoryFault):
        space.read(BASE + 3 * PAGE, 1)  # behind the end: SIGBUS
    space.write(BASE, b"private")
    assert other.read(BASE, 7) == content[PAGE : PAGE + 7]
    assert path.read_bytes() == content
    assert backing.read(PAGE - 2, 9) == content[PAGE - 2 : PAGE + 7]
    assert backing.read(3 * PAGE + 90, 100) == content[-10:]


def test_file_that_shrinks_meanwhile(space: AddressSpace, memory: PhysicalMemory, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 100 * PAGE)
    with path.open("rb") as file:
        backing = memory.file(file.fileno())
    space.map(BASE, 100 * PAGE, R, backing=backing)
    assert space.read(BASE, 4) == b"aaaa"
    os.truncate(path, 0)
    assert space.read(BASE, 4) == b"aaaa"
    assert space.read(BASE + 90 * PAGE, 4) == bytes(4)


def test_backing_writes_and_resizes(space: AddressSpace, memory: PhysicalMemory) -> None:
    backing = memory.anonymous(0)
    backing.write(PAGE - 2, b"grown")
    assert backing.length == PAGE + 3
    space.map(BASE, 2 * PAGE, R | W, shared=True, backing=backing)
    assert space.read(BASE + PAGE - 2, 5) == b"grown"
    space.write(BASE + PAGE, b"X")
    assert backing.read(PAGE - 2, 10) == b"grXwn"
    backing.resize(PAGE - 1)
    backing.resize(2 * PAGE)
    assert backing.read(PAGE - 2, 5) == b"g\0\0\0\0"


def test_memory_comes_back_when_a_backing_goes(memory: PhysicalMemory) -> None:
    backing = memory.anonymous(4 * PAGE)
    backing.write(0, bytes(4 * PAGE))
    assert memory.used == 4 * PAGE
    del backing
    assert memory.used == 0


def test_limit(space: AddressSpace) -> None:
    space.map(BASE, 32 << 20, R | W)
    with pytest.raises(OutOfMemory):
        space.write(BASE, bytes(17 << 20))
    space.unmap(BASE, 32 << 20)
    space.map(BASE, PAGE, R | W)
    space.write(BASE, b"fine again")


def test_stack_grows_to_its_limit_and_keeps_its_distance(space: AddressSpace) -> None:
    top = 0x7FFF_0000_0000
    space.map(top - PAGE, PAGE, R | W, grows_down=True)
    space.write(top - 10 * PAGE, b"deep")
    vma = space.find(top - 10 * PAGE)
    assert vma is not None and vma.start == top - 10 * PAGE
    space.map(top - 1024 * PAGE, PAGE, R | W)
    with pytest.raises(MemoryFault):
        space.write(top - 1000 * PAGE, b"too near")
    space.write(top - 700 * PAGE, b"fine")
    space.unmap(top - 1024 * PAGE, PAGE)
    with pytest.raises(MemoryFault):
        space.write(top - (8 << 20) - 1, b"x")
    space.write(top - (8 << 20), b"x")


def test_free_area(space: AddressSpace) -> None:
    space.mmap_base = BASE + 100 * PAGE
    assert space.free_area(PAGE) == BASE + 99 * PAGE
    space.map(BASE + 99 * PAGE, PAGE, R)
    space.map(BASE + 90 * PAGE, 5 * PAGE, R)
    assert space.free_area(4 * PAGE) == BASE + 95 * PAGE
    assert space.free_area(5 * PAGE) == BASE + 85 * PAGE
    assert space.free_area(2 * PAGE, hint=BASE + 10 * PAGE + 5) == BASE + 10 * PAGE
    assert space.free_area(2 * PAGE, hint=BASE + 90 * PAGE) == BASE + 97 * PAGE
    assert space.free_area(1 << 46) == 0


def test_bad_mappings(space: AddressSpace) -> None:
    for start, length, offset in ((BASE + 1, PAGE, 0), (BASE, 0, 0), (BASE, PAGE, 5)):
        with pytest.raises(ValueError, match="mapping"):
            space.map(start, length, R, offset=offset)
