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


def definition_text(btf: Btf, number: int) -> str:
    """A struct, union or enum as C defines it: members one a line, those of anonymous ones deeper."""
    return f"{body_text(btf, number, 0)};"


def body_text(btf: Btf, number: int, depth: int) -> str:
    """The definition of a struct, union or enum inside of `depth` others, from its keyword to its brace."""
    record = btf.record(number)
    head = f"{_TAGS[record.kind]} {btf.text(record.name)}".rstrip()
    indent = "\t" * depth
    if record.kind in (b.ENUM, b.ENUM64):
        lines = [f"{name} = {value}," for name, value in btf.constants(number)]
    else:
        lines = [member_text(btf, m, depth + 1) for m in btf.members(number)]
    return f"{head} {{\n" + "".join(f"{indent}\t{line}\n" for line in lines) + f"{indent}}}"


def member_text(btf: Btf, member: b.Member, depth: int) -> str:
    """The declaration of a member."""
    width = f": {member.width}" if member.width else ""
    return f"{declared_text(btf, member.type, member.name, depth)}{width};"


def declared_text(btf: Btf, number: int, declarator: str, depth: int) -> str:
    """A type around its declarator: `char comm[16]`, `struct file *f_op`, `void (*fn)(int)`."""
    if not number:
        return f"void {declarator}".rstrip()
    record = btf.record(number)
    if record.kind == b.ARRAY:
        element, count = btf.array(number)
        return declared_text(btf, element, f"{declarator}[{count}]", depth)
    if record.kind == b.PTR and not (record.size and btf.record(record.size).kind in (b.FUNC_PROTO, b.ARRAY)):
        return declared_text(btf, record.size, f"*{declarator}", depth)
    if record.kind == b.PTR:
        return declared_text(btf, record.size, f"(*{declarator})", depth)
    if record.kind == b.FUNC_PROTO:
        return function_text(btf, number, declarator)
    if record.kind in _TAGS and not btf.text(record.name):
        return f"{body_text(btf, number, depth)} {declarator}".rstrip()
    return f"{type_text(btf, number)} {declarator}".rstrip()
