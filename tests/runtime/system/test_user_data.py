"""What newer kernels copy of the program's memory into the records of system calls, against the arguments that every kernel has of them."""

from __future__ import annotations

from pyprobe.runtime.system.metadata import userdata
from pyprobe.runtime.system.metadata.events import EventField, with_user_data
from pyprobe.runtime.system.metadata.facts import Facts

MEMORY = b"/etc/hosts\0" + b"x" * 100 + b"\0a\1b\0"


def read(address: int, size: int) -> bytes | None:
    return MEMORY[address : address + size] if 0 <= address <= len(MEMORY) - size else None


def read_string(address: int, limit: int) -> bytes | None:
    return MEMORY[address : address + limit].partition(b"\0")[0] if address < len(MEMORY) else None


def test_every_pointer_of_the_table_is_one(facts: Facts) -> None:
    """The kernel's own declarations of these calls have a pointer there; for one call Linux 7.2 takes the flags for it."""
    known = 0
    for name, data in userdata.table().items():
        event = facts.events.get(("syscalls", f"sys_enter_{name}"))
        if event is not None:
            known += 1
            arguments = [field for field in event.fields[1:] if field.type != userdata.FIELD]
            assert all("*" in arguments[at].type for at in data.pointers) is (name != "kexec_file_load"), name
            assert data.size is None or "*" not in arguments[data.size].type or name == "kexec_file_load", name
    assert known > 50


def test_fields_stand_behind_the_arguments(facts: Facts) -> None:
    """Names and offsets as the format files of Linux 7.2 show them."""
    event = with_user_data(facts.events["syscalls", "sys_enter_renameat2"])
    assert event.fields[-2:] == (
        EventField("__data_loc char[]", "__oldname_val", 56, 4, False),
        EventField("__data_loc char[]", "__newname_val", 60, 4, False),
    )
    for name in ("sys_exit_renameat2", "sys_enter_close"):
        assert with_user_data(facts.events["syscalls", name]) == facts.events["syscalls", name]


def test_texts_are_as_the_kernel_copies_them() -> None:
    names = userdata.UserData((1, 3), None)
    assert userdata.copied(names, [0, 0, 0, 11, 0, 0], read, read_string) == [b"/etc/hosts\0", b"x" * 63 + b"...\0"]
    assert userdata.copied(names, [0, 112, 0, 4096, 0, 0], read, read_string) == [b"a.b\0", b""]
    buffer = userdata.UserData((1,), 2)
    assert userdata.copied(buffer, [1, 112, 3, 0, 0, 0], read, read_string) == [b"a\1b"]
    assert userdata.copied(buffer, [1, 11, 90, 0, 0, 0], read, read_string) == [b"x" * 63]
    assert userdata.copied(buffer, [1, 4096, 5, 0, 0, 0], read, read_string) == [b""]


def test_the_end_of_a_record() -> None:
    """Where each text lies, from the beginning of the record, and its length."""
    end = userdata.packed(56, [b"abc\0", b"", b"de\0"])
    record = bytes(56) + end
    words = [int.from_bytes(end[at : at + 4], "little") for at in (0, 4, 8)]
    assert [record[word & 0xFFFF : (word & 0xFFFF) + (word >> 16)] for word in words] == [b"abc\0", b"", b"de\0"]
