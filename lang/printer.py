"""The tree back to source text, in one canonical layout: two blanks a level, one statement a line, parentheses that show the structure.

Comments stay at the end of the line they followed, or on a line of their own before what they preceded; blank lines stay.
Parsing the result gives the tree again, whatever the tree; that rules some of the parentheses here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyprobe.lang import nodes as n
from pyprobe.lang.deep import with_room
from pyprobe.lang.lexer import is_builtin, type_end
from pyprobe.lang.literals import LiteralError, integer, string
from pyprobe.lang.source import Span

INDENT = "  "
BLANKS = " \t\r"  # what may stand at the end of a line without meaning anything
COMPARISONS = frozenset(["==", "!=", "<", "<=", ">", ">="])
LOGICAL = frozenset(["&&", "||"])
CONTINUES = tuple("-*&[+")  # a statement that begins so would go on with an expression that ended in a block before it


def print_script(script: n.Script) -> str:
    """The whole program as canonical text."""
    return with_room(script.levels, _Printer(script).script)


def show(node: n.Node) -> str:
    """One node as text, without the comments inside it."""
    return _Printer(None).any(node)


class _Printer:
    """Prints one script. `comments` are those not printed yet, the next one last."""

    def __init__(self, script: n.Script | None) -> None:
        self.tree = script
        self.text = script.span.source.text if script else ""
        self.comments = sorted(script.comments, reverse=True) if script else []
        self.last = 0  # the offset in the source up to which everything is printed

    # ---- layout: lines, comments, blank lines

    def script(self) -> str:
        tree = self.tree
        assert tree is not None  # the door above passes one
        lines: list[str] = []
        if head := self.text[: tree.c_section_start].strip():
            lines += head.split("\n")
        self.last = tree.c_section_start
        if tree.c_section.strip():
            leading = tree.c_section[: len(tree.c_section) - len(tree.c_section.lstrip())]
            end = tree.c_section_start + len(tree.c_section.rstrip())
            lines += self._blank_lines(leading)
            lines += self._finished(tree.c_section.strip().split("\n"), Span(tree.span.source, tree.c_section_start, end))
        parts: list[tuple[Span, Callable[[], list[str]]]] = []
        if tree.config is not None:
            parts.append((tree.config_span, lambda: self._config(tree.config or [])))
        parts += [(i.span, lambda i=i: [f"import {_quoted(i.path)};"]) for i in tree.imports]  # type: ignore[misc]  # mypy cannot infer a default's type
        parts.sort(key=lambda part: part[0].start)
        parts += [(i.span, lambda i=i: self.item(i)) for i in tree.items]  # type: ignore[misc]  # as above
        for span, lines_of in parts:
            lines += self._before(span)
            lines += self._finished(lines_of(), span)
        lines += self._comments_until(len(self.text) + 1)
        while lines and not lines[0]:
            del lines[0]
        return "\n".join(line.rstrip(BLANKS) for line in lines) + "\n" if lines else ""

    def _before(self, span: Span) -> list[str]:
        """The comments and blank lines of the source in front of a statement or item."""
        lines = self._comments_until(span.start)
        if span.source.text and span.start >= self.last:
            lines += self._blank_lines(self.text[self.last : span.start])
            self.last = span.start
        return lines

    def _blank_lines(self, gap: str) -> list[str]:
        """As many empty lines as the source has in a gap (which may still hold the `;` or `{` that was before)."""
        return [""] * (gap.count("\n") - 1)

    def _comments_until(self, offset: int) -> list[str]:
        """The comments that begin before an offset, each on a line of its own."""
        lines: list[str] = []
        while self.comments and self.comments[-1][0] < offset:
            start, text = self.comments.pop()
            if start >= self.last:
                lines += self._blank_lines(self.text[self.last : start])
                self.last = start + len(text)
            lines += _comment_lines(text)
        return lines

    def _finished(self, lines: list[str], span: Span) -> list[str]:
        """The lines of a statement with the comments inside it that no block printed, and those after it on its last line."""
        self.last = max(self.last, span.end)
        trailing: list[str] = []
        joins = False  # whether the first of them goes on the last line: one of several lines would not be found there again
        while self.comments:
            start, text = self.comments[-1]
            if start >= span.end:
                end_of_line = self.text.find("\n", start + len(text))
                after = self.text[start + len(text) : end_of_line if end_of_line >= 0 else len(self.text)]
                if self.text[span.end : start].strip(" \t;,/)") or after.strip() or "\n" in text.rstrip():
                    break
            self.comments.pop()
            self.last = max(self.last, start + len(text))
            joins = joins or (not trailing and "\n" not in text.rstrip())
            trailing += _comment_lines(text)
        if joins:
            return [*lines[:-1], f"{lines[-1]} {trailing[0]}", *trailing[1:]]
        return lines + trailing

    # ---- top level

    def _config(self, entries: list[n.ConfigEntry]) -> list[str]:
        lines = ["config = {"]
        for entry in entries:
            lines += _indented(self._before(entry.span))
            lines += _indented(self._finished([f"{entry.name} = {_setting(entry)};"], entry.span))
        return [*lines, *_indented(self._comments_until(self.tree.config_span.end if self.tree else 0)), "}"]

    def item(self, item: n.Item) -> list[str]:
        if isinstance(item, n.Probe):
            return [*self._head(item), *self._body(item.body, valueless=True)]
        if isinstance(item, n.Macro):
            parameters = ", ".join({"variable": "$"}.get(p.kind, "") + p.name for p in item.parameters)
            return [f"macro {item.name}({parameters})", *self._body(item.body)]
        if isinstance(item, n.Function):
            parameters = ", ".join(f"${p.name} : {self.type(p.spec)}" for p in item.parameters if p.spec)
            return [f"fn {item.name}({parameters}) : {self.type(item.result)}", *self._body(item.body)]
        if isinstance(item, n.MapDeclaration):
            return [f"let {item.map.name} = {item.kind}({item.capacity});"]
        raise TypeError(f"no item: {item!r}")

    def _head(self, probe: n.Probe) -> list[str]:
        """The attach points of a probe, a line each, and its predicate."""
        lines: list[str] = []
        for point in probe.points:
            comma = "," if point is not probe.points[-1] else ""
            lines += self._before(point.span)
            lines += self._finished([point.text + comma], point.span)
        if probe.predicate is not None:
            lines += self._before(probe.predicate.span)  # first: a block in the predicate prints what comments are left
            predicate = self.expr(probe.predicate)
            lines += self._comments_until(probe.predicate.span.end)
            lines += self._finished([f"/({predicate})/" if predicate.startswith("*") else f"/{predicate}/"], probe.predicate.span)
        return lines

    def _body(self, block: n.Block, valueless: bool = False) -> list[str]:
        inside = self._inside(block, valueless)
        return ["{", *_indented(inside), "}"] if inside else ["{}"]

    def _inside(self, block: n.Block, valueless: bool) -> list[str]:
        """The statements of a block, its result and its comments, a line each. `valueless`: nothing could take the value of this block."""
        lines: list[str] = []
        pending = False  # whether the statement before ended in a block and without a `;`
        if block.span.source.text:
            self.last = max(self.last, block.span.start + 1)
        everything: list[n.Node] = [*block.statements, *([block.result] if block.result is not None else [])]
        for statement in everything:
            before = self._before(statement.span)
            if isinstance(statement, n.Statement):
                own, needs = self.statement(statement, valueless and statement is everything[-1])
            else:
                own, needs = self.any(statement).split("\n"), False
            if pending and own[0].startswith(CONTINUES):
                lines[-1] += ";"
            pending = needs
            if needs and statement is everything[-1] and not valueless:
                own[-1] += ";"  # else it would be the value of the block
            lines += before + self._finished(own, statement.span)
        return lines + self._comments_until(block.span.end)

    def _block(self, block: n.Block, valueless: bool = False) -> str:
        """A block inside a line: `{}`, `{ result }`, or over several lines."""
        if not block.statements and not (self.comments and self.comments[-1][0] < block.span.end):
            if block.result is None:
                return "{}"
            result = self.expr(block.result)
            if "\n" not in result and not result.startswith("if "):
                return f"{{ {result} }}"
            return "\n".join(["{", *_indented(result.split("\n")), "}"])
        return "\n".join(self._body(block, valueless))

    # ---- statements

    def statement(self, s: n.Statement, valueless: bool = False) -> tuple[list[str], bool]:
        """The lines of a statement, and whether it ended in a block and without a `;`."""
        match s:
            case n.ExprStatement(expr=n.If() as expr):
                return self._if(expr, self._branch, valueless).split("\n"), True
            case n.ExprStatement(expr=n.Block() as expr):
                return self._block(expr, valueless).split("\n"), True
            case n.ExprStatement():
                text = self.expr(s.expr) + ";"
            case n.Assign():
                text = f"{self.expr(s.target)} {s.op}= {self.expr(s.value)};"
            case n.Discard():
                text = f"_ = {self.expr(s.value)};"
            case n.Let():
                spec = f" : {self.type(s.spec)}" if s.spec else ""
                value = f" = {self.expr(s.value)}" if s.value is not None else ""
                text = f"let ${s.variable.name}{spec}{value};"
            case n.Jump():
                text = s.kind + (f" {self.expr(s.value)}" if s.value is not None else "") + ";"
            case n.ImportStatement():
                text = f"import {_quoted(s.path)};"
            case n.While():
                text = f"while {self._condition(s.condition)} {self._branch(s.body, True)}"
            case n.Unroll():
                text = f"unroll ({self.expr(s.count)}) {self._branch(s.body, True)}"
            case n.ForRange():
                text = f"for ${s.variable.name} : {self._bound(s.start)}..{self._bound(s.end)} {self._branch(s.body, True)}"
            case n.ForMap():
                text = f"for ${s.variable.name} : {s.map.name} {self._branch(s.body, True)}"
            case _:
                raise TypeError(f"no statement: {s!r}")
        return text.split("\n"), False

    def _condition(self, e: n.Expr) -> str:
        """A condition: in parentheses unless it is a primary or postfix expression that could not be misread."""
        text = self.expr(e)
        plain = isinstance(e, (*_TIGHT, n.Comptime)) and not text.startswith("(")
        return text if plain else f"({text})"

    def _bound(self, e: n.Expr) -> str:
        text = self.expr(e)
        return text if isinstance(e, _PRIMARY) and not text.startswith("-") else f"({text})"

    # ---- expressions

    def expr(self, e: n.Expr | n.TypeSpec) -> str:
        return _EXPRESSIONS[type(e)](self, e)

    def _operand(self, e: n.Expr, *plain: type[n.Node]) -> str:
        """An operand: in parentheses unless it is a primary or postfix expression or of the `plain` kinds."""
        text = self.expr(e)
        return text if isinstance(e, _TIGHT + plain) and not text.startswith("-") else f"({text})"

    def type(self, t: n.TypeSpec) -> str:
        match t:
            case n.NamedType():
                return t.name if t.size is None else f"{t.name}[{t.size}]"
            case n.PointerType():
                return self.type(t.to) + "*"
            case n.ArrayType():
                return f"{self.type(t.element)}[{'' if t.count is None else t.count}]"
            case n.TypeOf():
                return f"typeof({self._type_operand(t.operand)})"
            case _:
                raise TypeError(f"no type: {t!r}")

    def any(self, node: n.Node) -> str:
        """Any node as text."""
        if isinstance(node, n.TypeSpec):
            return self.type(node)
        if isinstance(node, n.Statement):
            return "\n".join(self.statement(node)[0])
        return "\n".join(self.item(node)) if isinstance(node, n.Item) else self.expr(node)  # type: ignore[arg-type]  # what is left is an expression

    def _type_operand(self, e: n.Expr | n.TypeSpec) -> str:
        """What stands in sizeof() and its like: an expression that reads like a type gets parentheses."""
        if isinstance(e, n.TypeSpec):
            return self.type(e)
        text = self.expr(e)
        return f"({text})" if type_end(text, 0) == len(text) else text

    def _key(self, key: n.Expr) -> str:
        if isinstance(key, n.Tuple) and len(key.items) > 1:
            return ", ".join(self.expr(item) for item in key.items)
        return self.expr(key)

    def _index(self, e: n.Index) -> str:
        base = self._operand(e.base)
        like_type = isinstance(e.base, n.TypeOf) or (isinstance(e.base, n.Identifier) and not is_builtin(e.base.name))
        if isinstance(e.base, n.Map) or like_type:
            base = f"({base})"  # `@a[i]` is an element of the map, and `(name[` begins a type
        return f"{base}[{self.expr(e.index)}]"

    def _binary(self, e: n.Binary) -> str:
        sides = []
        for side in (e.left, e.right):
            chained = side is e.left and e.op in LOGICAL | COMPARISONS
            plain = isinstance(side, n.Binary) and ((e.op in LOGICAL and side.op in COMPARISONS) or (chained and side.op == e.op))
            sides.append(self.expr(side) if plain else self._operand(side))
        return f"{sides[0]} {e.op} {sides[1]}"

    def _ternary(self, e: n.Ternary) -> str:
        condition, orelse = self._operand(e.condition, *_SIMPLE), self._operand(e.orelse, *_SIMPLE)
        if e.then is None:
            return f"{condition} ?: {orelse}"
        return f"{condition} ? {self._operand(e.then, *_SIMPLE)} : {orelse}"

    def _if(self, e: n.If, branch: Callable[[n.Block, bool], str], valueless: bool = False) -> str:
        condition = f"comptime {self._operand(e.condition, n.Comptime)}" if e.comptime else self._condition(e.condition)
        text = f"if {condition} {branch(e.then, valueless)}"
        if e.orelse is None:
            return text
        chained: n.Node | None = e.orelse.result if not e.orelse.statements else None
        if isinstance(chained, n.If):
            return f"{text} else {self._if(chained, branch, valueless)}"
        alone = len(e.orelse.statements) == 1 and e.orelse.result is None  # an `if` alone needs its `;`, else it would be an `else if`
        return f"{text} else {branch(e.orelse, valueless and not alone)}"

    def _branch(self, block: n.Block, valueless: bool = False) -> str:
        """A block of a statement: always over several lines unless it is empty."""
        return "\n".join(self._body(block, valueless))

    def _tuple(self, e: n.Tuple) -> str:
        return f"({self.expr(e.items[0])},)" if len(e.items) == 1 else f"({', '.join(self.expr(i) for i in e.items)})"

    def _record(self, e: n.Record) -> str:
        return f"({', '.join(f'{name}={self.expr(value)}' for name, value in e.items)})"


def _indented(lines: list[str]) -> list[str]:
    return [INDENT + line if line else line for line in lines]


def _comment_lines(text: str) -> list[str]:
    """The lines of a comment, those after the first at the left edge (with the usual blank before a `*`)."""
    first, *others = (line.strip() for line in text.rstrip().split("\n"))
    return [first, *(f" {line}" if line.startswith("*") else line for line in others)]


def _integer(e: n.Integer) -> str:
    """The literal as it was written, when it was."""
    text = e.span.text
    try:
        return text if text and integer(text) == e.value else str(e.value)
    except LiteralError:
        return str(e.value)


def _string(e: n.String) -> str:
    text = e.span.text
    try:
        return text if text[:1] == '"' and string(text) == e.value else _quoted_bytes(e.value)
    except LiteralError:
        return _quoted_bytes(e.value)


_ESCAPED = {ord("\n"): "\\n", ord("\t"): "\\t", ord("\r"): "\\r", ord('"'): '\\"', ord("\\"): "\\\\"}


def _quoted_bytes(data: bytes) -> str:
    return '"' + "".join(_ESCAPED.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in data) + '"'


def _quoted(text: str) -> str:
    return _quoted_bytes(text.encode("utf-8", "surrogateescape"))


def _setting(entry: n.ConfigEntry) -> str:
    if isinstance(entry.value, bool):
        return "true" if entry.value else "false"
    return _quoted(str(entry.value)) if entry.is_string else str(entry.value)


# Kinds of expressions by how tightly they hold together.
_PRIMARY: tuple[type[n.Node], ...] = (
    n.Integer,
    n.String,
    n.Boolean,
    n.Positional,
    n.PositionalCount,
    n.Identifier,
    n.Builtin,
    n.EnumConstant,
    n.Variable,
    n.Map,
    n.MapAccess,
    n.Call,
    n.SizeOf,
    n.OffsetOf,
    n.TypeInfo,
    n.Tuple,
    n.Record,
)
_TIGHT: tuple[type[n.Node], ...] = (*_PRIMARY, n.FieldAccess, n.TupleAccess, n.Index, n.TypeOf)
_SIMPLE = (n.Binary, n.Unary, n.Cast, n.Increment, n.Comptime, n.Block)


def _builtin(p: _Printer, e: n.Builtin) -> str:
    if e.name in ("arg", "sarg"):
        return e.name + "".join(str(a) for a in e.args)
    return f"{e.name}({', '.join(str(a) for a in e.args)})" if e.args else e.name


_EXPRESSIONS: dict[type, Callable[[_Printer, Any], str]] = {
    n.Integer: lambda p, e: _integer(e),
    n.String: lambda p, e: _string(e),
    n.Boolean: lambda p, e: "true" if e.value else "false",
    n.Positional: lambda p, e: f"${e.index}",
    n.PositionalCount: lambda p, e: "$#",
    n.Identifier: lambda p, e: e.name,
    n.Builtin: _builtin,
    n.EnumConstant: lambda p, e: e.name,
    n.Variable: lambda p, e: f"${e.name}",
    n.Map: lambda p, e: e.name,
    n.MapAccess: lambda p, e: f"{e.map.name}[{p._key(e.key)}]",
    n.Unary: lambda p, e: e.op + p._operand(e.operand),
    n.Increment: lambda p, e: e.op + p.expr(e.target) if e.prefix else p.expr(e.target) + e.op,
    n.Binary: lambda p, e: p._binary(e),
    n.Ternary: lambda p, e: p._ternary(e),
    n.FieldAccess: lambda p, e: f"{p._operand(e.base)}.{e.field}",
    n.TupleAccess: lambda p, e: f"{p._operand(e.base)}.{e.index}",
    n.Index: lambda p, e: p._index(e),
    n.Cast: lambda p, e: f"({p.type(e.spec) if e.spec else e.type}){p._operand(e.operand)}",
    n.Tuple: lambda p, e: p._tuple(e),
    n.Record: lambda p, e: p._record(e),
    n.Call: lambda p, e: f"{e.name}({', '.join(p.expr(a) for a in e.args)})",
    n.SizeOf: lambda p, e: f"sizeof({p._type_operand(e.operand)})",
    n.OffsetOf: lambda p, e: f"offsetof({p._type_operand(e.operand)}, {'.'.join(e.path)})",
    n.TypeInfo: lambda p, e: f"typeinfo({p._type_operand(e.operand)})",
    n.Comptime: lambda p, e: f"comptime {p._operand(e.operand, n.Comptime, n.Unary)}",
    n.If: lambda p, e: p._if(e, p._block),
    n.Block: lambda p, e: p._block(e),
    n.NamedType: lambda p, e: p.type(e),
    n.PointerType: lambda p, e: p.type(e),
    n.ArrayType: lambda p, e: p.type(e),
    n.TypeOf: lambda p, e: p.type(e),
}
