"""Conversions that the language makes by itself, written into the tree: as a literal of the other type, or as a Cast without a spec."""

from __future__ import annotations

from pyprobe.lang import nodes as n
from pyprobe.lang.diagnostics import Diagnostic, Diagnostics
from pyprobe.lang.promote import holds, settle, wide
from pyprobe.lang.typesys import NONE, Aggregate, Enum, Flexible, Integer, Pointer, Record, String, Tuple, Type

_COMPOUND = (Flexible, Tuple, Record, Pointer)


def final(t: Type) -> Type:
    """The type as the runtime sees it: no flexible literals, and aggregations inside a tuple are their current value."""
    return _current(settle(t)) if isinstance(t, _COMPOUND) else t


def _current(t: Type) -> Type:
    """A type with aggregations inside tuples as their current value."""
    if isinstance(t, Tuple):
        elements = tuple(readable(_current(e)) for e in t.elements)
        return t if all(new is old for new, old in zip(elements, t.elements, strict=True)) else Tuple(elements)
    if isinstance(t, Record):
        fields = tuple((name, readable(_current(e))) for name, e in t.fields)
        return t if all(new is old for (_, new), (_, old) in zip(fields, t.fields, strict=True)) else Record(fields)
    return t


def readable(t: Type) -> Type:
    """What reading a map value gives: an aggregation that can be read is an integer."""
    return wide(t) if isinstance(t, Aggregate) and t.castable else t


def convert(node: n.Expr, to: Type, diagnostics: Diagnostics | None, source: Type = NONE) -> n.Expr:
    """The expression with its value converted to type `to` (a final one). Warns where an integer may change; no warning without
    diagnostics, nor where `source` (the type as inferred) was that of a literal whose sign may adapt, or of an aggregation."""
    t = node.type
    if isinstance(to, Enum) and t != to and diagnostics is not None:
        message = no_variant(to, node.value if isinstance(node, n.Integer) else -1)
        if message:
            diagnostics.error(message, node.span)
            return node
    if isinstance(source, Aggregate) or (isinstance(source, Flexible) and to.size >= t.size):
        diagnostics = None
    if t is to or to is NONE:
        return node
    if isinstance(to, Integer) and isinstance(node, n.Integer):
        if diagnostics is not None and not node.flexible and not holds(to, t):
            _warn(node, t, to, diagnostics)
        node.value = to.wrap(node.value)
        node.type = to
        return node
    if isinstance(to, String) and isinstance(node, n.String):
        node.type = to
        return node
    if isinstance(to, Tuple) and isinstance(node, n.Tuple) and len(node.items) == len(to.elements):
        node.items = [convert(item, e, diagnostics) for item, e in zip(node.items, to.elements, strict=True)]
        node.type = to
        return node
    if isinstance(to, Record) and isinstance(node, n.Record) and [name for name, _ in node.items] == [name for name, _ in to.fields]:
        node.items = [(name, convert(item, e, diagnostics)) for (name, item), (_, e) in zip(node.items, to.fields, strict=True)]
        node.type = to
        return node
    if t == to:
        return node
    if isinstance(to, (Integer, Enum)) and isinstance(t, (Integer, Enum)) and diagnostics is not None and not holds(to, t):
        _warn(node, t, to, diagnostics)
    return n.Cast(spec=None, operand=node, type=to, span=node.span)


def no_variant(to: Enum, number: int) -> str:
    """Why a value cannot become an enum: a message or an empty string. `number` is that of a literal, negative for other values."""
    if not to.names:
        return f"Unknown enum: {to.name}"
    return f"Enum: {to.name} doesn't contain a variant value of {number}" if number >= 0 and number not in to.names else ""


_CONVERTED = "Expression of type: "


def warns_of_conversion(diagnostic: Diagnostic) -> bool:
    """Whether a diagnostic is about a conversion that the language makes by itself."""
    return diagnostic.severity == "warning" and diagnostic.message.startswith(_CONVERTED)


def _warn(node: n.Expr, t: Type, to: Type, diagnostics: Diagnostics) -> None:
    diagnostics.warning(
        f"{_CONVERTED}{t} being cast to type: {to}. This may cause unexpected results. "
        "Use an explicit cast to suppress this warning.",
        node.span,
    )
