"""The command line: one table of options, and a parser that reads words as getopt_long(3) does.

Written out instead of using argparse because the messages, the permutation of options and the meaning of `--` are bpftrace's, which
are GNU getopt's, and because argparse alone would take a quarter of the start-up time.
"""

from __future__ import annotations

from collections.abc import Sequence


class UsageError(Exception):
    """A command line that cannot be understood. `show_usage`: the usage text follows the message. `prefix` starts the line."""

    def __init__(self, message: str, *, show_usage: bool = False, prefix: str = "ERROR: USAGE: ") -> None:
        super().__init__(message)
        self.line = prefix + message
        self.show_usage = show_usage


class Option:
    """One option. `argument` is its placeholder, None for a flag; `kind` says what happens: `flag`, `store`, `append`, `count`, or
    `mode:NAME` for shorthands of --mode."""

    __slots__ = ("argument", "group", "help", "kind", "long", "name", "short")

    def __init__(self, short: str, long: str, argument: str | None, kind: str, group: str, help: str, name: str = "") -> None:
        self.short = short
        self.long = long
        self.argument = argument
        self.kind = kind
        self.group = group
        self.help = help
        self.name = name or long.replace("-", "_")


GROUPS = ("", "PROGRAM TO TRACE", "OUTPUT", "MACHINE", "SCRIPT", "DEVELOPER", "TROUBLESHOOTING")

OPTIONS = (
    Option("e", "", "PROGRAM", "store", "", "run this program text", "program"),
    Option("l", "list", None, "flag", "", "list probes: all, those matching a PATTERN (`*` is a wildcard), or a script's", "list_probes"),
    Option("v", "verbose", None, "count", "", "more messages; with -l the arguments of each probe; -vv: tracebacks of faults in pyprobe"),
    Option("h", "help", None, "flag", "", "show this text; with a TOPIC, the reference of that name (`--help topics` lists all)"),
    Option("V", "version", None, "flag", "", "show the version"),
    Option("", "info", None, "flag", "", "show what this installation has: libraries, the native extension, probe types"),
    Option(
        "c", "cmd", "COMMAND", "store", "PROGRAM TO TRACE", "run COMMAND in the emulated machine (split by shell quoting rules; `#!` works)"
    ),
    Option("p", "pid", "PID", "store", "PROGRAM TO TRACE", "refused: the processes of this host are not in the emulated machine"),
    Option("", "env", "NAME=VALUE", "append", "PROGRAM TO TRACE", "set a variable in COMMAND's environment (repeatable)"),
    Option("o", "output", "FILE", "store", "OUTPUT", "write the script's output to FILE"),
    Option("f", "format", "FORMAT", "store", "OUTPUT", "output format: text or json"),
    Option("B", "", "MODE", "store", "OUTPUT", "buffering of the output: line, full or none", "buffering"),
    Option("q", "quiet", None, "flag", "OUTPUT", "no `Attached N probes` line"),
    Option("k", "warnings", None, "count", "OUTPUT", "warn when a read or a map lookup fails at run time"),
    Option("", "no-warnings", None, "flag", "OUTPUT", "no warnings at all"),
    Option("", "stats", None, "flag", "OUTPUT", "at the end, a table of probes with hits, and figures of the machine, on stderr"),
    Option("", "kernel", "NAME|FILE", "store", "MACHINE", "boot a real kernel and probe that (pyprobe kernel install debian-arm64)"),
    Option("", "boot", None, "flag", "MACHINE", "with --kernel: trace from the kernel's first instruction on"),
    Option("", "append", "TEXT", "append", "MACHINE", "with --kernel: add to the kernel's command line (repeatable)"),
    Option("", "memory", "MB", "store", "MACHINE", "with --kernel: memory of the machine (default 256)"),
    Option("", "faithful", None, "flag", "MACHINE", "with --kernel: refuse the probes that Linux itself refuses"),
    Option("", "attach", "HOW", "store", "MACHINE", "probes in code: hook (invisible) or breakpoint (as Linux does)"),
    Option("", "root", "DIR", "store", "MACHINE", "the directory of this host that the machine has as `/` (default: this host's)"),
    Option("", "view", "none|ro|PATH", "append", "MACHINE", "host files that appear: COMMAND alone, all, or PATH too (repeatable)"),
    Option("", "uid", "UID[:GID]", "store", "MACHINE", "run COMMAND as this user, not as root"),
    Option("", "keep", "DIR", "store", "MACHINE", "at the end, write the files that COMMAND made or changed to DIR (new or empty)"),
    Option("", "diff", None, "flag", "MACHINE", "at the end, list on stderr what COMMAND made (A), changed (C) and deleted (D)"),
    Option("", "limit", "NAME=VALUE", "append", "MACHINE", "bounds: tasks=4096, memory=2G, disk=1G, time=SECONDS (repeatable)"),
    Option("", "clock", "EPOCH|real", "store", "MACHINE", "start of the machine's clock, in s since 1970, or the host's and its keys"),
    Option("", "seed", "N", "store", "MACHINE", "seed of the machine's random numbers and of rand (default 0)"),
    Option("I", "", "DIR", "append", "SCRIPT", "look for C headers in DIR too (repeatable)", "include_dirs"),
    Option("", "include", "FILE", "append", "SCRIPT", "a C header to include first (repeatable)", "include_files"),
    Option("", "unsafe", None, "flag", "SCRIPT", "allow system() and whatever else changes something"),
    Option("", "debuginfo", "DIR[:DIR]", "append", "SCRIPT", "where to look for separate debug information"),
    Option("", "probe-filter", "REGEX", "store", "SCRIPT", "attach only probes whose full name matches"),
    Option("", "usdt-file-activation", None, "flag", "SCRIPT", "accepted; every process of the machine is seen anyway"),
    Option("", "traceable-functions", "FILE", "store", "SCRIPT", "must be readable; the emulated kernel knows its own functions"),
    Option("", "dwarf-pid", "PID", "append", "SCRIPT", "accepted; every process of the machine is seen anyway"),
    Option("", "no-feature", "LIST", "store", "SCRIPT", "accepted: kprobe_multi, kprobe_session, uprobe_multi"),
    Option("", "mode", "MODE", "store", "DEVELOPER", "codegen (compile only), compiler-bench, bench, test or format"),
    Option("", "test", None, "mode:test", "DEVELOPER", "run the test: probes"),
    Option("", "bench", None, "mode:bench", "DEVELOPER", "run the bench: probes"),
    Option("", "fmt", None, "mode:format", "DEVELOPER", "print the program in canonical layout"),
    Option("", "dry-run", None, "flag", "TROUBLESHOOTING", "stop after attaching"),
    Option("d", "debug", "STAGE", "append", "TROUBLESHOOTING", "show a stage of compilation: ast, types, program, python or all"),
)

MODES = ("codegen", "compiler-bench", "bench", "test", "format")
STAGES = ("all", "ast", "types", "program", "python")
# bpftrace's own stages that have no counterpart here are accepted and show nothing
FOREIGN_STAGES = ("codegen", "codegen-opt", "libbpf", "verifier", "parse", "dis")
_EMULATED_ONLY = {  # options of the machine that a booted kernel does not have, and what to do instead
    "view": ": its programs see all of --root DIR",
    "keep": "",
    "diff": "",
    "limit": ": its bounds are --memory and those that the command sets with ulimit",
    "uid": ": the command is root's; let it change the user, as with su or setpriv",
}
LEAST_MEMORY, MOST_MEMORY = 128, 3072  # MB, of a booted machine
FEATURES = ("kprobe_multi", "kprobe_session", "uprobe_multi")


class Options:
    """The values of a command line. `words` are the positional words before a literal `--`, `script_words` those after it."""

    program: str | None = None
    list_probes: bool = False
    verbose: int = 0
    help: bool = False
    version: bool = False
    info: bool = False
    cmd: str | None = None
    pid: str | None = None
    env: list[str]
    output: str | None = None
    format: str = "text"
    buffering: str = "line"
    quiet: bool = False
    warnings: int = 0
    no_warnings: bool = False
    stats: bool = False
    kernel: str | None = None
    boot: bool = False
    append: list[str]
    memory: str | None = None
    faithful: bool = False
    attach: str = "hook"
    root: str | None = None
    view: list[str]
    uid: str | None = None
    keep: str | None = None
    diff: bool = False
    limit: list[str]
    clock: str | None = None
    seed: str = "0"
    include_dirs: list[str]
    include_files: list[str]
    unsafe: bool = False
    debuginfo: list[str]
    probe_filter: str | None = None
    traceable_functions: str | None = None
    usdt_file_activation: bool = False
    no_feature: str = ""
    dwarf_pid: list[str]
    mode: str | None = None
    dry_run: bool = False
    debug: list[str]
    words: list[str]
    script_words: list[str]

    def __init__(self) -> None:
        for option in OPTIONS:
            if option.kind == "append":
                setattr(self, option.name, [])
        self.words = []
        self.script_words = []


_SHORT = {o.short: o for o in OPTIONS if o.short}
_LONG = {o.long: o for o in OPTIONS if o.long}


def parse(arguments: Sequence[str]) -> Options:
    """Options from the words of a command line (without the command's own name).

    Raises UsageError with the line to print. Rules: getopt_long(3), options and other words may be mixed.
    """
    options = Options()
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            options.script_words = words
            break
        if word.startswith("--"):
            _long(options, word[2:], words)
        elif word.startswith("-") and word != "-":
            _short(options, word[1:], words)
        else:
            options.words.append(word)
    _check(options)
    return options


def _getopt_error(text: str) -> UsageError:
    return UsageError(text, show_usage=True, prefix="pyprobe: ")


def _long(options: Options, text: str, words: list[str]) -> None:
    name, equals, value = text.partition("=")
    option = _LONG.get(name)
    if option is None:
        near = [long for long in _LONG if long.startswith(name)]
        if not near:
            raise _getopt_error(f"unrecognized option '--{text}'")
        if len(near) > 1:
            possible = " ".join(f"'--{long}'" for long in near)
            raise _getopt_error(f"option '--{name}' is ambiguous; possibilities: {possible}")
        option = _LONG[near[0]]
    if option.argument is None:
        if equals:
            raise _getopt_error(f"option '--{option.long}' doesn't allow an argument")
        _set(options, option, "")
    elif equals:
        _set(options, option, value)
    elif words:
        _set(options, option, words.pop(0))
    else:
        raise _getopt_error(f"option '--{option.long}' requires an argument")


def _short(options: Options, letters: str, words: list[str]) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        option = _SHORT.get(letter)
        if option is None:
            raise _getopt_error(f"invalid option -- '{letter}'")
        if option.argument is None:
            _set(options, option, "")
            continue
        if not letters and not words:
            raise _getopt_error(f"option requires an argument -- '{letter}'")
        _set(options, option, letters or words.pop(0))
        return


def _set(options: Options, option: Option, value: str) -> None:
    if option.kind == "flag":
        setattr(options, option.name, True)
    elif option.kind == "count":
        setattr(options, option.name, getattr(options, option.name) + 1)
    elif option.kind == "append":
        getattr(options, option.name).append(value)
    elif option.kind == "store" and option.name != "mode":
        setattr(options, option.name, value)
    else:
        mode = option.kind.partition(":")[2] or value
        if mode not in MODES:
            raise UsageError("--mode can only be 'codegen', 'compiler-bench', 'bench', 'test' or 'format'.")
        if options.mode is not None and options.mode != mode and option.kind != "store":
            raise UsageError(f"--{option.long} conflicts with existing --mode")
        options.mode = mode


def _check(options: Options) -> None:
    if options.format not in ("text", "json"):
        raise UsageError(f"Invalid output format \"{options.format}\"\nValid formats: 'text', 'json'", prefix="ERROR: ")
    if options.buffering not in ("line", "full", "none"):
        raise UsageError("-B must be either 'line', 'full', or 'none'.")
    if options.warnings > 1:
        raise UsageError("-kk has been deprecated. Use a single -k for runtime warnings for errors in map lookups and probe reads.")
    if options.warnings and options.no_warnings:
        raise UsageError("-k, --warnings conflicts with --no-warnings")
    if options.cmd is not None and options.pid is not None:
        raise UsageError("Cannot use both -c and -p.", show_usage=True)
    for stage in options.debug:
        if stage not in STAGES and stage not in FOREIGN_STAGES:
            raise UsageError(f"invalid option for -d: {stage}")
    if options.no_feature and any(f not in FEATURES for f in options.no_feature.split(",")):
        raise UsageError("--no-feature can only have values 'kprobe_multi,kprobe_session,uprobe_multi'.")
    if not options.seed.isdecimal():
        raise UsageError(f"--seed must be a non-negative integer, got {options.seed}")
    if options.attach not in ("hook", "breakpoint"):
        raise UsageError(f"--attach must be 'hook' or 'breakpoint', got {options.attach}")
    if options.clock is not None and options.clock != "real" and not options.clock.isdecimal():
        raise UsageError(f"--clock must be 'real' or seconds since 1970, got {options.clock}")
    for name in ("boot", "append", "memory", "faithful"):
        if getattr(options, name) and options.kernel is None:
            raise UsageError(f"--{name} needs --kernel")
    if options.memory is not None and not (options.memory.isdecimal() and LEAST_MEMORY <= int(options.memory) <= MOST_MEMORY):
        raise UsageError(f"--memory must be a number of megabytes from {LEAST_MEMORY} to {MOST_MEMORY}, got {options.memory}")
    if options.kernel is not None and options.clock == "real":
        raise UsageError("--clock real is not possible with --kernel: its time is virtual")
    for name, instead in _EMULATED_ONLY.items():
        if getattr(options, name) and options.kernel is not None:
            raise UsageError(f"--{name} is not possible with --kernel{instead}")
    for setting in options.env:
        if "=" not in setting[1:]:  # there is no variable without a name
            raise UsageError(f"--env must be NAME=VALUE, got {setting}")
