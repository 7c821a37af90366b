"""Operators, literals, variables, tuples, casts and the other expressions that touch neither maps nor memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyprobe.lang import nodes
from pyprobe.lang.typesys import (
    BOOL,
    CGROUP_PATH,
    KSYM,
    USERNAME,
    Array,
    Enum,
    Integer,
    Pointer,
    Record,
    String,
    Tuple,
    Type,
)
from pyprobe.runtime.handlers import arithmetic, calls, mapaccess, memory
from pyprobe.runtime.handlers.arithmetic import fit, fit_type, limits, unsigned
from pyprobe.runtime.handlers.compiler import Compiler, bare, operand, placed
from pyprobe.runtime.handlers.emitter import Code, number

DIVISION_BY_ZERO = "Divide or modulo by 0 detected. This can lead to unexpected results. 1 is being used as the result."


def _typed(text: str, t: Type, *, stable: bool = False, depth: int = 0) -> Code:
    low, high = limits(t)
    return Code(text, low, high, stable=stable, depth=depth)


# ---- literals and names


def _integer(c: Compiler, node: nodes.Integer) -> Code:
    return number(node.value)


def _string(c: Compiler, node: nodes.String) -> Code:
    return c.constant(node.value.split(b"\0", 1)[0], "text")


def _boolean(c: Compiler, node: nodes.Boolean) -> Code:
    return c.constant(node.value)


def _enum_constant(c: Compiler, node: nodes.EnumConstant) -> Code:
    return number(node.value)


def _variable(c: Compiler, node: nodes.Variable) -> Code:
    return _typed(c.variable(node), node.type)


def _builtin(c: Compiler, node: nodes.Builtin) -> Code:
    own = calls.BUILTINS.get(node.name)
    if own is not None:
        return own(c, node)
    if node.name == "args" and not node.args and isinstance(node.type, Record):
        fields = [c.event(node.span, "args", name) for name, _ in node.type.fields]
        return Code(f"({', '.join(fields)}{',' if len(fields) == 1 else ''})")
    return _typed(c.event(node.span, node.name, *node.args), node.type)


# ---- operators


def _unary(c: Compiler, node: nodes.Unary) -> Code:
    if node.op == "*":
        return memory.dereference(c, node)
    if node.op == "&":
        return _address(c, node.operand)
    if node.op == "!":
        return Code(f"(not {truth(c, node.operand).text})", 0, 1)
    a = c.expr(node.operand)
    given = node.operand.type
    low, high = arithmetic.bounds(a)
    if node.op == "-":
        code = Code(f"(-{a.text})", -high, -low, depth=a.depth + 1)
    else:
        code = Code(f"(~{a.text})", -high - 1, -low - 1, depth=a.depth + 1)
    if isinstance(given, Integer) and not given.signed:
        code = fit(code, given.size, False)  # narrow unsigned operands keep their width
    return fit_type(code, node.type)


def _address(c: Compiler, node: nodes.Expr) -> Code:
    """Where a scratch variable lies. Those of maps have no place; `*&@m` is understood where it is read."""
    if not isinstance(node, nodes.Variable):
        return number(0)
    return number(next(place for place, known in c.addressed() if (known.name, known.slot) == (node.name, node.slot)))


def _increment(c: Compiler, node: nodes.Increment) -> Code:
    if isinstance(node.target, nodes.Variable):
        name = c.variable(node.target)
        old = c.keep(Code(f"{name}")) if not node.prefix else None
        c.emitter.emit(f"{name} = {bare(step(node, _variable(c, node.target)).text)}")
        if old is not None:
            return _typed(old.text, node.target.type, stable=True)
        return _typed(name, node.target.type)
    return mapaccess.increment(c, node)


def step(node: nodes.Increment, old: Code) -> Code:
    """The value after `++` or `--`; pointers move by the size of what they point to."""
    t = node.target.type
    by = max(1, t.to.size) if isinstance(t, Pointer) else 1
    return arithmetic.step(node.op, old, t if isinstance(t, (Integer, Pointer, Enum)) else node.type, by)


def _binary(c: Compiler, node: nodes.Binary) -> Code:
    op = node.op
    if op in ("&&", "||"):
        return _logical(c, node, boolean)
    if op in arithmetic.COMPARISONS:
        a, b = c.operands([node.left, node.right])
        return Code(f"({a.text} {op} {b.text})", 0, 1, depth=max(a.depth, b.depth) + 1)
    if isinstance(node.type, Pointer):
        return _pointer_arithmetic(c, node, node.type)
    a, b = c.operands([node.left, node.right])
    code = _divide(c, node, a, b) if op in "/%" else arithmetic.BINARY[op](a, b)
    if node.type is BOOL:
        return Code(f"({code.text} != 0)", 0, 1, depth=code.depth + 1)
    return fit_type(code, node.type)


def _divide(c: Compiler, node: nodes.Binary, a: Code, b: Code) -> Code:
    a, b = unsigned(a), unsigned(b)
    operation = arithmetic.divide if node.op == "/" else arithmetic.remainder
    low = b.low if b.low is not None else 0
    if low > 0:
        return operation(a, b)
    if not b.stable and not b.text.isidentifier():
        a = c.keep(a)
        b = c.keep(b)
    code = operation(a, b)
    fail = c.runtime_error(node.span, DIVISION_BY_ZERO, 1)
    return Code(f"({bare(code.text)} if {b.text} else {fail}())", 0, max(1, arithmetic.bounds(code)[1]), depth=code.depth + 1)


def _pointer_arithmetic(c: Compiler, node: nodes.Binary, t: Pointer) -> Code:
    a, b = c.operands([node.left, node.right])
    size = number(max(1, t.to.size))
    if isinstance(node.left.type, Pointer):
        b = arithmetic.multiply(b, size) if size.constant != 1 else b
    else:
        a = arithmetic.multiply(a, size) if size.constant != 1 else a
    return unsigned(arithmetic.BINARY[node.op](a, b))


def _logical(c: Compiler, node: nodes.Binary, operand: Callable[[Compiler, nodes.Expr], Code]) -> Code:
    """Short-circuit: the statements that an operand needs run only when it is evaluated. A chain of one operator stays flat."""
    items: list[nodes.Expr] = [node.right]
    left = node.left
    while isinstance(left, nodes.Binary) and left.op == node.op:
        items.append(left.right)
        left = left.left
    word = "and" if node.op == "&&" else "or"
    known = [operand(c, left)]
    for item in reversed(items):
        mark = len(c.emitter.lines)
        code = operand(c, item)
        if len(c.emitter.lines) == mark:
            known.append(code)
            continue
        name = c.emitter.temporary()
        _indent_from(c, mark, [f"{name} = {bare(_joined(known, word).text)}", f"if {name}:" if word == "and" else f"if not {name}:"])
        c.emitter.emit(f"    {name} = {bare(code.text)}")
        known = [Code(name, 0, 1, stable=True)]
    return _joined(known, word)


def _joined(codes: list[Code], word: str) -> Code:
    if len(codes) == 1:
        return codes[0]
    return Code(f"({f' {word} '.join(code.text for code in codes)})", 0, 1, depth=max(code.depth for code in codes) + 1)


def _indent_from(c: Compiler, mark: int, before: list[str]) -> None:
    """Push the lines emitted since `mark` one level in, below the given lines."""
    lines = c.emitter.lines
    lines[mark:] = ["    " + line for line in lines[mark:]]
    for i, text in enumerate(before):
        c.emitter.insert(mark + i, text)


def truth(c: Compiler, node: nodes.Expr) -> Code:
    """An expression whose Python truth is the language's."""
    if isinstance(node, nodes.Binary) and node.op in ("&&", "||"):
        return _logical(c, node, truth)
    return c.expr(node)


def boolean(c: Compiler, node: nodes.Expr) -> Code:
    """A proper bool."""
    code = c.expr(node)
    return code if node.type is BOOL else Code(f"({code.text} != 0)", 0, 1, depth=code.depth + 1)


LONG_CHAIN = 20  # choices of `a ? b : c ? d : ...`, which Python's expressions cannot nest at will


def _ternary(c: Compiler, node: nodes.Ternary) -> Code:
    choices = _choices(node)
    if len(choices) > LONG_CHAIN:
        return _if(c, _as_if(choices))
    condition = c.keep(c.expr(node.condition)) if node.then is None else truth(c, node.condition)
    lines = c.emitter.lines
    start = len(lines)
    a = condition if node.then is None else c.expr(node.then)
    middle = len(lines)
    b = c.expr(node.orelse)
    void = node.type.size == 0
    low, high = limits(node.type)
    if len(lines) == start and not void:
        return Code(f"({a.text} if {condition.text} else {b.text})", low, high, depth=max(a.depth, b.depth, condition.depth) + 1)
    # A branch needs statements: make an if of it. The lines that the branches emitted are moved in, last branch first.
    name = c.emitter.temporary()
    _finish_branch(c, b, name, void)
    _indent_from(c, middle, ["else:"])
    c.emitter.insert(middle, "    pass" if void else f"    {name} = {bare(a.text)}")
    lines[start:middle] = ["    " + line for line in lines[start:middle]]
    c.emitter.insert(start, f"if {bare(condition.text)}:")
    return Code("None" if void else name, low, high, stable=True)


def _choices(node: nodes.Ternary) -> list[nodes.Ternary]:
    """The ternary, the one that is its last operand, that one's, and so on."""
    found = [node]
    while isinstance(node.orelse, nodes.Ternary) and node.orelse.then is not None and node.then is not None:
        node = node.orelse
        found.append(node)
    return found


def _as_if(choices: list[nodes.Ternary]) -> nodes.If:
    """A chain of ternaries as one of `else if`."""
    rest = choices[-1].orelse
    for choice in reversed(choices):
        then, orelse = (nodes.Block(statements=[], result=e, type=choice.type, span=choice.span) for e in (choice.then, rest))
        rest = nodes.If(condition=choice.condition, then=then, orelse=orelse, type=choice.type, span=choice.span)
    assert isinstance(rest, nodes.If)
    return rest


def _finish_branch(c: Compiler, value: Code, name: str, void: bool) -> None:
    c.emitter.emit("pass" if void else f"{name} = {bare(value.text)}")


# ---- aggregates of values


def _tuple(c: Compiler, node: nodes.Tuple) -> Code:
    return make_tuple(c.operands(node.items))


def make_tuple(codes: list[Code]) -> Code:
    stable = all(code.stable for code in codes)
    depth = max((code.depth for code in codes), default=0) + 1
    return Code(f"({', '.join(bare(code.text) for code in codes)}{',' if len(codes) == 1 else ''})", stable=stable, depth=depth)


def _record(c: Compiler, node: nodes.Record) -> Code:
    codes = c.operands([value for _, value in node.items])
    if isinstance(node.type, Record):
        wanted = [name for name, _ in node.type.fields]
        given = [name for name, _ in node.items]
        if wanted != given and sorted(wanted) == sorted(given):
            codes = [c.keep(code) for code in codes]
            codes = [codes[given.index(name)] for name in wanted]
    return make_tuple(codes)


def _tuple_access(c: Compiler, node: nodes.TupleAccess) -> Code:
    base = c.expr(node.base)
    return _typed(f"{base.text}[{node.index}]", node.type, depth=base.depth)


# ---- blocks


def _if(c: Compiler, node: nodes.If) -> Code:
    valued = node.type.size > 0 and node.then.result is not None
    name = c.emitter.temporary() if valued else ""
    with c.emitter.block(f"if {c.condition(node.condition)}:"):
        _into(c, node.then, name)
    rest, levels, span = node.orelse, 0, c.emitter.span
    while rest is not None:
        following = _else_if(rest, name)
        if following is None:
            with c.emitter.block("else:"):
                _into(c, rest, name)
            break
        at = len(c.emitter.lines)
        c.emitter.span = following.span
        condition = c.condition(following.condition)
        if len(c.emitter.lines) > at:  # the condition needs statements of its own, so there is no place for an elif
            c.emitter.indent_from(at, "else:")
            levels += 1
        with c.emitter.block(f"{'if' if len(c.emitter.lines) > at else 'elif'} {condition}:"):
            _into(c, following.then, name)
        rest = following.orelse
    c.emitter.indent -= levels
    c.emitter.span = span
    return _typed(name or "None", node.type, stable=True)


def _else_if(block: nodes.Block, name: str) -> nodes.If | None:
    """The `if` that is all of a block, whose value goes where the block's goes: long chains of them stay as deep as one."""
    if not block.statements and isinstance(block.result, nodes.If):
        return block.result
    if block.result is None and len(block.statements) == 1 and not name:
        (only,) = block.statements
        if isinstance(only, nodes.ExprStatement) and isinstance(only.expr, nodes.If):
            return only.expr
    return None


def _into(c: Compiler, block: nodes.Block, name: str) -> None:
    c.statements(block.statements)
    if block.result is not None:
        code = c.expr(block.result)
        c.emitter.emit(f"{name} = {bare(code.text)}" if name else bare(code.text))


def _block(c: Compiler, node: nodes.Block) -> Code:
    c.statements(node.statements)
    if node.result is None:
        return Code("None", stable=True)
    code = c.expr(node.result)
    return c.keep(code)


# ---- casts


def _cast(c: Compiler, node: nodes.Cast) -> Code:
    if isinstance(node.operand, nodes.Tuple) and isinstance(node.type, Tuple):
        items = zip(node.operand.items, node.type.elements, strict=True)
        return make_tuple(c.operands([placed(nodes.Cast(spec=None, operand=i, type=t), i.span) for i, t in items]))
    return convert(c, c.expr(node.operand), node.operand.type, node.type)


def convert(c: Compiler, code: Code, source: Type, target: Type) -> Code:
    """A value of one type as one of another."""
    if source == target:
        return code
    if target is BOOL:
        if isinstance(source, String):
            return Code(f"({code.text} != b'')", 0, 1, depth=code.depth + 1)
        return Code(f"({code.text} != 0)", 0, 1, depth=code.depth + 1)
    if isinstance(target, (Integer, Enum)):
        if isinstance(source, (Array, String)):
            data = c.keep(code)
            return fit_type(_typed(f"{c.bind(int.from_bytes, 'int_from')}({data.text}, 'little')", UNSIGNED[target.size]), target)
        return fit_type(code, target)
    if isinstance(target, Pointer):
        if isinstance(source, Integer):
            return fit(code, source.size, False)
        if isinstance(source, (Enum, Pointer)) or source in (BOOL, KSYM, USERNAME, CGROUP_PATH):
            return code
        return Code(f"({bare(code.text)}, 0)[1]", depth=code.depth + 1)  # it lies nowhere in memory
    if isinstance(target, Array):
        if isinstance(source, String):
            return Code(f"{code.text}.ljust({target.size}, b'\\0')[:{target.size}]", depth=code.depth)
        if isinstance(source, Array):
            return code
        bits = operand(fit(code, min(source.size, target.size), False).text)  # what the array has more is zero
        return Code(f"{bits}.to_bytes({target.size}, 'little')", depth=code.depth + 1)
    if isinstance(target, String) and isinstance(source, String) and target.size < source.size:
        return Code(f"{code.text}[:{target.size}]", depth=code.depth)
    if isinstance(target, (Tuple, Record)) and isinstance(source, (Tuple, Record)):
        return _convert_elements(c, code, source, target)
    return code


def _convert_elements(c: Compiler, code: Code, source: Tuple | Record, target: Tuple | Record) -> Code:
    before, after = elements(source), elements(target)
    order = list(range(len(before)))
    if isinstance(source, Record) and isinstance(target, Record):
        names = [name for name, _ in source.fields]
        order = [names.index(name) for name, _ in target.fields]
    value = c.keep(code)
    parts = [convert(c, _typed(f"{value.text}[{i}]", before[i]), before[i], t) for i, t in zip(order, after, strict=True)]
    if all(part.text == f"{value.text}[{i}]" for i, part in enumerate(parts)):
        return value
    return make_tuple(parts)


def elements(t: Tuple | Record) -> tuple[Type, ...]:
    return t.elements if isinstance(t, Tuple) else tuple(e for _, e in t.fields)


UNSIGNED = {size: Integer(size, False) for size in (1, 2, 4, 8)}


EXPRESSIONS: dict[type[nodes.Expr], Callable[[Compiler, Any], Code]] = {
    nodes.Integer: _integer,
    nodes.String: _string,
    nodes.Boolean: _boolean,
    nodes.EnumConstant: _enum_constant,
    nodes.Builtin: _builtin,
    nodes.Variable: _variable,
    nodes.Map: mapaccess.read_scalar,
    nodes.MapAccess: mapaccess.read_element,
    nodes.Unary: _unary,
    nodes.Increment: _increment,
    nodes.Binary: _binary,
    nodes.Ternary: _ternary,
    nodes.FieldAccess: memory.field_access,
    nodes.TupleAccess: _tuple_access,
    nodes.Index: memory.index,
    nodes.Cast: _cast,
    nodes.Tuple: _tuple,
    nodes.Record: _record,
    nodes.Call: calls.call,
    nodes.If: _if,
    nodes.Block: _block,
}
