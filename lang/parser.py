"""Source text to a `Script`: a shift-reduce loop over the tables that Lark made of the grammar.

The loop keeps its stacks as lists and builds nodes as it reduces, so nesting costs no Python recursion. At the first error it
stops and says what was expected, which it finds by asking the tables which terminals could have come next. What else is wrong
with that statement is told by `recovery`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyprobe.lang import action_expressions, action_shapes, actions, csection, recovery
from pyprobe.lang import nodes as n
from pyprobe.lang.action_shapes import FLAT, VALUES, Action
from pyprobe.lang.deep import MOST_LEVELS
from pyprobe.lang.diagnostics import Diagnostics
from pyprobe.lang.lexer import Lexer, Mistake, Token, after_layout, begins_stored
from pyprobe.lang.source import Source, Span
from pyprobe.lang.tables import END_OF_TEXT, Tables, load

OPENING = frozenset(("LPAR", "CONDITION_OPEN", "CAST_OPEN", "RECORD_OPEN"))  # the terminals that RPAR closes
MAX_DEPTH = 1000  # things inside each other
MAX_STACK = 4 * MAX_DEPTH  # symbols that wait on the parser's stack; those of a sum or of `else if` after `else if` do not wait

# A rule: its name, the number of its symbols, its action (None: passes its only value on), the levels that it adds to the tree, and whether
# it runs on to the next token. bpftrace looks past a bare name and past a type for what may follow them: what a name is the last part of
# ends where the next token begins, and so does a type itself.
Rule = tuple[str, int, Action | None, int, str]
RUN_ON = {
    **dict.fromkeys(["identifier", "map"], "outside"),
    **dict.fromkeys(["named_type", "tagged_type", "pointer_type", "array_type"], "itself"),
}
OPERATORS = frozenset(
    (
        *("QUESTION", "OR", "AND", "BIT_OR", "BIT_XOR", "AMPERSAND", "EQUALITY", "RELATION"),
        *("SHIFT", "PLUS", "MINUS", "STAR", "SLASH", "PERCENT"),
    )
)

# What to say when the tokens before the error decide it alone.
AFTER = {
    ("LET",): "expected variable after 'let'",
    ("FOR",): "expected variable in for loop",
    ("ELSE",): "expected '{' or 'if' after 'else'",
    ("DOT",): "expected field name after '.'",
    ("ARROW",): "expected field name after '->'",
    ("IMPORT",): "expected string after 'import'",
    ("IMPORT", "STRING"): "expected ';' after import",
    ("MACRO",): "expected macro name",
    ("FN",): "expected function name",
    ("RETURN",): "expected expression",
}
# What to say otherwise: the first of these sequences of terminals that could have come decides.
EXPECTED = [
    (["SEMICOLON"], "expected ';'"),
    (["COUNT"], "expected expression"),
    (["RBRACKET"], "expected ']'"),
    (["VARIABLE", "COLON", "MAP"], "expected variable in for loop"),
    (["VARIABLE", "COLON"], "expected variable in function argument"),
    (["VARIABLE"], "expected macro argument ($var, @map, or identifier)"),
    (["NUMBER", "RPAR"], "expected positive integer for map declaration max entries"),
    (["RPAR"], "expected ')'"),
    (["COLON"], "expected ':'"),
    (["RANGE"], "expected map or range in for loop"),
    (["PREDICATE_END"], "expected '/' to close predicate"),
    (["POINT"], "expected attach point"),
    (["LBRACE"], "expected '{'"),
    (["COMMA"], "expected ','"),
    (["LPAR"], "expected '('"),
    (["STRUCT"], "expected type name"),
    (["NAME", "LPAR"], "expected map type name"),
    (["NAME"], "expected identifier"),
    (["ASSIGN"], "expected '='"),
    (["RBRACE"], "expected '}'"),
    ([END_OF_TEXT], "unexpected input"),
]
MAP_DECLARATION = "root-level let statements need to be map declarations, e.g. let @a = hash(2);"


def parse(source: Source, diagnostics: Diagnostics) -> n.Script | None:
    """Parse a whole program; None after an error, which is then in `diagnostics`."""
    begin = csection.script_start(source.text)
    end = csection.section_end(source.text, begin)
    parser = Parser(source, end)
    entries = parser.run("script", diagnostics)
    if entries is None:
        return None
    whole = Span(source, 0, len(source.text))
    script = n.Script(c_section=source.text[begin:end], config=None, imports=[], items=[], c_section_start=begin, span=whole)
    script.comments = parser.lexer.comments
    script.levels = parser.depths[-1]
    return script if _sort(entries, script, diagnostics) else None


def parse_expression(source: Source, diagnostics: Diagnostics) -> n.Expr | None:
    """Parse a text that is one expression and nothing else (the body of a C macro)."""
    result: n.Expr | None = Parser(source, 0).run("expression", diagnostics)
    return result


def _sort(entries: list[Any], script: n.Script, diagnostics: Diagnostics) -> bool:
    """Put the entries of the body where they belong in the script; False when the order of sections is broken."""
    for entry in entries:
        if isinstance(entry, n.Item):
            script.items.append(entry)
        elif isinstance(entry, n.Import):
            if script.items:
                keyword = Span(entry.span.source, entry.span.start, entry.span.start + len("import"))
                diagnostics.error("syntax: root imports must appear before probes and functions", keyword)
                return False
            script.imports.append(entry)
        else:
            keyword, span, settings = entry
            if script.items or script.config is not None:
                what = "config must appear before probes and functions" if script.items else "duplicate config block"
                diagnostics.error(f"syntax: {what}", keyword)
                return False
            script.config = settings
            script.config_span = span
    return True


class Parser:
    """One parse. `states`, `values`, `starts`, `ends` and `depths` (levels of the tree) are one stack, kept as five lists."""

    def __init__(self, source: Source, begin: int) -> None:
        self.source = source
        self.tables = load()
        self.lexer = Lexer(self.tables, source.text, begin)
        self.states: list[int] = []  # one longer than the others: the start state is no symbol's
        self.values: list[Any] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.depths: list[int] = []
        self.open = 0  # parentheses on the stack, which leave nothing in the tree

    def run(self, start: str, diagnostics: Diagnostics) -> Any:
        """Parse from a start symbol; its value, or None after reporting an error."""
        try:
            return self._loop(start)
        except Mistake as mistake:
            first = recovery.placed(self, mistake)
            for each in [first, *recovery.further_mistakes(self, first)]:
                diagnostics.error(f"syntax: {each.message}", Span(self.source, each.start, each.end))
            return None

    def _loop(self, start: str) -> Any:
        states, values, starts, ends, depths = self.states, self.values, self.starts, self.ends, self.depths
        table = self.tables.states
        rules = _rules(self.tables)
        final = self.tables.ends[start]
        next_token = self.lexer.next
        states.append(self.tables.starts[start])
        token: Token | None = None
        while True:
            row = table[states[-1]]
            if token is None:
                token = next_token(row, self.viable)
            action = row.get(token.terminal)
            if action is None:
                if states[-1] == final and token.terminal == END_OF_TEXT:
                    return values[-1]
                token = self._without_semicolon(token)
                continue
            if action >= 0:
                self._take(token, action)
                token = None
                continue
            name, length, act, grows, runs_on = rules[-action - 1]
            if length == 1 and act is None:  # passes its only value on
                states[-1] = table[states[-2]][name]
                continue
            if length:
                first = values[-length]
                begin = first.span.start if isinstance(first, n.Expr) else starts[-length]  # parentheses are not part of an operand
                span = Span(self.source, begin, ends[-1] if runs_on != "itself" else after_layout(self.source.text, ends[-1]))
                value = values[-length:]
                depth = max(depths[-length:]) + grows
                del states[-length:], values[-length:], starts[-length:], ends[-length:], depths[-length:]
            else:
                span = Span(self.source, token.start, token.start)
                value, depth = [], 0
            if depth > MOST_LEVELS:
                raise self._too_deep(MOST_LEVELS, span.start)
            states.append(table[states[-1]][name])
            values.append(act(value, span) if act else value[0])
            starts.append(span.start)
            ends.append(span.end if runs_on != "outside" else after_layout(self.source.text, span.end))
            depths.append(depth)

    def _take(self, token: Token, state: int) -> None:
        """Shift a token: work out its value and push it."""
        terminal = token.terminal
        if terminal in VALUES:
            token.value = VALUES[terminal](token)
        elif terminal == "INCREMENT" and isinstance(self.values[-1], n.Expr):
            action_expressions.check_place(self.values[-1], token.start, token.end)
        elif terminal in ("ASSIGN", "COMPOUND"):
            self._check_target(token)
        elif terminal in OPERATORS and self._ends_statement(terminal):
            raise Mistake("expected ';'", token.start, token.start)
        elif terminal == "POINT" and (end := csection.definition_end(self.source.text, token.start)):
            end = after_layout(self.source.text, end)
            raise Mistake("C definitions must appear before probes and functions", token.start, end)
        elif terminal in OPENING:
            self.open += 1
        elif terminal == "RPAR":
            self.open -= 1
        if len(self.states) - self.open > MAX_STACK:
            raise self._too_deep(MAX_DEPTH, token.start)
        self.states.append(state)
        self.values.append(token)
        self.starts.append(token.start)
        self.ends.append(token.end)
        self.depths.append(0)

    def _too_deep(self, levels: int, offset: int) -> Mistake:
        return Mistake(f"nested too deeply (more than {levels} levels)", *self.lexer.place(offset))

    def _check_target(self, token: Token) -> None:
        """Refuse an assignment to something that is no place at all, before its right side is read."""
        target = self.values[-1]
        if not isinstance(target, n.Expr):
            return  # the `=` of a declaration
        whole = target
        if token.terminal == "ASSIGN":  # elements and fields get a message of their own, once the whole assignment is known
            while isinstance(target, n.FieldAccess | n.TupleAccess | n.Index):
                target = target.base
        if not isinstance(target, n.Variable | n.Map | n.MapAccess) or whole.span.start != self.starts[-1]:
            raise self.unexpected(token.start)

    def _ends_statement(self, operator: str) -> bool:
        """Whether the expression on top of the stack is a statement to which this operator adds nothing. bpftrace takes what begins with a
        variable or a map for an assignment, an increment or an expression of operators alone."""
        before = self.values[-2] if len(self.values) > 1 else None
        if not isinstance(before, list) or (before and isinstance(before[0], tuple)):  # no statements, or the choices of a ternary
            return False
        first = self.values[-1]
        begin = after_layout(self.source.text, self.ends[-2])
        if isinstance(first, n.Increment) and not first.prefix:
            return begin == first.span.start
        return operator == "QUESTION" and begins_stored(self.source.text, begin)

    # ---- what could come

    def viable(self, *terminals: str) -> bool:
        """Whether these terminals, one after the other, could come next."""
        table, rules = self.tables.states, self.tables.rules
        states = list(self.states)
        for terminal in terminals:
            while True:
                action = table[states[-1]].get(terminal)
                if action is None:
                    return terminal == END_OF_TEXT and states[-1] in self.tables.ends.values()
                if action >= 0:
                    states.append(action)
                    break
                name, length, _ = rules[-action - 1]
                if length:
                    del states[-length:]
                states.append(table[states[-1]][name])
        return True

    def _without_semicolon(self, token: Token) -> Token:
        """The token to go on with where this one cannot come: the empty END if a `;` may be missing here. Raises the error otherwise."""
        if "END" in self.tables.states[self.states[-1]] and (self.viable("END", token.terminal) or self.viable("END", "POINT")):
            self.lexer.position = token.start
            return Token("END", "", token.start)
        if token.terminal == "ELSE" and self.viable("END", "NAME"):  # no `if` is left that it could belong to
            self.lexer.position = token.start
            return Token("END", "", token.start)
        raise self.unexpected(token.start, token.terminal)

    def _lacks_semicolon(self) -> bool:
        """Whether a `;` is the next thing that this statement needs."""
        ended = self.lexer.last == "SEMICOLON" or (self.lexer.last == "RBRACE" and self.viable("END"))
        return self.viable("SEMICOLON") and not ended

    def _in_offsetof(self) -> bool:
        """Whether the names of members are being read, of which bpftrace does not miss any."""
        waiting = [v.terminal if isinstance(v, Token) else "" for v in self.values[-6:]]
        return "OFFSETOF" in waiting and "COMMA" in waiting

    def _bound_is_enclosed(self) -> bool:
        """Whether what was read last is the first bound of a `for (`, which is looked at together with the `)` after it."""
        waiting = [v.terminal if isinstance(v, Token) else "" for v in self.values[-5:]]
        return waiting[:2] == ["FOR", "LPAR"]

    def unexpected(self, offset: int, terminal: str = "") -> Mistake:
        """The error for the text at `offset`, which cannot come."""
        if self.source.text.startswith(("->", "&&", "*=", "-=", "&="), offset) and self.viable("COUNT"):
            offset += 1  # its first character is a prefix operator, and what follows is wrong
            start, end = self.lexer.place(offset)
            return Mistake(action_expressions.ADDRESS_OF if self.source.text[offset - 1] == "&" else "expected expression", start, end)
        start, end = self.lexer.place(offset)
        before = tuple(v.terminal if isinstance(v, Token) else "" for v in self.values[-2:])
        if before[-1:] == ("LET",) and self.viable("MAP"):
            return Mistake(MAP_DECLARATION, self.starts[-1], self.ends[-1])
        message = AFTER.get(before[-1:]) or AFTER.get(before)
        if before[-1:] == ("LET",) and self.source.text[start:end].startswith("$"):
            message = "expected identifier after '$'"
        if before[-1:] == ("AMPERSAND",) and not self.viable("COUNT"):
            message = action_expressions.ADDRESS_OF
        if message is None and terminal == END_OF_TEXT and self.viable("RBRACE") and not self._lacks_semicolon():
            message = "expected '}'"
        if message is None and self.viable("NAME") and any(isinstance(v, Token) and v.terminal == "CONFIG" for v in self.values):
            message = "expected string, int, boolean, or ident" if self.viable("TRUE") else "expected config key"
        if message is None and self.viable("NAME", "RPAR") and not self.viable("COUNT") and self._in_offsetof():
            message = "expected ')'"
        if message is None and self.viable("RANGE") and not self.viable("RPAR") and self._bound_is_enclosed():
            if self.source.text[start:end] != ")":
                return Mistake("expected ')'", start, end)
            start, end = self.lexer.place(after_layout(self.source.text, end))
        if message is None:
            message = next((text for terminals, text in EXPECTED if self.viable(*terminals)), "unexpected input")
        return Mistake(message, start, end)


def _rules(tables: Tables) -> list[Rule]:
    """The rules as the loop wants them."""
    cached = _bound.get(id(tables))
    if cached is None:
        cached = [(name, size, _action(action), 0 if action in FLAT else 1, RUN_ON.get(action, "")) for name, size, action in tables.rules]
        _bound[id(tables)] = cached
    return cached


def _action(name: str) -> Callable[..., Any] | None:
    if name == "first":
        return None
    found: Callable[..., Any] = next(vars(room)[name] for room in (actions, action_expressions, action_shapes) if name in vars(room))
    return found


_bound: dict[int, list[Rule]] = {}
