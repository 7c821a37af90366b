"""Type inference: the types of all expressions, as a fixed point over the whole program.

A variable, a map's key and a map's value have the join of everything that is ever assigned to them, in any order and in any probe. The
bodies are gone through until nothing changes. Only the last time through reports errors, when every type is known.

Where types do not fit together, the message depends on which one was known first: bpftrace's types spread from what shows by itself
(literals, casts, builtins), one step each time, and so they do here in that case (see `_by_levels`).

The rules are in `infer_expressions`, `infer_calls`, `infer_queries` and `infer_statements`; here are the state, what an assignment
does to it, and the loop.
"""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.lang import nodes as n
from pyprobe.lang.builtins import BUILTINS
from pyprobe.lang.diagnostics import Diagnostic
from pyprobe.lang.functions import FUNCTIONS, is_aggregation
from pyprobe.lang.passes.control_flow import open_ends
from pyprobe.lang.passes.infer_calls import call
from pyprobe.lang.passes.infer_expressions import RULES
from pyprobe.lang.passes.infer_queries import QUERIES
from pyprobe.lang.passes.infer_statements import STATEMENTS, returned
from pyprobe.lang.passes.types import UnknownType
from pyprobe.lang.passes.unit import Body, Unit
from pyprobe.lang.promote import join, wide
from pyprobe.lang.source import NOWHERE, Span
from pyprobe.lang.typesys import DEEPEST, INT8, NONE, SUMMARIES, VOID, Aggregate, Array, Enum, Integer, Pointer, String, Tuple, Type

_RULES: dict[type[n.Node], Callable[..., Type]] = {**RULES, **QUERIES, n.Call: call}
_ROUNDS = 24  # no sane program needs more than a handful; types that contain themselves never settle
_LEVELS = 12  # how far types are followed step by step


class VariableState:
    """What is known of one scratch variable. `declared`: a `let` fixed its type."""

    __slots__ = ("declared", "span", "type")

    def __init__(self, span: Span, type: Type = NONE, declared: bool = False) -> None:
        self.span = span
        self.type = type
        self.declared = declared


class MapState:
    """What is known of one map. `scalar` is None until a use decides; `read`: its value is used somewhere;
    `defaulted`: nothing gives it one; `waits`: an aggregation of something unknown is assigned to it."""

    __slots__ = ("defaulted", "key", "name", "read", "scalar", "span", "value", "waits")

    def __init__(self, name: str) -> None:
        self.name = name
        self.span = NOWHERE  # the first use
        self.key: Type = NONE
        self.value: Type = NONE
        self.scalar: bool | None = None
        self.read = False
        self.waits = False
        self.defaulted = False


class Inference:
    """The state of inference over one unit; also what the checks that follow ask for the types of variables and maps."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.config = unit.config
        self.diagnostics = unit.diagnostics
        self.maps: dict[str, MapState] = {}
        self._bodies = [*unit.bodies, *unit.functions()]
        self._variables: list[dict[tuple[str, int], VariableState]] = [{} for _ in self._bodies]
        self.variables: dict[tuple[str, int], VariableState] = {}
        self.body: Body = Body([], n.Block(statements=[]), 0, NOWHERE)
        self.changed = False
        self._longest: dict[int, int] = {}
        self._level = 0  # the step of the round, while types spread step by step
        self._steps: dict[int, list[Type]] = {}  # by expression, what it was found to be in each step
        self.reporting = False
        self._misfits: dict[tuple[int, int, str], tuple[str, int]] = {}
        self._findings: list[tuple[float, Diagnostic]] = []

    # ---- the loop

    def solve(self) -> None:
        """Find all types, then report what does not fit."""
        self._settle()
        if self._misfits:
            self._by_levels()
            self._settle()
        self.reporting = True
        self._round()
        self.reporting = False
        self.diagnostics.items += [found for _, found in sorted(self._findings, key=lambda f: f[0])]

    def _settle(self) -> None:
        for _ in range(_ROUNDS):
            if not self._round() and not self._give_defaults():
                break

    def _by_levels(self) -> None:
        """Forget all and let the types spread step by step: what is made of other values is known one step after them."""
        self.maps.clear()
        self._misfits.clear()
        self._variables = [{} for _ in self._bodies]
        for self._level in range(1, _LEVELS + 1):
            if not self._round() and self._level > 3:
                break
        self._level = 0
        self._steps.clear()

    @property
    def stepwise(self) -> bool:
        """Whether types spread step by step now."""
        return self._level > 0

    def enter(self, index: int) -> Body:
        """Make a body the current one: its variables are the ones that `variable()` finds."""
        self.body = self._bodies[index]
        self.variables = self._variables[index]
        if self.body.function is not None:
            for parameter in self.body.function.parameters:
                if parameter.spec is not None:
                    self.variables[parameter.name, 0] = VariableState(parameter.span, self.resolve(parameter.spec), True)
        return self.body

    def longest_name(self) -> int:
        """Bytes of the longest name among the points of the current body, of which a wildcard makes thousands."""
        longest = self._longest.get(id(self.body))
        if longest is None:
            longest = self._longest[id(self.body)] = max(len(p.place.encode()) for p in self.body.points)
        return longest

    def _round(self) -> bool:
        self.changed = False
        for index in range(len(self._bodies)):
            body = self.enter(index)
            self._discard_block(body.block)
            if body.function is not None:
                for place in open_ends(body.block):
                    returned(self, body.function, VOID, place)
        return self.changed

    def _give_defaults(self) -> bool:
        """Maps that are read but never get a value hold small integers, as do those that are to summarize them; True if there was one."""
        found = [m for m in self.maps.values() if (m.read or m.waits) and m.value is NONE]
        for state in found:
            state.value = INT8
            state.defaulted = True
        return bool(found)

    # ---- state

    def error(self, message: str, span: Span, rank: float = 1) -> Diagnostic | None:
        """Record an error, in the last round only. Errors of a lower rank are shown before others."""
        if not self.reporting:
            return None
        found = Diagnostic("error", message, span)
        self._findings.append((rank, found))
        return found

    def warning(self, message: str, span: Span) -> Diagnostic | None:
        """Record a warning, in the last round only."""
        return self.diagnostics.warning(message, span) if self.reporting else None

    def variable(self, node: n.Variable) -> VariableState:
        """The state of the variable that a node names."""
        key = (node.name, node.slot)
        state = self.variables.get(key)
        if state is None:
            state = self.variables[key] = VariableState(node.span)
        return state

    def map(self, name: str) -> MapState:
        state = self.maps.get(name)
        if state is None:
            state = self.maps[name] = MapState(name)
        return state

    def use(self, state: MapState, scalar: bool, span: Span) -> None:
        """Note that a map is used with or without a key; the first use decides."""
        if state.scalar is None:
            state.scalar = scalar
            state.span = Span(span.source, span.start, span.start + len(state.name), span.outer)
        elif state.scalar != scalar:
            with_key, without = "with an explicit key (non-scalar map)", "without an explicit key (scalar map)"
            now, before = (without, with_key) if scalar else (with_key, without)
            self.error(f"{state.name} used as a map {now}, previously used {before}", span, 0)

    def resolve(self, spec: n.TypeSpec) -> Type:
        """The type that is written; an unknown name is an error and has type NONE."""
        try:
            return self._bounded(self.unit.types.resolve(spec, self.expr), spec.span)
        except UnknownType as unknown:
            self.error(str(unknown), spec.span)
            return NONE

    # ---- expressions

    def expr(self, node: n.Expr) -> Type:
        """Infer the type of an expression and note it in the node."""
        rule = _RULES.get(type(node))
        if rule is None:
            return node.type
        found: Type = rule(self, node)
        if found.levels > DEEPEST:
            found = self._bounded(found, node.span)
        node.type = found
        return self._known(node, found) if self._level else found

    def _bounded(self, found: Type, span: Span) -> Type:
        if found.levels > DEEPEST:
            self.error(f"type is nested too deeply (more than {DEEPEST} levels)", span, 0)
            return NONE
        return found

    def _known(self, node: n.Expr, found: Type) -> Type:
        """What is known of an expression in this step, when `found` is what its parts make it now."""
        steps = self._steps.setdefault(id(node), [])
        steps.append(found)
        late = _steps_of(node)
        return steps[-1 - late] if late < len(steps) else NONE

    def block(self, block: n.Block) -> Type:
        for statement in block.statements:
            STATEMENTS[type(statement)](self, statement)
        return self.expr(block.result) if block.result is not None else NONE

    def discard(self, node: n.Expr) -> None:
        """Infer an expression whose value nobody takes: branches need not agree then."""
        if isinstance(node, n.If) and not node.comptime:
            self.expr(node.condition)
            self._discard_block(node.then)
            if node.orelse is not None:
                self._discard_block(node.orelse)
            node.type = VOID
        elif isinstance(node, n.Ternary):
            self.expr(node.condition)
            for branch in (node.then, node.orelse):
                if branch is not None:
                    self.discard(branch)
            node.type = VOID
        elif isinstance(node, n.Block):
            self._discard_block(node)
        else:
            self.expr(node)

    def _discard_block(self, block: n.Block) -> None:
        """What stands last has no value, on each way through the block; before that an `if` or a block has one like any expression."""
        last = block.statements[-1] if block.result is None and block.statements else None
        for statement in block.statements:
            if statement is last and isinstance(statement, n.ExprStatement):
                self.discard(statement.expr)
            else:
                STATEMENTS[type(statement)](self, statement)
        if block.result is not None:
            self.discard(block.result)
        block.type = VOID

    # ---- assignments

    def assign_variable(self, node: n.Variable, found: Type, span: Span) -> None:
        """A value of type `found` is assigned to a variable by the statement at `span`."""
        state = self.variable(node)
        unreadable = ""
        if isinstance(found, Aggregate):
            unreadable = str(found)
            found = wide(found) if found.castable else NONE
        if found is VOID:
            unreadable, found = "void", NONE
        if found is NONE:
            if unreadable:
                self.error(f"Value '{unreadable}' cannot be assigned to a scratch variable.", span)
            return  # the check reports other values without a type
        if state.declared:
            if not _fits_declared(state.type, found):
                self.mismatch(f"${node.name}", "variable", found, state.type, span, 2)
            return
        joined = join(state.type, found)
        if joined is None:
            if unreadable:
                self.error(f"Value '{unreadable}' cannot be assigned to a scratch variable.", span)
            else:
                self.mismatch(f"${node.name}", "variable", found, state.type, span)
        elif joined is not state.type:
            state.type = joined
            self.changed = True

    def assign_map(self, state: MapState, found: Type, span: Span, value: n.Expr | None) -> None:
        """A value of type `found` is assigned to a map or one of its elements."""
        if isinstance(found, Aggregate) and not _is_aggregation(value):
            if not isinstance(state.value, (Integer, Enum)) or not found.castable:
                error = self.error(_COPY.format(found, state.name, _EXAMPLES.get(found.function, "retval")), span)
                if error is not None and found.castable:
                    source = value.span.text if value is not None else "@"
                    error.hint(f"Add a cast to integer if you want the value of the aggregate, e.g. `{state.name} = (int64){source};`.")
                return
            found = wide(found)
        if found is VOID:
            self.error("Value 'void' cannot be assigned to a map.", span)
            return
        if found is NONE:
            state.waits |= isinstance(value, n.Call) and value.name in SUMMARIES
            return  # the check reports it
        joined = join(state.value, found)
        if joined is None:
            differing = _differing_parameters(state.value, found)
            if differing:
                self.error(differing, value.span if value is not None else span)
            else:
                at = value.span if isinstance(value, n.Call) and is_aggregation(value.name) else span
                self.mismatch(state.name, "map", found, state.value, at)
        elif joined is not state.value:
            state.value = joined
            self.changed = True

    def assign_key(self, state: MapState, found: Type, span: Span) -> None:
        """An element is reached with a key of type `found` by the expression at `span`."""
        unreadable = ""
        if isinstance(found, Aggregate):
            unreadable = str(found)
            found = wide(found) if found.castable else NONE
        elif found is VOID:
            unreadable, found = "void", NONE
        joined = join(state.key, found)
        if unreadable and (found is NONE or joined is None):
            self.error(f"Value '{unreadable}' cannot be used as a map key.", span)
        elif joined is None:
            self._misfit(
                "key",
                f"Argument mismatch for {state.name}: trying to access with arguments: '{found}' when map expects arguments: '{state.key}'",
                span,
            )
        elif joined is not state.key:
            state.key = joined
            self.changed = True

    def mismatch(self, name: str, what: str, found: Type, known: Type, span: Span, rank: int = 1) -> None:
        message = f"Type mismatch for {name}: trying to assign value of type '{found}' when {what} already has a type '{known}'"
        self._misfit(what, message, span, rank)

    def _misfit(self, what: str, message: str, span: Span, rank: int = 1) -> None:
        """Types that do not fit together now never will; the message tells the types as they were when this first showed. What shows after
        fewer steps comes first."""
        message, level = self._misfits.setdefault((span.start, span.end, what), (message, self._level))
        self.error(message, span, level / 100 if level and rank == 1 else rank)


_COPY = (
    "Map value '{0}' cannot be assigned from one map to another. The function that returns this type must be called directly e.g. "
    "`{1} = {0.function}({2});`."
)


_EXAMPLES = {"count": "", "stats": "arg2", "lhist": "rand %10, 0, 10, 1", "tseries": "rand %10, 10s, 1"}
"""What upstream shows as the arguments of a function."""


def _is_aggregation(value: n.Expr | None) -> bool:
    while isinstance(value, n.Block) and value.result is not None:
        value = value.result
    return isinstance(value, n.Call)


_AT_ONCE = frozenset({n.Integer, n.String, n.Boolean, n.EnumConstant})
_NAMED = frozenset({n.Variable, n.Map, n.MapAccess, n.SizeOf, n.OffsetOf})
LIKE_ARGUMENT = frozenset({"bswap", "kptr", "uptr", "strftime"})  # functions whose type waits for that of their argument


def _steps_of(node: n.Expr) -> int:
    """How many steps after its parts the type of an expression is known: what upstream's library defines is a block of statements."""
    kind = type(node)
    if isinstance(node, n.Call):
        function = FUNCTIONS.get(node.name)
        if function is None or node.name in LIKE_ARGUMENT:
            return 1
        return 1 if function.library and function.mode != "compile" else 0
    if isinstance(node, n.Builtin):
        return 1 if BUILTINS[node.name].library or (node.name == "nsecs" and bool(node.args)) else 0
    if isinstance(node, n.Cast):
        return 1 if isinstance(node.spec, n.TypeOf) else 0
    return 0 if kind in _AT_ONCE else 2 if kind in _NAMED else 1


def _differing_parameters(known: Type, found: Type) -> str:
    """Two histograms of different layout have an error of their own."""
    if not isinstance(known, Aggregate) or not isinstance(found, Aggregate) or known.function != found.function:
        return ""
    return {
        "hist": "Different bits in a single hist unsupported",
        "lhist": "Different lhist bounds in a single map unsupported",
        "tseries": "Different tseries bounds in a single map unsupported",
    }.get(known.function, "")


def _fits_declared(declared: Type, found: Type) -> bool:
    """Whether a value may be assigned to a variable of a declared type: all integers can be converted."""
    if isinstance(declared, (Integer, Aggregate)) and isinstance(found, (Integer, Enum)):
        return True  # that no variable can be an aggregation is reported with the declaration
    if isinstance(declared, Pointer) and isinstance(found, Pointer):
        return True
    if isinstance(declared, String) and isinstance(found, String):
        return found.size <= declared.size
    joined = join(declared, found)
    return joined is not None and (joined == declared or not isinstance(joined, (Tuple, String, Array)))


def run(unit: Unit) -> None:
    """Infer all types; the result is kept in the unit for the checks."""
    inference = Inference(unit)
    inference.solve()
    unit.inference = inference
