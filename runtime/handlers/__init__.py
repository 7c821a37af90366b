"""Typed probe bodies become Python functions.

`compile_probe` writes Python source for one body at one kind of attachment, compiles it and binds its free names. The source stays
readable (`-d python` shows it) and every line of it knows its place in the script. Equal sources are compiled once.
"""

from __future__ import annotations

import linecache
from typing import Any, Protocol, cast

from pyprobe.lang.deep import with_room
from pyprobe.lang.program import ProbeBody, Program
from pyprobe.runtime.binding import Binding
from pyprobe.runtime.context import RuntimeContext
from pyprobe.runtime.handlers import calls, effects, expressions, printing, statements
from pyprobe.runtime.handlers.compiler import Compiler, Rules
from pyprobe.runtime.handlers.emitter import frame
from pyprobe.runtime.handlers.fault import HandlerFault, HandlerRefused, blamer
from pyprobe.runtime.machine.bound import Bound

__all__ = ["Handler", "HandlerFault", "HandlerRefused", "compile_probe"]

calls.STATEMENTS.update({**printing.STATEMENTS, **effects.STATEMENTS})
calls.CALLS.update(effects.CALLS)
RULES = Rules(expressions.EXPRESSIONS, statements.STATEMENTS, expressions.truth)


class Handler(Protocol):
    """A compiled probe body: called without arguments when its event fires, gives what the body returns. `source` is its Python."""

    source: str

    def __call__(self) -> Any: ...


def compile_probe(body: ProbeBody, program: Program, binding: Binding, context: RuntimeContext) -> Handler:
    """The handler of one probe body where `binding` says how its event is reached.

    Points of one clause share a handler where the events they are bound to give it the same things; a wildcard makes thousands of them.
    Raises HandlerRefused for what cannot be done here, and HandlerFault when compiling fails, which is a fault of ours.
    """
    shared = context.shared.get((body.body, body.point.provider))
    if shared is not None and all(_gives(binding, *asked) for asked in shared[0]):
        return cast(Handler, shared[1])
    compiler = Compiler(body, binding, context, RULES)
    try:
        with_room(program.levels, compiler.body)
    except HandlerRefused:
        raise
    except Exception as error:
        raise HandlerFault(compiler.emitter.span, error) from error
    emitter = compiler.emitter
    source, spans = frame(emitter)
    known = context.codes.get(source)
    if known is None:
        filename = f"<pyprobe handler {len(context.codes) + 1}>"
        try:
            code = with_room(program.levels, lambda: compile(source, filename, "exec"))
        except (SyntaxError, RecursionError, MemoryError) as error:
            if "too many" in str(error) or not isinstance(error, SyntaxError):
                raise HandlerRefused(body.span, "loops or blocks are nested too deeply") from None
            raise HandlerFault(body.span, error) from error
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        scope: dict[str, Any] = {}
        exec(code, scope)
        known = context.codes[source] = (filename, scope["make"])
    filename, make = known
    names = {**emitter.objects, "blame": blamer(filename, spans)}
    handler = cast(Handler, make(**names))
    handler.source = source
    if not compiler.named:
        context.shared[body.body, body.point.provider] = compiler.asked, handler
    return handler


def _gives(binding: Binding, name: str, literals: tuple[Any, ...], wanted: Bound) -> bool:
    """Whether a builtin is the very same thing at another place."""
    try:
        found = binding.builtin(name, *literals)
    except KeyError:
        return False
    same = found.expression == wanted.expression and found.names.keys() == wanted.names.keys()
    return same and all(found.names[key] is thing for key, thing in wanted.names.items())
