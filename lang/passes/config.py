"""The `config` block, and after it the environment, which wins."""

from __future__ import annotations

from pyprobe.lang.config import PREFIX, SETTINGS, ConfigError
from pyprobe.lang.diagnostics import CompileError
from pyprobe.lang.passes.unit import Unit


def run(unit: Unit) -> None:
    """Fill `unit.config`.

    Raises CompileError with exit code 2 for a bad value in the environment, whatever the block says.
    """
    _environment(unit)
    for entry in unit.script.config or ():
        try:
            warning = unit.config.set(entry.name, entry.value)
        except ConfigError as e:
            unit.diagnostics.error(str(e), entry.span)
        else:
            if warning:
                unit.diagnostics.warning(warning, entry.span)
    _environment(unit)


def _environment(unit: Unit) -> None:
    """Apply `BPFTRACE_NAME=value` for every setting; other names of that form belong to somebody else."""
    for variable, value in sorted(unit.options.environ.items()):
        name = variable.lower().removeprefix(PREFIX)
        if not variable.startswith(PREFIX.upper()) or name not in SETTINGS:
            continue
        try:
            unit.config.set(name, value)
        except ConfigError as e:
            unit.diagnostics.plain(str(e))
            raise CompileError(unit.diagnostics, exit_code=2) from None
