"""The configuration: one table of names, types and defaults; the `config` block and the environment fill it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Setting:
    """One configuration value: its default and how text becomes a value (raises ValueError with the message to show)."""

    __slots__ = ("default", "parse")

    def __init__(self, default: Any, parse: Callable[[Any], Any]) -> None:
        self.default = default
        self.parse = parse


class Config:
    """The values in force. Attributes are the setting names; unknown names are an AttributeError."""

    cpp_demangle: bool = True
    lazy_symbolication: bool = True
    print_maps_on_exit: bool = True
    use_blazesym: bool = True
    show_debug_info: bool = True
    log_size: int = 1000000
    max_bpf_progs: int = 1024
    max_cat_bytes: int = 10240
    max_map_keys: int = 4096
    max_probes: int = 1024
    max_strlen: int = 1024
    on_stack_limit: int = 32
    perf_rb_pages: int = 0
    str_trunc_trailer: str = ".."
    unstable_import_statement: str = "error"
    unstable_tseries: str = "warn"
    unstable_typeinfo: str = "error"
    unstable_dw_ustack: str = "warn"
    missing_probes: str = "error"
    stack_mode: str = "bpftrace"
    license: str = "GPL"
    cache_user_symbols: str = "PER_PROGRAM"
