"""The configuration: one table of names, types and defaults; the `config` block and the environment fill it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyprobe.lang.literals import LiteralError, probe_number


class ConfigError(ValueError):
    """A name or value that cannot be; the text is the whole message."""


class Setting:
    """One configuration value: its default, how a written value (int, str or bool) becomes a value, and what it means in a few words.

    `parse` gets the value and the name as written, and raises ConfigError.
    """

    __slots__ = ("brief", "default", "parse")

    def __init__(self, default: Any, parse: Callable[[Any, str], Any], brief: str) -> None:
        self.default = default
        self.parse = parse
        self.brief = brief


def boolean(value: int | str | bool, name: str) -> bool:
    """`1 true on yes` and `0 false off no` in any case; a number is true if it is not zero."""
    if isinstance(value, str):
        word = value.lower()
        if word not in TRUE and word not in FALSE:
            raise ConfigError(f"{name}: Invalid bool value: valid values are true, false, 1 or 0.")
        return word in TRUE
    return bool(value)


TRUE = ("1", "true", "on", "yes")
FALSE = ("0", "false", "off", "no")
LICENSES = ("Dual MIT/GPL", "Dual BSD/GPL", "Dual MPL/GPL", "GPL and additional rights", "GPL v2", "GPL")


def number(value: int | str | bool, name: str) -> int:
    """A non-negative number; text is read as the command line's numbers are."""
    if not isinstance(value, str):
        return int(value) % (1 << 64)
    try:
        return probe_number(value.lstrip()) % (1 << 64)
    except LiteralError:
        raise ConfigError(f"{name}: expecting a number, got {value}") from None


def text(value: int | str | bool, name: str) -> str:
    return str(value)


def license_name(value: int | str | bool, name: str) -> str:
    if value not in LICENSES:
        found = int(value) if isinstance(value, bool) else value
        raise ConfigError(
            f"Invalid value for license. Found: {found}. Valid values: {', '.join(LICENSES)}. Read more about BPF programs and "
            "licensing: https://docs.kernel.org/bpf/bpf_licensing.html#using-bpf-programs-in-the-linux-kernel"
        )
    return str(value)


def _choice(message: str, meanings: dict[str, str], *, any_case: bool = True) -> Callable[[Any, str], str]:
    """A parser for one of some words; `meanings` maps each accepted spelling to the value."""

    def parse(value: int | str | bool, name: str) -> str:
        word = str(int(value)) if isinstance(value, bool) else str(value)
        found = meanings.get(word.lower() if any_case else word)
        if found is None:
            raise ConfigError(f"{name}: {message}")
        return found

    return parse


missing_probes = _choice(
    "Invalid value for missing_probes: valid values are ignore, warn, and error.", {word: word for word in ("ignore", "warn", "error")}
)
stack_mode = _choice(
    "Invalid value for stack_mode: valid values are bpftrace, raw, perf, and build_id.",
    {word: word for word in ("bpftrace", "raw", "perf", "build_id")},
    any_case=False,
)
_symbol_cache = _choice(
    "Invalid value for cache_user_symbols: valid values are PER_PID, PER_PROGRAM, and NONE.",
    {"per_pid": "PER_PID", "per_program": "PER_PROGRAM", "none": "NONE", "0": "NONE", "1": "PER_PROGRAM"},
)


def symbol_cache(value: int | str | bool, name: str) -> str:
    """One of the words; a number or bool says whether to cache at all."""
    return _symbol_cache(value, name) if isinstance(value, str) else ("PER_PROGRAM" if value else "NONE")


_stability = _choice(
    "Invalid value for unstable config: valid values are enable, warn, and error.",
    {word: word for word in ("enable", "warn", "error")} | dict.fromkeys(TRUE, "enable") | dict.fromkeys(FALSE, "error"),
)


def unstable(value: int | str | bool, name: str) -> str:
    """`enable`, `warn` or `error`; a number or bool enables or forbids."""
    return _stability(value, name) if isinstance(value, str) else ("enable" if value else "error")


SETTINGS: dict[str, Setting] = {
    "cache_user_symbols": Setting("PER_PROGRAM", symbol_cache, "accepted, changes nothing: PER_PROGRAM, PER_PID or NONE"),
    "cpp_demangle": Setting(True, boolean, "whether C++ names of functions in programs are shown as they are written in C++"),
    "lazy_symbolication": Setting(True, boolean, "accepted, changes nothing"),
    "license": Setting("GPL", license_name, "accepted, changes nothing: the license of the script"),
    "log_size": Setting(1000000, number, "accepted, changes nothing"),
    "max_bpf_progs": Setting(1024, number, "most probes that the wildcards of a script may stand for"),
    "max_cat_bytes": Setting(10240, number, "most bytes of a file that cat() prints"),
    "max_map_keys": Setting(4096, number, "most keys of a map that is declared without a number of its own"),
    "max_probes": Setting(1024, number, "most probes to attach"),
    "max_strlen": Setting(1024, number, "most bytes of what str(), buf() and path() give"),
    "missing_probes": Setting("error", missing_probes, "what becomes of a probe that is not there or cannot attach: error, warn or ignore"),
    "on_stack_limit": Setting(32, number, "accepted, changes nothing"),
    "perf_rb_pages": Setting(0, number, "accepted, changes nothing"),
    "print_maps_on_exit": Setting(True, boolean, "whether maps are printed at the end"),
    "show_debug_info": Setting(False, boolean, "whether ustack shows files and lines, and inlined functions, by debug information"),
    "stack_mode": Setting("bpftrace", stack_mode, "how kstack and ustack are printed: bpftrace, perf, raw or build_id"),
    "str_trunc_trailer": Setting("..", text, "what is printed after a string that was cut short"),
    "unstable_dw_ustack": Setting("warn", unstable, "the use of dw_ustack: enable, warn or error"),
    "unstable_import_statement": Setting("error", unstable, "the use of import as a statement: enable, warn or error"),
    "unstable_tseries": Setting("warn", unstable, "the use of tseries(): enable, warn or error"),
    "unstable_typeinfo": Setting("error", unstable, "the use of typeinfo(): enable, warn or error"),
    "use_blazesym": Setting(False, boolean, "accepted, changes nothing"),
}
RENAMED = {"strlen": "max_strlen", "no_cpp_demangle": "cpp_demangle", "cat_bytes_max": "max_cat_bytes", "map_keys_max": "max_map_keys"}
DEPRECATED = frozenset(
    ("symbol_source", "max_type_res_iterations", "unstable_addr", "unstable_import", "unstable_macro", "unstable_map_decl")
)
ENVIRONMENT_ONLY = frozenset(("btf", "kernel_build", "kernel_source", "vmlinux"))
PREFIX = "bpftrace_"


class Config:
    """The values in force. Attributes are the setting names; unknown names are an AttributeError.

    `given` holds the names that were set, not left at their defaults.
    """

    cache_user_symbols: str
    cpp_demangle: bool
    lazy_symbolication: bool
    license: str
    log_size: int
    max_bpf_progs: int
    max_cat_bytes: int
    max_map_keys: int
    max_probes: int
    max_strlen: int
    missing_probes: str
    on_stack_limit: int
    perf_rb_pages: int
    print_maps_on_exit: bool
    show_debug_info: bool
    stack_mode: str
    str_trunc_trailer: str
    unstable_dw_ustack: str
    unstable_import_statement: str
    unstable_tseries: str
    unstable_typeinfo: str
    use_blazesym: bool

    def __init__(self) -> None:
        self.given: set[str] = set()
        for name, setting in SETTINGS.items():
            setattr(self, name, setting.default)

    def set(self, written: str, value: int | str | bool) -> str:
        """Set the value of a name as written (any case, with or without `BPFTRACE_`). Returns a warning, or an empty string.

        Raises ConfigError for an unknown name or a value it cannot have.
        """
        name = written.lower().removeprefix(PREFIX)
        if name in DEPRECATED:
            return f"{written} is deprecated and has no effect"
        if name in ENVIRONMENT_ONLY:
            raise ConfigError(f"{written}: can only be set as an environment variable")
        today = RENAMED.get(name, name)
        if today not in SETTINGS:
            raise ConfigError(f"{written}: not a known configuration option")
        setattr(self, today, SETTINGS[today].parse(value, written))
        self.given.add(today)
        return f"{written} has been renamed, please use {today}" if today != name else ""

    def shown(self) -> list[tuple[str, Any]]:
        """Names and values as the `config` builtin has them, in its order."""
        return [(name, getattr(self, name)) for name in SHOWN]


SHOWN = (
    "cpp_demangle",
    "lazy_symbolication",
    "print_maps_on_exit",
    "use_blazesym",
    "show_debug_info",
    "log_size",
    "max_bpf_progs",
    "max_cat_bytes",
    "max_map_keys",
    "max_probes",
    "max_strlen",
    "on_stack_limit",
    "perf_rb_pages",
    "str_trunc_trailer",
    "unstable_import_statement",
    "unstable_tseries",
    "unstable_typeinfo",
    "unstable_dw_ustack",
    "missing_probes",
    "stack_mode",
    "license",
)
