"""Named parameters: getopt() declares them, the words of the command line that begin with two dashes give them values.

A call keeps its place in the tree, with the type that its default has, until the last check puts the value there. What is wrong with
the words themselves is reported when the script is known to be right (`validate`), as a command line is judged when a program starts.
"""

from __future__ import annotations

from pyprobe.lang.config import FALSE, TRUE
from pyprobe.lang.diagnostics import CompileError
from pyprobe.lang.literals import LiteralError
from pyprobe.lang.nodes import Boolean, Call, Expr, Integer, Node, OffsetOf, SizeOf, String, TypeInfo, TypeOf
from pyprobe.lang.passes.fold import number
from pyprobe.lang.passes.unit import NamedParameter, Unit
from pyprobe.lang.passes.walk import children

LITERALS = (String, Integer, Boolean)
UNEVALUATED = (SizeOf, OffsetOf, TypeOf, TypeInfo)
RANGE = {True: (-(1 << 63), (1 << 63) - 1), False: (-(1 << 63), (1 << 64) - 1)}  # by whether the default is negative


def run(unit: Unit) -> None:
    """Collect the named parameters in `unit.named` and give them their values."""
    for block in unit.blocks():
        _collect(unit, block)
    given = dict(_split(word) for word in unit.options.named)
    for parameter in unit.named.values():
        if parameter.name in given:
            _assign(parameter, given[parameter.name])


def validate(unit: Unit) -> None:
    """Report the words of the command line that are no parameters, or no values for theirs. Raises CompileError for `--help`."""
    words = [_split(word)[0] for word in unit.options.named]
    if "help" in words and "help" not in unit.named:
        lines = [f"--{p.name}: {p.description}" if p.description else f"--{p.name}" for p in unit.named.values()]
        unit.diagnostics.plain("\n".join(["HINT: expected program options:", *lines] if lines else [f"HINT: {_NONE}"]))
        raise CompileError(unit.diagnostics)
    unknown = [word for word in dict.fromkeys(words) if word not in unit.named]
    if unknown:
        error = unit.diagnostics.error(f"unexpected program command line options: {', '.join(f'--{word}' for word in unknown)}")
        error.hint(f"expected program options: {': '.join(f'--{name}' for name in unit.named)}" if unit.named else _NONE)
        return
    for parameter in unit.named.values():
        if parameter.mistake:
            unit.diagnostics.error(f"program command line option --{parameter.name} {parameter.mistake}")


_NONE = "no custom program options defined."


def _split(word: str) -> tuple[str, str | None]:
    """Name and value of `--name=value`; `--name` alone has none."""
    name, equals, value = word.removeprefix("--").partition("=")
    return name, value if equals else None


def _collect(unit: Unit, node: Node) -> None:
    for child in children(node):
        if not isinstance(child, UNEVALUATED):
            _collect(unit, child)
    if isinstance(node, Call) and node.name == "getopt":
        _declare(unit, node)


def _declare(unit: Unit, node: Call) -> None:
    if not 1 <= len(node.args) <= 3:
        text = "The 'getopt' function can take a maximum of three arguments and a minimum of one argument."
        unit.diagnostics.error(text, node.span)
        return
    first, default = node.args[0], node.args[1] if len(node.args) > 1 else Boolean(value=False)
    if not isinstance(first, String):
        unit.diagnostics.error("First argument to 'getopt' must be a string literal.", first.span)
        return
    if not isinstance(default, LITERALS):
        text = "Second argument to 'getopt' must be a string literal, integer literal, or a boolean literal."
        unit.diagnostics.error(text, default.span)
        return
    description = ""
    if len(node.args) == 3:
        if not isinstance(node.args[2], String):
            unit.diagnostics.error("Unknown function: 'getopt'", node.span)
            text = "Function 'getopt' requires the third parameter to be a string literal."
            unit.diagnostics.warning(text, node.args[2].span)
            return
        description = node.args[2].value.decode("utf-8", "surrogateescape")
    name = first.value.decode("utf-8", "surrogateescape")
    known = unit.named.setdefault(name, NamedParameter(name, default.value, description))
    if known.default != default.value or type(known.default) is not type(default.value):
        text = f"Command line option '{name}' needs to have the same default value in all places it is used. Previous default value: "
        unit.diagnostics.error(text + _shown(known.default), node.span)
    elif description and known.description and description != known.description:
        text = f"Command line option '{name}' must have the same description in all places it's used. Hint: You can wrap it in a macro"
        unit.diagnostics.error(text, node.span)
    known.description = known.description or description


def _shown(value: bool | int | bytes) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _assign(parameter: NamedParameter, given: str | None) -> None:
    """Take the value that the command line gives, or note what is wrong with it. A parameter that is only named is true."""
    default = parameter.default
    text = "true" if given is None else given
    if isinstance(default, bool):
        if text.lower() in TRUE or text.lower() in FALSE:
            parameter.value = text.lower() in TRUE
        else:
            parameter.mistake = f"expects a boolean (e.g. 'true') (value: {text})"
    elif given is None:
        parameter.mistake = f"expects {'a string' if isinstance(default, bytes) else 'an integer'} (value: true)"
    elif isinstance(default, bytes):
        parameter.value = text.encode("utf-8", "surrogateescape")
    else:
        _assign_number(parameter, text, default < 0)


def _assign_number(parameter: NamedParameter, text: str, signed: bool) -> None:
    try:
        value = number(text)
    except LiteralError as e:
        digits = text.removeprefix("-")[:1].isdecimal()
        reason = "value is out of range" if "overflow" in str(e) else "invalid trailing bytes" if digits else "invalid integer"
        parameter.mistake = f"{reason} (value: {text})"
        return
    low, high = RANGE[signed]
    if low <= value <= high:
        parameter.value = value if signed else value % (1 << 64)
    else:
        parameter.mistake = f"value is out of range (value: {text})"


def literal(unit: Unit, node: Call) -> Expr:
    """The value that a call of getopt() stands for, with the type of the call."""
    first = node.args[0]
    assert isinstance(first, String), "checked when the parameters were collected"
    value = unit.named[first.value.decode("utf-8", "surrogateescape")].value
    if isinstance(value, bool):
        return Boolean(value=value, type=node.type, span=node.span)
    if isinstance(value, bytes):
        return String(value=value, type=node.type, span=node.span)
    return Integer(value=value, flexible=False, type=node.type, span=node.span)
