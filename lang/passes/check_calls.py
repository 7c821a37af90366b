"""The checks of calls that need types: each argument against its parameter.

Most functions are checked by their entry in `lang.functions` alone. Where upstream words a refusal in its own way, `_REFUSALS` has the
text; where more is to be done, `check_functions` has a function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.lang import nodes as n
from pyprobe.lang.functions import FUNCTIONS
from pyprobe.lang.passes.casts import convert
from pyprobe.lang.passes.check_functions import FIRST, SPECIAL, expression
from pyprobe.lang.passes.infer import LIKE_ARGUMENT
from pyprobe.lang.passes.infer_calls import says_nothing
from pyprobe.lang.passes.infer_expressions import NOT_INDEXED
from pyprobe.lang.passes.walk import descend
from pyprobe.lang.promote import kind, wide
from pyprobe.lang.signatures import Param, Signature
from pyprobe.lang.typesys import HISTOGRAMS, NONE, SUMMARIES, Struct, Tuple, Type

if TYPE_CHECKING:
    from pyprobe.lang.passes.check import Checker

_NO_TEXT = "string-like values must be either strings, arrays or pointers"
_NEEDLE_FIRST = frozenset(("strstr", "strcontains"))
_ADDRESS_ONLY = "{name}() expects an integer or pointer argument"
_REFUSALS = {
    ("str", 0): "{name}() expects a string, integer or a pointer type as first argument ({type} provided)",
    ("buf", 0): "{name}() expects an integer, string, or array argument but saw {kind}",
    ("ksym", 0): _ADDRESS_ONLY,
    ("usym", 0): _ADDRESS_ONLY,
    ("join", 0): "() only supports int or pointer arguments ({kind} provided)",
    ("macaddr", 0): "{name}() only supports array or pointer arguments ({kind} provided)",
    ("bswap", 0): "{name}() only supports integer arguments ({kind} provided)",
    ("kptr", 0): "{name}() only supports integer or pointer arguments ({kind} provided)",
    ("uptr", 0): "{name}() only supports integer or pointer arguments ({kind} provided)",
    ("ntop", 0): "{name}() expects an integer or array argument, got {kind}",
    ("ntop", 1): "{name}() expects an integer or array argument, got {kind}",
    **{(name, position): _NO_TEXT for name in ("strlen", "strcap", "strstr", "strcontains", "str_concat") for position in (0, 1)},
    ("strstr", 1): NOT_INDEXED,
    ("strcontains", 1): NOT_INDEXED,
    ("cgroup_path", 1): "{name}() only supports string arguments ({kind} provided)",
    **dict.fromkeys((("strerror", 0), ("signal_name", 0), ("syscall_name", 0)), 'Cannot cast from "{type}" to "int32"'),
}
"""Own wordings for an argument of the wrong kind, by function and position."""


def call(check: Checker, node: n.Call) -> n.Expr:
    """Check a call and convert its arguments; the result may be something simpler."""
    if node.name == "nsecs":
        first = check.expr(expression(node, 0))
        check.error(f"nsecs() only supports timestamp_mode arguments ({kind(first.type)} provided)", node.span)
        return node
    signature = FUNCTIONS[node.name]
    types = [arg.type if isinstance(arg, n.Expr) else NONE for arg in node.args]
    if node.name in _BY_TYPE and NONE in types:
        check.silence(node)
        check.error("Unable to resolve comptime expression", node.span)
        return node
    if node.name in FIRST:
        for part in descend(node):
            if isinstance(part, n.Identifier):
                check.word(part)
        return FIRST[node.name](check, node)
    given = list(node.args)
    node.args = [
        check.expr(arg) if isinstance(arg, n.Expr) and not _is_whole_map(arg, position, signature) else arg
        for position, arg in enumerate(node.args)
    ]
    types = [NONE if isinstance(arg, n.Expr) and arg.type is NONE else t for arg, t in zip(node.args, types, strict=True)]
    if not _arguments(check, node, signature, given, types):
        if node.name in LIKE_ARGUMENT and NONE in types:
            node.type = NONE
        return node
    special = SPECIAL.get(node.name)
    return special(check, node, types) if special is not None else node


def _is_whole_map(arg: n.Node, position: int, signature: Signature) -> bool:
    return position == 0 and isinstance(arg, n.Map) and (signature.params[0].kinds[:1] == ("map",) or signature.name in ("print", "len"))


def _arguments(check: Checker, node: n.Call, signature: Signature, given: list[n.Expr | n.TypeSpec], types: list[Type]) -> bool:
    """Every argument against its parameter; False after an error."""
    good = True
    each = list(enumerate(zip(signature.params, given, types, strict=False)))
    for position, (param, arg, t) in reversed(each) if node.name in _NEEDLE_FIRST else each:
        message = _refusal(param, node.name, position, arg, t)
        if message:
            check.error(message, arg.span if "map" in param.kinds else node.span)
            good = False
            if node.name != "strftime":
                break
        elif isinstance(arg, n.Expr) and signature.mode == "aggregate" and not param.literal:
            node.args[position] = convert(expression(node, position), param.to or wide(t), None)
    return good


_BY_TYPE = frozenset({"strlen", "strcap", "len", "str_concat", "strcontains", "kfunc_exist", "kfunc_allowed"})
"""Library macros that choose by the types of their arguments."""
_SILENT = frozenset((*SUMMARIES, "bswap"))  # say nothing of a value without a type


def _refusal(param: Param, name: str, position: int, arg: n.Node, t: Type) -> str:
    """Why this argument cannot be there, or an empty string."""
    kinds = param.kinds
    if kinds[:1] == ("map",):
        if isinstance(arg, n.Map) or (name == "delete" and isinstance(arg, n.MapAccess)):
            return ""
        return f"{name}() expects a map argument"
    if "any" in kinds or "variable" in kinds or "type" in kinds or (t is NONE and name in _SILENT and not says_nothing(arg)):
        return ""
    if param.literal:
        if isinstance(arg, (n.Integer, n.String, n.Boolean)) and kind(arg.type) in kinds:
            return ""
        if name in HISTOGRAMS:
            return ""  # judged without types before
        text = _REFUSALS.get((name, position), "{name}() expects a {wanted} literal ({kind} provided)")
        return text.format(name=name, wanted=kinds[0], kind=kind(t))
    if kind(t) in kinds:
        return ""
    if isinstance(t, Struct) and name in ("strerror", "signal_name", "syscall_name"):
        return f'Cannot cast from C type "{t}"'
    if isinstance(t, Tuple) and name in _NEEDLE_FIRST:
        return _NO_TEXT
    text = _REFUSALS.get((name, position), f"{name}() only supports {' or '.join(kinds)} arguments ({{kind}} provided)")
    return text.format(name=name, kind=kind(t), type=t)
