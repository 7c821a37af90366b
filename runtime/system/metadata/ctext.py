"""BTF types written in C, as listings of probes show them: `struct file *`, `const enum hrtimer_mode`, `char[16]`."""

from __future__ import annotations

from pyprobe.runtime.system.metadata import btf as b
from pyprobe.runtime.system.metadata.btf import Btf

_TAGS = {b.STRUCT: "struct", b.UNION: "union", b.ENUM: "enum", b.ENUM64: "enum"}
_QUALIFIERS = {b.CONST: "const", b.VOLATILE: "volatile", b.RESTRICT: "restrict"}


def type_text(btf: Btf, number: int) -> str:
    """The type with this number in C."""
    if not number:
        return "void"
    record = btf.record(number)
    kind, name = record.kind, btf.text(record.name)
    if kind in _TAGS:
        return f"{_TAGS[kind]} {name or '(anonymous)'}"
    if kind == b.FWD:
        return f"{'union' if record.flag else 'struct'} {name}"
    if kind == b.PTR:
        return pointer_text(btf, record.size)
    if kind in _QUALIFIERS:
        target = btf.resolve(record.size, typedefs=False) if record.size else 0
        behind = bool(target) and btf.record(target).kind == b.PTR
        inner = type_text(btf, record.size)
        return f"{inner} {_QUALIFIERS[kind]}" if behind else f"{_QUALIFIERS[kind]} {inner}"
    if kind == b.TYPE_TAG:
        return type_text(btf, record.size)
    if kind == b.ARRAY:
        element, count = btf.array(number)
        return f"{type_text(btf, element)}[{count or ''}]"
    if kind == b.FUNC_PROTO:
        return function_text(btf, number, "")
    return name


def pointer_text(btf: Btf, target: int) -> str:
    """A pointer to a type."""
    if target and btf.record(target).kind == b.FUNC_PROTO:
        return function_text(btf, target, "(*)")
    text = type_text(btf, target)
    return f"{text}*" if text.endswith("*") else f"{text} *"


def function_text(btf: Btf, number: int, declarator: str) -> str:
    """A function type around its declarator."""
    parameters = ", ".join(type_text(btf, kind) if kind else "..." for _, kind in btf.parameters(number))
    return f"{type_text(btf, btf.record(number).size)} {declarator}({parameters or 'void'})"
