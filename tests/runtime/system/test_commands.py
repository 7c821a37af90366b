"""Commands in a booted kernel: their root, streams, surroundings and ends. On every kernel that has a name of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pyprobe.runtime.system.kernels.store import Kernel
from tests.conftest import ROOT
from tests.runtime.system.conftest import COMPILERS


def test_the_root_is_what_the_directory_holds(guest, root: Path) -> None:  # type: ignore[no-untyped-def]  # a fixture that returns a function
    (root / "etc/many").mkdir()
    for i in range(300):
        (root / f"etc/many/{i:03}").write_bytes(bytes([i % 256]) * i)
    (root / "etc/large").write_bytes(os.urandom(1 << 16) * 50)
    (root / "etc/link").symlink_to("many/007")
    shell = "ls etc/many | md5sum; cat etc/many/* etc/large | md5sum; readlink etc/link; wc -c < etc/link; find bin etc | wc -l"
    done = guest(f"sh -c '{shell}'")
    expected = subprocess.run(shell, shell=True, cwd=root, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout
    assert done.out.startswith(expected), done


def test_what_is_written_stays_in_the_machine(guest, root: Path) -> None:  # type: ignore[no-untyped-def]  # see above
    before = sorted((p.relative_to(root), p.lstat().st_mtime_ns) for p in root.rglob("*"))
    done = guest(
        "sh -c 'echo new > /etc/passwd; cat /etc/passwd; rm /bin/ls; ls /bin 2>&1 | head -1; mv /etc /else; mkdir /x; echo > /tmp/y;"
        " mount -o remount,rw /; echo z > /bin/z; cat /bin/z; cat /proc/1/root/bin/z'"
    )
    assert done.out.splitlines()[:1] == ["new"] and "z\nz\n" in done.out, done
    assert sorted((p.relative_to(root), p.lstat().st_mtime_ns) for p in root.rglob("*")) == before


def test_no_link_leads_out(guest, root: Path) -> None:  # type: ignore[no-untyped-def]  # see above
    (root.parent / "secret").write_text("not for the guest")
    (root / "up").symlink_to("..")
    (root / "absolute").symlink_to(root.parent)
    (root / "file").symlink_to("../secret")
    done = guest(f"sh -c 'cat /up/secret /absolute/secret /file /../secret {root.parent}/secret /../../../../{root.parent}/secret; ls /up'")
    assert "not for the guest" not in done.out + done.err
    assert "secret" not in done.out and "bin" in done.out


def test_streams_in_their_order(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    done = guest("sh -c 'read x; echo got $x; cat; echo end >&2'", stdin=b"one\ntwo\nthree")
    assert (done.out.strip(), done.err.strip()) == ("got one\ntwo\nthree", "end")
    done = guest("sh -c '(for i in 1 2 3; do echo out; echo err >&2; done) 2>&1'")
    assert done.out.split() == ["out", "err"] * 3


def test_output_and_events_come_in_their_order(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    script = 'kprobe:kernel_clone { printf("clone by %s\\n", comm); }'
    done = guest("sh -c 'echo a; true | true; echo b; true | true; echo c'", script=script)
    assert done.out.split("\n")[:7] == ["a", *["clone by sh"] * 2, "b", *["clone by sh"] * 2, "c"]


def test_input_is_taken_as_it_is_read(kernel: Kernel, root: Path) -> None:
    command = f"python3 -m pyprobe -q --kernel {kernel.name} --root {root} -e 'begin {{ }}' -c 'sh -c \"read x; echo got $x\"'; cat"
    python = Path(os.sys.executable).parent  # type: ignore[attr-defined]  # the module behind os
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{python}:{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, input=b"one\ntwo\n", capture_output=True, env=environ, cwd=ROOT, timeout=120)
    assert done.stdout.split() == [b"got", b"one", b"two"]


def test_much_output_and_input(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    data = bytes(range(256)) * 4000
    done = guest("sh -c 'md5sum; seq 1 30000'", stdin=data)
    import hashlib

    assert done.out.split()[0] == hashlib.md5(data).hexdigest()
    assert done.out.split()[2:] == [str(i) for i in range(1, 30001)]


def test_environment_directory_and_name(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    command = "sh -c 'echo $WORD; pwd; uname -n; id -u; ls -l /proc/self/fd | wc -l; ping -c 1 127.0.0.1 | grep -c ttl'"
    done = guest(command, env={"WORD": "a b"})
    assert done.out.split("\n")[:6] == ["a b", "/", "pyprobe", "0", "5", "1"], done


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("nosuch", "Failed to start nosuch: nosuch: no such file"),
        ("/bin", "Failed to start /bin: /bin: permission denied"),
        ("/etc/passwd", "Failed to start /etc/passwd: /etc/passwd: permission denied"),
        ("/etc/text", "Failed to start /etc/text: /etc/text: not a program this machine can run"),
        ("/etc/script", "Failed to start /etc/script: /etc/script: no such file, or its interpreter is missing"),
    ],
)
def test_commands_that_cannot_start(guest, root: Path, command: str, message: str) -> None:  # type: ignore[no-untyped-def]  # see above
    (root / "etc/text").write_text("neither program nor script\n")
    (root / "etc/script").write_text("#!/nosuch/interpreter\n")
    (root / "etc/text").chmod(0o755)
    (root / "etc/script").chmod(0o755)
    done = guest(command)
    assert done.status == 1 and message in done.err and len(done.err.strip().split("\n")) == 1, done


def test_a_program_for_another_processor_is_named(kernel: Kernel, guest, root: Path) -> None:  # type: ignore[no-untyped-def]  # see above
    other = {"arm64": "x86_64", "x86_64": "aarch64"}[kernel.arch]
    shutil.copy(ROOT / f"stdlib/workload/workload.{other}.bin", root / "bin/foreign")
    done = guest("/bin/foreign")
    assert done.status == 1 and other.replace("aarch64", "arm64") in done.err and kernel.arch in done.err, done


@pytest.mark.parametrize("kernel", ["debian-arm64"], indirect=True)
def test_a_file_of_the_host_that_the_kernels_own_root_lacks_is_named(kernel: Kernel, pyprobe, tmp_path: Path, tool) -> None:  # type: ignore[no-untyped-def]  # see above
    options = ("-q", "--kernel", kernel.name, "-e", "begin { }", "-c")
    for arch, why in (("x86_64", "is a program for x86_64, and kernel"), ("arm64", "is not in the kernel's own small root, ")):
        build(kernel, lambda _, compiler=COMPILERS[arch]: tool(compiler), "calls.c", tmp_path / arch)
        done = pyprobe(*options, str(tmp_path / arch))
        assert done.status == 1 and done.err.startswith(f"ERROR: {tmp_path / arch} {why}"), done


@pytest.mark.parametrize("kernel", ["debian-arm64"], indirect=True)
def test_a_panic_shows_the_console(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    done = guest("sh -c 'echo c > /proc/sysrq-trigger'", script="kprobe:vfs_write { @ = count(); }")
    assert done.status == 0 and "@: 1\n" in done.out
    assert done.err.startswith("WARNING: the run ended because the kernel panicked: sysrq triggered crash\n    ["), done
    assert "Kernel Offset" in done.err, done
    done = guest("reboot -f")
    assert done.err.startswith("WARNING: the run ended because the kernel was told to start anew\n    ["), done


@pytest.mark.parametrize("end", ["echo o > /proc/sysrq-trigger; sleep 9", "echo > /dev/null; halt -f"])
def test_a_power_off_is_no_trouble(guest, end: str) -> None:  # type: ignore[no-untyped-def]  # see above
    done = guest(f"sh -c '{end}'", script="kprobe:vfs_write { @ = count(); }")
    assert (done.status, done.err) == (0, "") and "@: 1\n" in done.out, done


@pytest.mark.parametrize("kernel", ["debian-arm64"], indirect=True)
def test_when_memory_runs_out_it_is_said(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    half = "dd if=/dev/zero of=/dev/shm/x bs=1M 2>/dev/null"  # as much as a tmpfs takes
    done = guest(f"sh -c '{half}; dd if=/dev/zero of=/dev/null bs=70M count=1'", "--memory", "128", script="begin { @still = 1; }")
    assert done.out.endswith("@still: 1\n"), done
    assert done.err == "WARNING: the guest ran out of memory, so that its kernel killed dd; --memory gives it more\n", done


def test_what_the_command_left_behind_does_not_hold_the_run(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    done = guest("sh -c '(sleep 1000; echo late) & echo now'")
    assert done.out.split() == ["now"]
    done = guest("sh -c 'kill -9 $$'")
    assert done.out.split() == [] and "Traceback" not in done.err


def test_our_own_tasks_are_not_seen(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    points = "kprobe:vfs_read,kprobe:vfs_write,kprobe:do_sys_openat2,kretprobe:vfs_write,kprobe:kernel_clone"
    script = points + " { @[comm, pid == 1] = count(); }"
    done = guest("sh -c 'cat /etc/passwd; echo x | cat'", script=script, stdin=b"unread")
    names = {line.split("[")[1].split(",")[0] for line in done.out.splitlines() if line.startswith("@[")}
    assert names == {"sh", "cat"} and ", 1]" not in done.out, done


def test_the_first_event_is_of_the_command(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    done = guest("true", script='kprobe:__*_sys_execve*,kprobe:vfs_* { printf("%s\\n", func); exit(); }')
    assert done.out.split()[0].endswith("_sys_execve"), done


def test_the_built_in_workload(kernel: Kernel, pyprobe) -> None:  # type: ignore[no-untyped-def]  # see above
    script = "kprobe:kernel_clone { @clones = count(); } kprobe:tcp_connect,kprobe:vfs_write { @[func, comm] = count(); }"
    done = pyprobe("-q", "--kernel", kernel.name, "-e", script)
    assert "@clones: 14" in done.out and "@[tcp_connect, client]:" in done.out and "@[vfs_write, producer]: 5" in done.out, done


def test_two_runs_are_equal(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    script = 'kprobe:vfs_read { printf("%d %s %d\\n", nsecs, comm, tid); }'
    command = "sh -c 'head -c 16 /dev/urandom | md5sum; date +%s%N; ls -lai / /etc; cat /proc/uptime; ls -i /bin | md5sum'"
    first, second = guest(command, script=script), guest(command, script=script)
    assert first.out == second.out and "Traceback" not in first.err and len(first.out) > 500
    assert guest(command, "--seed", "7", script=script).out.split("  -")[0] != first.out.split("  -")[0]


def test_the_same_output_from_the_first_instruction_on(guest) -> None:  # type: ignore[no-untyped-def]  # see above
    done = guest("echo done", "--boot", script="kprobe:start_kernel { @ = count(); } kprobe:vfs_write /pid == 1/ { @ours = count(); }")
    assert "done" in done.out and "@: 1" in done.out and "@ours" not in done.out, done


def build(kernel: Kernel, tool, source: str, to: Path) -> None:  # type: ignore[no-untyped-def]  # see above
    subprocess.run([tool(COMPILERS[kernel.arch]), "-O1", "-static", "-o", to, ROOT / "tests/programs" / source], check=True)


@pytest.mark.parametrize("native", ["1", "0"])
def test_code_written_through_another_address_is_executed_anew(kernel: Kernel, guest, root: Path, tool, native: str) -> None:  # type: ignore[no-untyped-def]  # see above
    build(kernel, tool, "aliases.c", root / "bin/aliases")
    assert guest("aliases", env={"PYPROBE_NATIVE": native}).out.strip() == "0 stale of 400"


def test_programs_in_recycled_pages_run_their_own_code(guest, root: Path) -> None:  # type: ignore[no-untyped-def]  # see above
    for i in range(6):  # the same bytes at other places of memory: a page of one file gets the frame of another page
        (root / f"{i}").mkdir()
        shutil.copy(root / "bin/busybox", root / f"{i}/busybox")
    (root / "etc/loop").write_text(
        "i=0; first=; bad=0; while [ $i -lt 50 ]; do echo 3 > /proc/sys/vm/drop_caches\n"
        "a=$(/0/busybox sort -r /etc/passwd; /1/busybox md5sum /1/busybox; /2/busybox seq 1 9; /3/busybox expr 6 \\* 7\n"
        "echo hi | /4/busybox sed s/h/j/; /5/busybox awk 'BEGIN { print 1024 * 1024 }') 2>&1\n"
        'if [ $i = 0 ]; then first=$a; echo "$a"; elif [ "$a" != "$first" ]; then bad=$((bad+1)); echo "$a"; fi\n'
        "i=$((i+1)); done; echo bad $bad\n"
    )
    done = guest("sh /etc/loop", timeout=300)
    assert done.out.strip().endswith("1048576\nbad 0") and "jb" not in done.out and "\nji\n" in done.out and "\n42\n" in done.out, done
