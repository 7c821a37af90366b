"""The text of --help, made from the option table so that the two cannot disagree."""

from __future__ import annotations

from pyprobe.options import GROUPS, OPTIONS, Option

HEAD = """\
pyprobe - a probe-scripting language, compatible with bpftrace, whose probes fire in an emulated machine

USAGE:
    pyprobe [options] FILE [arguments]       run a script (a name that is no file is looked up among the packaged scripts)
    pyprobe [options] -e 'PROGRAM' [arguments]
    pyprobe [options] - < FILE
    pyprobe -l [PATTERN | FILE]              list probes
    pyprobe [options] kprobe_events DEFINITION | FILE ...
                                             trace by definitions as Linux's kprobe_events takes them
    pyprobe kernel install | add | list | remove ...
                                             the kernels that --kernel can name
    pyprobe --help TOPIC                     what a function, builtin, probe type, macro or setting means
    pyprobe                                  a session to try things in (REPL)
    Arguments become $1, $2, ...; after a literal -- also negative numbers and named ones (--top=5).

    Probes fire in a machine that pyprobe emulates, never on this host: no root, no kernel feature, same bytes every time.
    With -c the machine runs COMMAND from this host's files (read-only to it); without, a small built-in workload.

OPTIONS:
"""

TAIL = """\
EXAMPLES:
    pyprobe -e 'kprobe:do_fork { @[comm] = count(); }'
        which programs of the built-in workload fork
    pyprobe -e 'tracepoint:syscalls:sys_enter_openat { printf("%s %s\\n", comm, str(args.filename)); }' -c 'ls /tmp'
        the files that ls opens
    pyprobe -e 'uprobe:libc:malloc { @bytes = hist(arg0); }' -c 'sort /etc/passwd'
        sizes that sort asks malloc for
    pyprobe -e 'uretprobe:./a.out:compute { printf("%d\\n", retval); }' -c ./a.out
        what a function of your own program returns
    pyprobe -l 'tracepoint:syscalls:*open*'
        probes whose name contains open
    pyprobe -lv kprobe:vfs_read
        the arguments of a kernel function
    pyprobe --kernel debian-arm64 -c 'cat /etc/passwd' kprobe_events 'p do_sys_openat2 name=+0($arg2):ustring' 'r do_sys_openat2 $retval'
        kprobe events in a booted kernel, defined in its own syntax, and their trace
    pyprobe opensnoop.pt -c 'grep -r root /etc/pam.d'
        a packaged script

EXIT STATUS:
    0 normal end; N after exit(N); 1 usage or script error; 2 the C section or a BPFTRACE_ variable is wrong; 255 the run failed.
    The exit status of COMMAND is never passed on.
"""


def _entry(option: Option) -> str:
    names = ", ".join(n for n in (f"-{option.short}" if option.short else "", f"--{option.long}" if option.long else "") if n)
    left = f"    {names}{' ' + option.argument if option.argument else ''}"
    return f"{left:<28} {option.help}" if len(left) < 28 else f"{left}\n{'':<28} {option.help}"


def text() -> str:
    """The whole usage text, ending in a newline."""
    parts = [HEAD]
    for group in GROUPS:
        if group:
            parts.append(f"\n  {group}\n")
        parts += [_entry(o) + "\n" for o in OPTIONS if o.group == group]
    return "".join(parts) + "\n" + TAIL
