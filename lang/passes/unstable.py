"""Features that are deprecated, gone, or not promised to stay: warnings and errors by the configuration's `unstable_` settings."""

from __future__ import annotations

import re

from pyprobe.lang.nodes import Call, Identifier, ImportStatement, Macro, Node, TypeInfo, While
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import descend

WHILE = "While loops are deprecated and may be removed in the future."
WHILE_HINT = (
    "For loops support ranges (e.g. `for ($x : $start..$end) { ... }`), and can be used in place of while. "
    "These are more easily proven to be bounded by the verifier."
)
SARG = "sarg* is deleted. This was deprecated in v0.21 and was last available in v0.24."
SARG_HINT = 'Use *(reg("sp") + <stack_offset>) instead.'
IMPORT = (
    "Import statements that are not at the top level are primarily for the standard library. If this is functionality you need, "
    "please file an issue to explain why."
)

SHOWN = {"import_statement": "import statements", "dw_ustack": "dw_ustack (DWARF stack unwinding)"}


def run(unit: Unit) -> None:
    warned: set[str] = set()
    for item in unit.script.items:
        inner: set[int] = set()  # what is in a loop or among the arguments of a call
        for node in descend(item):
            if isinstance(node, (Call, While)) and id(node) not in inner:
                inner.update(id(below) for below in descend(node) if below is not node)
                if isinstance(node, While) and not isinstance(item, Macro):
                    unit.diagnostics.warning(WHILE, node.span).hints[:] = [WHILE_HINT]
            if isinstance(node, Identifier) and re.fullmatch(r"sarg\d+", node.name):
                unit.diagnostics.error(SARG, node.span).hint(SARG_HINT)
            elif isinstance(node, ImportStatement):
                if unit.config.unstable_import_statement == "error":
                    unit.diagnostics.error(IMPORT, node.span)
                else:
                    _check(unit, "import_statement", node, warned)
            elif feature := _feature(node):
                _check(unit, feature, node, warned)


def _feature(node: Node) -> str:
    """The setting, without its prefix, that governs the use of a node; empty for stable ones."""
    if isinstance(node, TypeInfo):
        return "typeinfo"
    return node.name if isinstance(node, Call) and node.name in ("tseries", "dw_ustack") else ""  # the bare word is the library's


def _check(unit: Unit, feature: str, node: Node, warned: set[str]) -> None:
    setting = f"unstable_{feature}"
    level = getattr(unit.config, setting)
    if level == "error":
        unit.diagnostics.error(
            f"{SHOWN.get(feature, feature)} feature is not enabled by default. "
            f"To enable this unstable feature, set the config flag to enable. {setting}=enable",
            node.span,
        )
    elif level == "warn" and feature not in warned:
        warned.add(feature)
        unit.diagnostics.warning(
            f"Script is using an unstable feature: {SHOWN.get(feature, feature)}. To prevent this warning you must explicitly enable it "
            f"in the config e.g. {setting}=enable"
        )
