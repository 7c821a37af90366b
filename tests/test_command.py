"""The command as a user meets it: outputs, messages, exit statuses, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyprobe.running import split_command
from tests.conftest import ROOT, Result

Command = Callable[..., Result]
EMULATED = "and probes fire in an emulated machine"
NO_COMMAND = "ERROR: Failed to fork child: Path '{}' does not exist or is not executable ({})"
TOO_MANY = "ERROR: Can't attach to 2 probes because it exceeds the current limit of 1 probes."
NO_LIST = "Could not read functions from /nosuch. (No such file or directory)"
FORKS = "kprobe:kernel_clone { @[comm] = count(); }"


def test_the_first_one_liner(pyprobe: Command) -> None:
    done = pyprobe("-e", "kprobe:do_fork { @[comm] = count(); }")
    assert done.status == 0
    assert done.out == "\n\n@[thinker]: 2\n@[server]: 2\n@[session]: 10\n"
    assert "WARNING: 'do_fork' is called 'kernel_clone' in this kernel" in done.err
    assert done.err.endswith("Attached 1 probe\n")


def test_the_users_own_spelling(pyprobe: Command) -> None:
    assert pyprobe("-e", "kprobe:do_fork < @[comm] = count(); >").out == pyprobe("-e", "kprobe:do_fork { @[comm] = count(); }").out
    assert pyprobe("-e", "begin < @x = 5 > 1; if (1 < 2) { @++; } >").out == "\n\n@: 1\n@x: true\n"
    braces = pyprobe("--fmt", "-e", "begin < @x = 1; >")
    assert "{" in braces.out and "<" not in braces.out


def test_probe_shows_what_was_written_and_func_the_real_symbol(pyprobe: Command) -> None:
    done = pyprobe("-q", "-e", "kprobe:_do_fork { @[probe, func] = count(); }")
    assert done.out == "\n\n@[kprobe:_do_fork, kernel_clone]: 14\n"


def test_unknown_function_names_what_is_near_and_kernel(pyprobe: Command) -> None:
    done = pyprobe("-e", "kprobe:vfs_raed { }")
    assert done.status == 1 and done.out == ""
    assert done.err.splitlines()[:3] == ["stdin:1:1-16: ERROR: No matches for kprobe vfs_raed.", "kprobe:vfs_raed { }", "~" * 15]
    assert "vfs_read" in done.err.splitlines()[3] and "--kernel" in done.err


@pytest.mark.parametrize(
    ("words", "status", "first"),
    [
        (["-e", "begin { $x = y; }"], 1, "stdin:1:14-15: ERROR: Unknown identifier: 'y'"),
        (["-e", "begin { exit(300) }"], 44, "Attached 1 probe"),
        (["nosuch.pt"], 1, "ERROR: failed to open file 'nosuch.pt': No such file or directory"),
        (["-q"], 1, "ERROR: USAGE: filename or -e 'program' required."),
        (["-p", "1", "-e", "begin { }"], 1, "ERROR: Failed to attach to pid: process 1 runs on this host, " + EMULATED),
        (["-p", "a1", "-e", "begin { }"], 1, "ERROR: Failed to parse pid: invalid integer: a1"),
        (["-p", "1a", "-e", "begin { }"], 1, "ERROR: Failed to parse pid: invalid trailing bytes: 1a"),
        (["-p", "-1", "-e", "begin { }"], 1, "ERROR: Pid out of range: 18446744073709551615"),
        (["-p", "4194305", "-e", "begin { }"], 1, "ERROR: Pid out of range: 4194305"),
        (["-p", "0x400000", "-e", "begin { }"], 1, "ERROR: Failed to attach to pid: Unable to open pidfd (No such process)"),
        (["--dwarf-pid", "x", "-e", "begin { }"], 1, "ERROR: Failed to parse pid: invalid integer: x"),
        (["--traceable-functions", "/nosuch", "-e", "begin { }"], 1, f"ERROR: Failed to open kernel function info: {NO_LIST}"),
        (["-e", "config = { max_probes = 1 } begin { } end { }"], 1, TOO_MANY),
        (["--nosuch=1"], 1, "pyprobe: unrecognized option '--nosuch=1'"),
        (["--test", "--bench", "-e", "begin { }"], 1, "ERROR: USAGE: --bench conflicts with existing --mode"),
        (["--", "nosuch.pt"], 1, "ERROR: failed to open file 'nosuch.pt': No such file or directory"),
        (["--", "-e"], 1, "ERROR: failed to open file '-e': No such file or directory"),
        (["-e", FORKS, "-c", "nosuchcmd"], 1, NO_COMMAND.format("nosuchcmd", "No such file or directory")),
        (["-e", FORKS, "-c", "/etc/passwd"], 1, NO_COMMAND.format("/etc/passwd", "Permission denied")),
        (["-e", FORKS, "-c", "'unbalanced"], 1, "ERROR: -c: No closing quotation: 'unbalanced"),
        (["-e", FORKS, "-o", "/nosuch/dir/file"], 1, 'ERROR: Failed to open output file: "/nosuch/dir/file": No such file or directory'),
        (["-e", FORKS, "--probe-filter", "["], 255, "ERROR: Invalid --probe-filter regex '[': unterminated character set at position 0"),
    ],
)  # fmt: skip
def test_outcomes(pyprobe: Command, words: list[str], status: int, first: str) -> None:
    done = pyprobe(*words)
    assert (done.status, done.err.splitlines()[0]) == (status, first)
    assert "Traceback" not in done.err


def test_nothing_to_attach(pyprobe: Command) -> None:
    done = pyprobe("-e", " ")
    assert (done.status, done.out) == (1, "No probes to attach\n")
    done = pyprobe("-e", "")
    assert (done.status, done.err.splitlines()[0]) == (1, "ERROR: USAGE: filename or -e 'program' required.")


def test_mode_codegen_compiles_only(pyprobe: Command) -> None:
    done = pyprobe("--mode", "codegen", "-e", "begin { print(1) }")
    assert (done.status, done.out, done.err) == (0, "", "")
    done = pyprobe("--mode", "codegen", "-e", 'begin { print("é"); nosuch() }')
    assert (done.status, done.err.splitlines()[0]) == (1, "stdin:1:22-30: ERROR: Unknown function: 'nosuch'")  # columns are bytes
    assert done.err.splitlines()[2] == " " * 20 + "~" * 8


def test_a_filter_may_leave_nothing(pyprobe: Command) -> None:
    done = pyprobe("--probe-filter", "nosuch", "-e", FORKS)
    assert (done.status, done.out, done.err) == (1, "No probes to attach\n", "")
    assert pyprobe("--probe-filter", "nosuch", "-q", "-e", "begin { print(1); }").out.startswith("1\n")


def test_the_last_mode_counts(pyprobe: Command) -> None:
    assert "ran" in pyprobe("--bench", "--mode", "test", "-e", "test:a { }").out


def test_the_script_may_follow_two_dashes(pyprobe: Command, tmp_path: Path) -> None:
    script = tmp_path / "s.pt"
    script.write_text("begin { print($1); }")
    assert pyprobe("-q", "--", str(script), "-3").out == "-3\n\n\n"


def test_listing_a_script(pyprobe: Command) -> None:
    """In the order of the script, without begin and end; rates are left out."""
    text = "begin { } kprobe:vfs_write, kprobe:vfs_read { } interval:s:1, software:cpu:100, hardware:cycles:5 { } kprobe:vfs_read { }"
    assert pyprobe("-l", "-e", text).out.split() == [
        "kprobe:vfs_write",
        "kprobe:vfs_read",
        "interval:s:",
        "software:cpu:",
        "hardware:cycles:",
    ]
    assert pyprobe("-lv", "-e", "fentry:vfs_read { }").out.splitlines()[:2] == ["fentry:vmlinux:vfs_read", "    struct file * file"]
    assert pyprobe("-l", "-e", "kprobe:nosuch { }").status == 1


def test_listing_types(pyprobe: Command) -> None:
    assert pyprobe("-l", "struct pa*,enum pid_t*").out == "struct path\nenum pid_type\n"
    assert pyprobe("-lv", "struct path").out == "vmlinux: struct path {\n\tstruct vfsmount *mnt;\n\tstruct dentry *dentry;\n};\n\n"
    assert "\tPIDTYPE_PID = 0,\n" in pyprobe("-lv", "enum pid_type").out
    assert "\tchar comm[16];\n" in pyprobe("-lv", "struct task_struct").out
    done = pyprobe("-l", "union nosuch")
    assert (done.status, done.out, done.err) == (0, "", "")


def test_listing_takes_one_pattern(pyprobe: Command) -> None:
    done = pyprobe("-l", "kprobe:vfs_read", "kprobe:vfs_write")
    assert (done.status, done.out) == (1, "") and "USAGE:" in done.err


def test_dry_run_says_nothing(pyprobe: Command) -> None:
    assert repr(pyprobe("--dry-run", "-e", FORKS)) == "status 0\n--- stdout\n\n--- stderr\n"


def test_json_and_output_file(pyprobe: Command, tmp_path: Path) -> None:
    target = tmp_path / "events.json"
    done = pyprobe("-f", "json", "-o", str(target), "-e", FORKS)
    assert (done.status, done.out, done.err) == (0, "", "")
    events = [json.loads(line) for line in target.read_text().splitlines()]
    assert events == [
        {"type": "attached_probes", "count": 1, "data": {"probes": 1}},
        {"type": "map", "data": {"@": {"thinker": 2, "server": 2, "session": 10}}},
    ]


def test_stats_is_a_table_on_stderr(pyprobe: Command) -> None:
    done = pyprobe("-q", "--stats", "-e", FORKS)
    assert "kprobe:kernel_clone      14" in done.err and "virtual time" in done.err


def test_stages_can_be_seen(pyprobe: Command) -> None:
    shown = pyprobe("-d", "all", "--dry-run", "-e", "kprobe:vfs_read { @ = sum(arg2); }").out
    for part in ("Assign", "sum_t", "def handler():"):
        assert part in shown


def test_script_from_file_stdin_and_package(pyprobe: Command, tmp_path: Path) -> None:
    script = tmp_path / "s.pt"
    script.write_text('#!/usr/bin/env pyprobe\nbegin { printf("%s %d %d\\n", str($1), $2, $#); }\n')
    assert pyprobe("-q", str(script), "a", "0x10").out == "a 16 2\n\n\n"
    assert pyprobe("-q", "-", "b", stdin=script.read_bytes()).out.startswith("b 0 1\n")
    assert pyprobe("opensnoop.pt", "--dry-run", cwd=tmp_path).status == 0


def test_probes_of_a_packaged_script_are_listed(pyprobe: Command) -> None:
    assert "tracepoint:syscalls:sys_enter_openat\n" in pyprobe("-l", "opensnoop.pt").out


def test_a_target_that_nothing_mapped_is_said(pyprobe: Command) -> None:
    done = pyprobe("-e", "uprobe:libc:malloc { @ = count(); }")
    assert done.status == 0
    assert "was not mapped by any process" in done.err


def test_crash_of_the_guest_is_told_and_maps_are_printed(pyprobe: Command, build: Callable[..., Path]) -> None:
    program = build("fault.c")
    done = pyprobe("-q", "-e", f"uprobe:{program}:work {{ @calls = count(); }}", "-c", str(program))
    assert (done.status, done.out) == (0, "\n\n@calls: 3\n")
    assert "was ended by SIGSEGV at address 0x10" in done.err
    assert " in main+" in done.err
    assert "=> " in done.err and "mov" in done.err, "the code around the fault is shown"


def test_endless_recursion_ends(pyprobe: Command, build: Callable[..., Path]) -> None:
    program = build("fault.c")
    done = pyprobe("-q", "-e", "begin { } end { @done = 1; }", "-c", f"{program} recurse")
    assert (done.status, done.out) == (0, "\n\n@done: 1\n")
    assert "SIGSEGV" in done.err


def test_bad_addresses_read_as_nothing(pyprobe: Command, build: Callable[..., Path]) -> None:
    program = build("fault.c")
    script = f'uprobe:{program}:work {{ printf("[%s] %d\\n", str(arg0), *(int32*)8); }}'
    done = pyprobe("-q", "-e", script, "-c", str(program))
    assert done.out.startswith("[] 0\n[] 0\n[] 0\n")


@pytest.mark.parametrize("name", ["damaged-header", "truncated", "other-machine", "text"])
def test_what_is_no_program_is_one_line(pyprobe: Command, tmp_path: Path, name: str) -> None:
    true = Path("/bin/true").read_bytes()
    data = {
        "damaged-header": true[:32] + b"\xff" * 32 + true[64:],
        "truncated": true[:100],
        "other-machine": true[:18] + b"\xf3\x00" + true[20:],
        "text": b"hello\n",
    }[name]
    program = tmp_path / name
    program.write_bytes(data)
    program.chmod(0o755)
    done = pyprobe("-q", "-e", FORKS, "-c", str(program))
    assert done.status in (0, 1)
    assert len(done.err.splitlines()) == 1 and "Traceback" not in done.err
    assert done.err.startswith(("ERROR: ", "WARNING: "))


def start(*words: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pyprobe", *words]
    # no buffers: communicate() does not see what readline() has read ahead
    return subprocess.Popen(command, bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=ROOT)


TICKS = """
interval:ms:10 { @ticks = count(); if (@ticks == 3) { printf("ticking\\n"); } }
begin { printf("go\\n"); }
end { printf("bye\\n"); }
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", [[], ["-c", "sh -c 'while :; do :; done'"]], ids=["timers", "busy guest"])
def test_first_signal_ends_in_good_order(number: signal.Signals, command: list[str]) -> None:
    process = start("-B", "none", "-e", TICKS, *command)
    assert process.stdout is not None
    assert process.stdout.readline() == b"go\n"
    assert process.stdout.readline() == b"ticking\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out.startswith(b"bye\n\n\n@ticks: ")


@pytest.mark.parametrize(
    ("kind", "status", "out"),
    [
        ("test", 1, ["Running 2 tests.", "RUN", "endless (", "1 test ran.", "0 tests.", "1 test, listed below:", "endless"]),
        ("bench", 0, []),
    ],
)
def test_a_signal_ends_endless_trials(kind: str, status: int, out: list[str]) -> None:
    """The one that runs is left, those after it are not begun, the end probes run whole."""
    program = (
        f'{kind}:endless {{ system("kill -INT $PPID"); while (1) {{ @++; }} }} {kind}:other {{ print("other"); }} '
        'end { $n = 0; while ($n < 3) { $n++; } printf("end %d\\n", $n); }'
    )
    process = start("--no-warnings", f"--{kind}", "--unsafe", "-e", program)
    written, err = process.communicate(timeout=20)
    assert process.returncode == status, err
    lines = [line for line in written.decode().splitlines() if line]
    assert len(lines) == len(out) + 1 and all(wanted in line for wanted, line in zip([*out, "end 3"], lines, strict=True)), lines


@pytest.mark.parametrize(
    ("redirection", "status", "message"),
    [
        (">&-", 0, "Attached 1 probe"),
        ("<&- >&- 2>&-", 0, ""),
        ("2>&-", 0, ""),
        ("> /dev/full", 255, "Attached 1 probe\nERROR: Failed to write the output: No space left on device"),
    ],
)
def test_streams_that_cannot_be_written(redirection: str, status: int, message: str) -> None:
    shell = ["/bin/sh", "-c", f'"$0" -m pyprobe -e "begin {{ printf(\\"x\\n\\"); }}" {redirection}', sys.executable]
    done = subprocess.run(shell, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.decode().strip()) == (status, message)


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    ("arguments", "status", "out", "err"),
    [
        ("--version > /dev/full", 255, "", "ERROR: Failed to write the output: No space left on device\n"),
        ("--fmt -e 'begin {}' > /dev/full", 255, "", "ERROR: Failed to write the output: No space left on device\n"),
        ("-d ast -q -e 'begin { print(1); }' > /dev/full", 255, "", "ERROR: Failed to write the output: No space left on device\n"),
        ("-l 'kprobe:*' > /dev/full", 255, "", "ERROR: Failed to write the output: No space left on device\n"),
        ("--version > /dev/full 2> /dev/full", 255, "", ""),
        ("-e 'begin { nosuch(); }' 2> /dev/full", 1, "", ""),
        ("-e 'begin { print(1); warnf(\"x\"); print(2); }' 2> /dev/full", 0, "1\n2\n\n\n", ""),
    ],
)
def test_full_disks(arguments: str, status: int, out: str, err: str, buffered: bool) -> None:
    """Results that are lost are told of, with an exit status; messages that are lost change nothing."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    shell = ["/bin/sh", "-c", f'"$0" -m pyprobe {arguments}', sys.executable]
    done = subprocess.run(shell, capture_output=True, check=False, timeout=60, env=environment, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (status, out, err)


def test_begin_probes_may_print_without_end() -> None:
    """What they print waits for the line about the probes, but not for ever."""
    process = start("-e", "begin { for $i : 0..1000000000000 { print($i); } }")
    assert process.stdout is not None and process.stderr is not None
    assert [process.stdout.readline() for _ in range(3)] == [b"0\n", b"1\n", b"2\n"]
    assert process.stderr.readline() == b"Attached 1 probe\n"
    process.stdout.close()
    assert process.wait(timeout=20) == 128 + signal.SIGPIPE


@pytest.mark.parametrize("arguments", [(), ("-f", "json"), ("-B", "none")])
def test_closed_stdout_ends_quietly(arguments: tuple[str, ...]) -> None:
    process = start(*arguments, "-e", 'interval:us:1000 { printf("line\\n"); }')
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=20) == 128 + signal.SIGPIPE
    assert process.stderr.read().strip() in (b"", b"Attached 1 probe")


SAMPLE = """
kprobe:* { @[func, comm, pid] = count(); }
profile:hz:999 { @s[ustack, tid] = count(); }
end { printf("%d %s\\n", rand, strftime("%c", nsecs)); }
"""


def test_same_bytes_whatever_the_host_is_like(pyprobe: Command, tmp_path: Path) -> None:
    surroundings = [
        {},
        {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "LC_ALL": "C", "HOME": "/nonexistent"},
        {"PYTHONHASHSEED": "77", "TZ": "America/New_York", "LANG": "de_DE.UTF-8", "COLUMNS": "40"},
    ]
    folders = (ROOT, tmp_path, Path("/"))
    results = {repr(pyprobe("-e", SAMPLE, env=env, cwd=folder)) for env, folder in zip(surroundings, folders, strict=True)}
    assert len(results) == 1


def test_without_the_extension_the_same_bytes_and_one_line(pyprobe: Command) -> None:
    native, plain = pyprobe("-e", SAMPLE), pyprobe("-e", SAMPLE, env={"PYPROBE_NATIVE": "0"})
    assert plain.out == native.out
    said = [line for line in plain.err.splitlines() if line not in native.err.splitlines()]
    assert len(said) == 1 and said[0].startswith("WARNING: this ran many times slower than it could: ")


def test_another_user_gets_the_same_bytes(tool: Callable[[str], str]) -> None:
    """In a user namespace the process has another uid, and still may read its interpreter (user_namespaces(7))."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pyprobe", "-q", "-e", SAMPLE]
    somebody = [tool("unshare"), "--user", "--map-user=1234", *command]
    own, other = (subprocess.run(c, stdout=subprocess.PIPE, env=environment, cwd=ROOT, check=True).stdout for c in (command, somebody))
    assert own == other and b"session" in own


@pytest.mark.parametrize(
    "text",
    [
        "a b",
        "a  'b c' d\te",
        r'a "\$x \` \" \\ \n" b',
        r"a\ b c\'",
        "'' \"\"",
        """a"b"'c'd""",
        " x ",
        "'\\$' \"'\" '\"'",
        'a"b\\\nc"',
    ],
)
def test_a_command_is_split_as_a_shell_does(text: str) -> None:
    script = "for word in " + text + """; do printf '%s\\0' "$word"; done"""
    shell = subprocess.run(["sh", "-c", script], capture_output=True, check=True, timeout=10)
    assert split_command(text) == shell.stdout.split(b"\0")[:-1]


def test_seed_and_clock_are_the_users(pyprobe: Command) -> None:
    script = 'begin { printf("%d %s\\n", rand, strftime("%Y", nsecs)); }'
    plain = pyprobe("-q", "-e", script).out
    assert plain.split()[1] == "2030"
    assert pyprobe("-q", "--seed", "5", "-e", script).out != plain
    assert pyprobe("-q", "--clock", "86400", "-e", script).out.split()[1] == "1970"


def test_probes_change_nothing(pyprobe: Command) -> None:
    """The guest's own clock counts its instructions: it must read the same with and without probes."""
    command = ["-c", "bash -c 'for i in 1 2 3; do (echo $EPOCHREALTIME); done'"]
    bare = pyprobe("-q", "-e", "begin { }", *command).out
    script = "uprobe:libc:m* { @[probe] = count(); } uretprobe:libc:malloc { @r = count(); } kprobe:* { @k = count(); }"
    probed = pyprobe("-q", "-e", script, *command).out
    assert bare.splitlines()[:3] == probed.splitlines()[:3]


def test_cat_shows_the_files_of_the_machine(pyprobe: Command) -> None:
    """Files that the guest wrote, and its own /proc: never the host's."""
    cats = " ".join(f'cat("{path}");' for path in ("/tmp/only_in_the_guest", "/proc/version", "/tmp", "/tmp/none"))
    script = f"tracepoint:sched:sched_process_exit {{ {cats} exit(); }}"
    done = pyprobe("-e", script, "-c", "sh -c 'echo written > /tmp/only_in_the_guest'")
    assert done.out.startswith("written\nLinux version ") and "(emulated)" in done.out
    assert done.err.splitlines()[-1] == "ERROR: failed to open file '/tmp/none' (No such file or directory)"


def test_path_of_an_opened_file(pyprobe: Command) -> None:
    done = pyprobe("-e", "fentry:vfs_open { @[path(args.path)] = count(); }", "-c", "cat /etc/hostname")
    assert "@[/etc/hostname]: 1\n" in done.out


def test_a_signal_from_outside_fires_self_probes():
    with start("-e", "self:signal:SIGUSR1 { print((probe, probetype)); @++; if (@ == 2) { exit(7); } }") as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stderr.readline() == b"Attached 1 probe\n"
        for _ in range(2):
            process.send_signal(signal.SIGUSR1)
            assert process.stdout.readline() == b"(self:signal:SIGUSR1, special)\n"
        out, _ = process.communicate(timeout=30)
    assert out == b"\n\n@: 2\n"
    assert process.returncode == 7


def test_messages_of_a_run_are_coloured_too(pyprobe: Command) -> None:
    """The header of each message, with all of its lines; not the source below it."""
    script = 'macro m(x) { 1/x } begin { $z = 0; $q = m($z); errorf("a"); warnf("b"); cat("/nosuch"); @[1] = 1; @[2] = 2; }'
    done = pyprobe("-e", script, env={"BPFTRACE_COLOR": "always", "BPFTRACE_MAX_MAP_KEYS": "1"})
    coloured = [part.split("\033[0m")[0] for part in done.err.split("\033[")[1:] if not part.startswith("0m")]
    assert [(part[:3], part.split(": ", 2)[1]) for part in coloured] == [
        ("33m", "WARNING"),
        ("33m", "WARNING"),
        ("31m", "ERROR"),
        ("33m", "WARNING"),
        ("31m", "failed to open file '/nosuch' (No such file or directory)"),
        ("33m", "WARNING"),
    ]
    assert coloured[-1].endswith("Additional Info - helper: map_update_elem, retcode: -7")


def test_the_c_section_is_preprocessed(pyprobe: Command, tmp_path: Path) -> None:
    """#include from a given directory, macros used as values, conditions."""
    (tmp_path / "sizes.h").write_text("#define FOUR 4\nstruct pair { short a; int b; };\nenum mood { CALM, WILD = 7 };\n")
    script = tmp_path / "it.bt"
    script.write_text(
        "#!/usr/bin/env bpftrace\n#include <sizes.h>\n#define EIGHT (FOUR * 2)\n"
        '#ifdef FOUR\n#define WORD "four"\n#else\n#define WORD "none"\n#endif\n'
        "#ifndef NOTHING\n#define MORE (EIGHT + 1)\n#endif\n"
        "begin { print((FOUR, EIGHT, WORD, MORE)); print(sizeof(struct pair)); print(WILD); @[CALM] = WILD; }\n"
    )
    done = pyprobe("-I", str(tmp_path), str(script))
    assert done.out.split("\n")[:7] == ["(4, 8, four, 9)", "8", "WILD", "", "", "@[CALM]: WILD", ""]
