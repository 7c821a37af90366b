"""The environment wins over the config block; a bad value there stops everything with exit code 2."""

from __future__ import annotations

import pytest

from pyprobe.lang.compiler import compile_program
from pyprobe.lang.config import SETTINGS, Config, ConfigError
from pyprobe.lang.diagnostics import CompileError, render
from pyprobe.lang.source import Source


def _config(text: str, **environ: str) -> Config:
    return compile_program(Source("stdin", text), environ=environ).config


def test_defaults_are_attributes() -> None:
    config = Config()
    assert {name: getattr(config, name) for name in SETTINGS} == {name: setting.default for name, setting in SETTINGS.items()}


def test_environment_wins() -> None:
    assert _config("config = { max_map_keys = 5 } BEGIN { }", BPFTRACE_MAX_MAP_KEYS="7").max_map_keys == 7


def test_environment_ignores_other_names_and_old_ones() -> None:
    assert _config("BEGIN { }", BPFTRACE_STRLEN="65", BPFTRACE_NOTHING="x", OTHER="y").max_strlen == 1024


def test_values() -> None:
    config = _config('config = { STACK_MODE = perf; BPFTRACE_CPP_DEMANGLE = "no"; str_trunc_trailer = 5; unstable_tseries = 1 } BEGIN { }')
    assert (config.stack_mode, config.cpp_demangle, config.str_trunc_trailer, config.unstable_tseries) == ("perf", False, "5", "enable")
    assert config.given == {"stack_mode", "cpp_demangle", "str_trunc_trailer", "unstable_tseries"}


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("BPFTRACE_MAX_MAP_KEYS", "abc", "max_map_keys: expecting a number, got abc"),
        ("BPFTRACE_MAX_STRLEN", "", "max_strlen: expecting a number, got "),
        ("BPFTRACE_STACK_MODE", "x", "stack_mode: Invalid value for stack_mode: valid values are bpftrace, raw, perf, and build_id."),
    ],
)
def test_bad_environment(variable: str, value: str, message: str) -> None:
    with pytest.raises(CompileError) as caught:
        _config("BEGIN { }", **{variable: value})
    assert caught.value.exit_code == 2
    assert [render(d) for d in caught.value.diagnostics] == [message]


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match="FOO: not a known configuration option"):
        Config().set("FOO", 1)
