"""The compiler of one probe body: state and the two dispatching methods; the rules are in the tables of the neighbouring modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pyprobe.lang import nodes
from pyprobe.lang.passes.spaces import pointees
from pyprobe.lang.passes.walk import descend
from pyprobe.lang.program import ProbeBody
from pyprobe.lang.source import Span
from pyprobe.lang.typesys import Type
from pyprobe.runtime.handlers.emitter import DEEPEST, Code, Emitter, number
from pyprobe.runtime.handlers.fault import HandlerRefused
from pyprobe.runtime.zeros import zero_of

if TYPE_CHECKING:
    from pyprobe.runtime.binding import Binding
    from pyprobe.runtime.context import RuntimeContext
    from pyprobe.runtime.machine.bound import Bound
    from pyprobe.runtime.maps import MapStorage

Placed = TypeVar("Placed", bound=nodes.Node)
HOLDING = frozenset({"begin", "end"})  # their events may be held back by the session, see RuntimeContext.hold
STACK = 0xFFFFC90000004000  # the end of the first stack in the area of vmalloc() on x86-64
QUEUEING = frozenset({"clear", "zero"})  # with print(@m): what acts on maps later than the statement that asks for it


class Compiler:
    """What the rules need: the emitter, the event's binding, the run's context, and the names of the script's variables."""

    def __init__(self, probe: ProbeBody, binding: Binding, context: RuntimeContext, rules: Rules) -> None:
        self.probe = probe
        self.binding = binding
        self.context = context
        self.rules = rules
        self.emitter = Emitter()
        self.loops: list[str] = []
        self.asked: list[tuple[str, tuple[Any, ...], Bound]] = []  # what the event was asked for
        self.named = False  # the handler holds the name of its probe
        self.pointees = pointees(probe.body)
        self._variables: dict[tuple[str, int], str] = {}
        self._addressed: list[tuple[int, nodes.Variable]] | None = None
        self._sharing: dict[str, int] = {}  # how many variables of the script share a name

    # ---- expressions

    def expr(self, node: nodes.Expr) -> Code:
        """One expression."""
        code = self.rules.expressions[type(node)](self, node)
        if code.depth > DEEPEST:
            return self.keep(code)
        return code

    def operands(self, items: Sequence[nodes.Expr], compile_one: Callable[[nodes.Expr], Code] | None = None) -> list[Code]:
        """Several expressions that Python will evaluate left to right. Where a later one needs statements, the earlier ones are kept in
        temporaries first, so that the order of evaluation stays."""
        one = compile_one or self.expr
        lines = self.emitter.lines
        codes: list[Code] = []
        for item in items:
            mark = len(lines)
            code = one(item)
            if len(lines) > mark:
                at = mark
                for i, earlier in enumerate(codes):
                    if not earlier.stable:
                        name = self.emitter.temporary()
                        self.emitter.insert(at, f"{name} = {bare(earlier.text)}")
                        codes[i] = Code(name, earlier.low, earlier.high, stable=True)
                        at += 1
            codes.append(code)
        return codes

    def keep(self, code: Code) -> Code:
        """`code` in a temporary, so that it can be used several times."""
        if code.stable:
            return code
        name = self.emitter.temporary()
        self.emitter.emit(f"{name} = {bare(code.text)}")
        return Code(name, code.low, code.high, stable=True)

    def condition(self, node: nodes.Expr) -> str:
        """An expression of which only the truth matters."""
        return bare(self.rules.truth(self, node).text)

    def variable(self, node: nodes.Variable) -> str:
        """The Python name of a scratch variable."""
        key = (node.name, node.slot)
        name = self._variables.get(key)
        if name is None:
            count = self._sharing[node.name] = self._sharing.get(node.name, 0) + 1
            name = self._variables[key] = f"v{count if count > 1 else ''}_{node.name}"
        return name

    def addressed(self) -> list[tuple[int, nodes.Variable]]:
        """The variables of which the body takes the address, each with one: places on a stack of the kernel, where nothing else lies."""
        if self._addressed is None:
            found: dict[tuple[str, int], nodes.Variable] = {}
            for node in descend(self.probe.body):
                if isinstance(node, nodes.Unary) and node.op == "&" and isinstance(node.operand, nodes.Variable):
                    found.setdefault((node.operand.name, node.operand.slot), node.operand)
            self._addressed = [(STACK - 8 * (index + 1), variable) for index, variable in enumerate(found.values())]
        return self._addressed

    def constant(self, value: Any, hint: str = "constant") -> Code:
        """A known value: written out where that is short, else bound."""
        if isinstance(value, bool):
            return Code(repr(value), int(value), int(value), stable=True)
        if isinstance(value, int):
            return number(value)
        text = repr(value)
        if isinstance(value, (bytes, tuple)) and len(text) <= 60:
            return Code(text, stable=True)
        return Code(self.emitter.bind(value, hint), stable=True)

    def zero(self, t: Type) -> Code:
        """The zero value of a type."""
        return self.constant(zero_of(t), "zero")

    def bind(self, thing: object, hint: str) -> str:
        return self.emitter.bind(thing, hint)

    def event(self, span: Span, name: str, *literals: Any) -> str:
        """The expression for a builtin that the event has. Raises HandlerRefused when it has none."""
        try:
            bound = self.binding.builtin(name, *literals)
            self.asked.append((name, literals, bound))
            return self.emitter.bound(bound)
        except KeyError:
            raise HandlerRefused(span, f"{name} is not supported in {self.probe.point.provider} probes yet") from None

    def storage(self, node: nodes.Map) -> MapStorage:
        return self.context.maps[node.name]

    # ---- statements

    def statement(self, node: nodes.Statement) -> None:
        outer, self.emitter.span = self.emitter.span, node.span
        self.rules.statements[type(node)](self, node)
        self.emitter.span = outer

    def statements(self, items: Sequence[nodes.Statement]) -> None:
        for item in items:
            self.statement(item)

    # ---- events

    def effect(self, act: Callable[..., Any], hint: str, *arguments: str, at_once: bool = False) -> None:
        """Emit the call of an asynchronous function; in a handler that queues its events, it is carried out when the handler ends, unless
        it is to be `at_once`."""
        name = self.bind(act, hint)
        if self.queues and not at_once:
            self.emitter.emit(f"{self.bind(self.context.soon, 'soon')}({', '.join((name, *arguments))})")
        else:
            self.emitter.emit(f"{name}({', '.join(arguments)})")

    def runtime_error(self, span: Span, text: str, result: Any) -> str:
        """A free name to be called without arguments where something goes wrong: it warns and gives `result`."""
        return self.bind(partial(_complain, self.context.warner(self.context.output.runtime_error, span, text), result), "fail")

    def helper_error(self, span: Span, text: str, helper: str, code: int, result: Any) -> str:
        """As `runtime_error`, for a warning that names a helper function and its result."""
        warn = self.context.warner(self.context.output.helper_error, span, text, helper, code)
        return self.bind(partial(_complain, warn, result), "fail")

    # ---- the whole body

    def body(self) -> None:
        """Compile the probe's body."""
        holds = self.context.iterates or self.probe.point.provider in HOLDING
        self.queues = holds or any(acts_on_maps(n) for n in descend(self.probe.body))
        self.emitter.span = self.probe.span
        if not self.queues:
            self.statements(self.probe.body.statements)
            if self.probe.body.result is not None:
                self.emitter.emit(bare(self.expr(self.probe.body.result).text))
            return
        self.emitter.emit(f"{self.bind(self.context.begin_queue, 'begin_queue')}()")
        with self.emitter.block("try:"):
            self.statements(self.probe.body.statements)
            if self.probe.body.result is not None:
                self.emitter.emit(bare(self.expr(self.probe.body.result).text))
        with self.emitter.block("finally:"):
            self.emitter.emit(f"{self.bind(self.context.end_queue, 'end_queue')}()")


class Rules:
    """The tables of rules, put together in `runtime.handlers` so that the modules need not import each other."""

    def __init__(
        self,
        expressions: dict[type[nodes.Expr], Callable[[Compiler, Any], Code]],
        statements: dict[type[nodes.Statement], Callable[[Compiler, Any], None]],
        truth: Callable[[Compiler, nodes.Expr], Code],
    ) -> None:
        self.expressions = expressions
        self.statements = statements
        self.truth = truth


def operand(text: str) -> str:
    """An expression that an attribute is taken of: `1.real` is no Python."""
    return f"({text})" if text.isalnum() and text[0].isdigit() else text


def placed(node: Placed, span: Span) -> Placed:
    """A node made here, with the place in the script that it stands for."""
    node.span = span
    return node


def _complain(warn: Callable[[], None], result: Any) -> Any:
    warn()
    return result


def bare(text: str) -> str:
    """An expression without the parentheses around the whole of it."""
    if not (text.startswith("(") and text.endswith(")")) or text.endswith(",)") or text == "()":
        return text
    depth = 0
    quote = ""
    i = 0
    comma = False
    while i < len(text):
        c = text[i]
        if quote:
            if c == "\\":
                i += 1
            elif c == quote:
                quote = ""
        elif c in "'\"":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth == 0 and i < len(text) - 1:
                return text
        elif c == "," and depth == 1:
            comma = True
        i += 1
    return text if comma or ":=" in text else text[1:-1]


def acts_on_maps(node: nodes.Node) -> bool:
    """Whether a call reads or changes a map when the handler's activation ends."""
    if not isinstance(node, nodes.Call):
        return False
    return node.name in QUEUEING or (node.name == "print" and bool(node.args) and isinstance(node.args[0], nodes.Map))
