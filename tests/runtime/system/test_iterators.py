"""iter:task, iter:task_file and iter:task_vma on a booted kernel, against what the guest's /proc tells the same command of itself."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.conftest import Result

Guest = Callable[..., Result]


def rows(result: Result) -> list[list[str]]:
    """The lines that a script printed with `ROW`, as words."""
    assert result.status == 0, result.err
    return [line.split()[1:] for line in result.out.splitlines() if line.startswith("ROW ")]


def merged(mappings: list[list[str]]) -> list[tuple[int, int, int, str]]:
    """Start, end, offset and file; in one piece what a program has since given parts of another protection."""
    found: list[tuple[int, int, int, str]] = []
    for span, offset, path in mappings:
        start, end = (int(address, 16) for address in span.split("-"))
        if found and found[-1][1] == start and found[-1][3] == path and found[-1][2] + start - found[-1][0] == int(offset, 16):
            found[-1] = (found[-1][0], end, *found[-1][2:])
        else:
            found.append((start, end, int(offset, 16), path))
    return found


def test_tasks_are_those_of_proc(guest: Guest) -> None:
    """All of the kernel's threads and the command, by number, each once; not our init, and nobody who works for it."""
    command = 'sh -c "for p in /proc/[0-9]*; do read name < $p/comm; echo ROW ${p#/proc/} $name; done"'
    script = """iter:task { printf("ROW %d %s %d\\n", ctx.task.pid, ctx.task.comm, ctx.meta.seq_num); @ = count(); }
        end { print((pid, comm)); }"""
    iterated = guest(command, script=script)
    ours = rows(iterated)
    theirs = {int(number): name for number, name in rows(guest(command)) if number != "1"}
    assert [int(number) for *_, number in ours] == list(range(len(ours)))
    tasks = [(int(row[0]), " ".join(row[1:-1])) for row in ours]
    assert [tid for tid, _ in tasks] == sorted({tid for tid, _ in tasks})
    assert [tid for tid, _ in tasks] == sorted(theirs)
    assert all(theirs[tid].startswith(name) for tid, name in tasks)  # /proc knows more of what workers do
    assert tasks[-1][1] == "sh"
    assert f"@: {len(ours)}" in iterated.out
    assert "(999, pyprobe)" in iterated.out


def test_files_are_those_of_proc(guest: Guest) -> None:
    command = "ls -l /proc/self/fd"
    script = 'iter:task_file { printf("ROW %s %d %s\\n", ctx.task.comm, ctx.fd, path(ctx.file.f_path)); }'
    ours = rows(guest(command, script=script))
    links = dict(re.findall(r" (\d+) -> (\S+)", guest(command).out))
    assert [(comm, fd) for comm, fd, _ in ours] == [("ls", "0"), ("ls", "1"), ("ls", "2")]
    assert {fd: path for _, fd, path in ours}.items() <= links.items()


def test_mappings_are_those_of_proc(guest: Guest) -> None:
    command = "cat /proc/self/maps"
    script = """iter:task_vma { printf("ROW %s %08lx-%08lx %08lx %s\\n", ctx.task.comm, ctx.vma.vm_start, ctx.vma.vm_end,
        ctx.vma.vm_file != 0 ? ctx.vma.vm_pgoff * 4096 : 0, path(ctx.vma.vm_file.f_path)); }"""
    ours = rows(guest(command, script=script))
    maps = [line.split() for line in guest(command).out.splitlines() if re.match("[0-9a-f]+-", line)]
    theirs = [[span, offset, *path] for span, _, offset, _, inode, *path in maps if inode != "0"]
    assert {row[0] for row in ours} == {"cat"}
    assert merged([row[1:] for row in ours if len(row) == 4]) == merged(theirs) != []
    assert len(ours) >= 4
    assert [row[1] for row in ours] == sorted((row[1] for row in ours), key=lambda span: int(span.partition("-")[0], 16))


def test_a_path_without_a_place(guest: Guest) -> None:
    """What is deleted says so, and what lies on a mount is told from the root of the one who asks."""
    command = 'sh -c "exec 3>/tmp/gone; rm /tmp/gone; echo x >&3; read a < /proc/uptime; cat < /dev/null; echo x | cat > /dev/shm/shared"'
    script = 'fentry:filp_close /comm != "kworker"/ { printf("ROW %s\\n", path(args.filp.f_path)); }'
    found = [" ".join(words) for words in rows(guest(command, script=script))]
    assert {"/tmp/gone (deleted)", "/proc/uptime", "/dev/null", "/dev/shm/shared"} <= set(found)
    assert any(re.fullmatch(r"pipe:\[\d+\]", path) for path in found)


def test_no_such_command(guest: Guest) -> None:
    result = guest("/no/such/program", script="iter:task { }")
    assert result.status == 1
    assert result.err.startswith("ERROR: Failed to start /no/such/program: /no/such/program: no such file")


def test_kinds(guest: Guest) -> None:
    unknown, other = guest("ls", script="iter:nonsense { }"), guest("ls", script="iter:bpf_prog { }")
    assert unknown.err.splitlines()[0] == "stdin:1:1-14: ERROR: iter nonsense not available for your kernel version."
    assert other.err.splitlines()[0] == "stdin:1:1-14: ERROR: No matches for iter bpf_prog."
