"""The reference of every name of the language, as text: functions, builtin values, probe types, library macros, settings.

All of it comes from the tables that the compiler itself uses, and from the comments of the library.
"""

from __future__ import annotations

import re

from pyprobe.lang import library
from pyprobe.lang.builtins import BUILTINS
from pyprobe.lang.config import SETTINGS
from pyprobe.lang.functions import FUNCTIONS
from pyprobe.lang.passes.builtins import FUNCTIONS_ONLY
from pyprobe.lang.perf_events import EVENT_ALIASES, HARDWARE, SOFTWARE
from pyprobe.lang.providers import PROVIDERS, SHORT
from pyprobe.lang.signatures import BuiltinValue, Param, Signature
from pyprobe.lang.typesys import VOID, Type

MODES = {
    "sync": "",
    "async": "The work is done when the event reaches the output, in the order of the events.",
    "compile": "Answered while the script is compiled.",
    "aggregate": "Stands only on the right side of an assignment to a map: @x = {name}(...), @x[key] = {name}(...).",
}

NOT_THERE = frozenset({("fentry", "retval")})
"""Probe type and value: the compiler knows the pair, but a run refuses it."""

# Forms and meaning of every probe type. What follows a provider is separated by colons.
PROBES: dict[str, tuple[tuple[str, ...], str]] = {
    "begin": (("begin",), "when the script starts, before anything is attached"),
    "end": (("end",), "when the script ends, before maps are printed"),
    "self": (("self:signal:SIGUSR1",), "when pyprobe itself gets that signal"),
    "test": (("test:NAME",), "a test, run by --test; it fails by a value other than 0, exit() other than 0, or errorf()"),
    "bench": (("bench:NAME",), "a benchmark, run by --bench"),
    "kprobe": (("kprobe:[MODULE:]FUNCTION", "kprobe:[MODULE:]FUNCTION+OFFSET"), "when a kernel function is entered; arg0, arg1 ..."),
    "kretprobe": (("kretprobe:[MODULE:]FUNCTION",), "when a kernel function returns; retval"),
    "fentry": (("fentry:[MODULE:]FUNCTION",), "when a kernel function is entered; typed args.NAME"),
    "fexit": (("fexit:[MODULE:]FUNCTION",), "when a kernel function returns; typed args.NAME and retval"),
    "uprobe": (
        ("uprobe:FILE:FUNCTION", "uprobe:FILE:FUNCTION+OFFSET", "uprobe:FILE:ADDRESS", 'uprobe:FILE:cpp:"NAME"', "uprobe:FILE@SOURCE:LINE"),
        "when a function of a program or library is entered, or an instruction is reached; arg0, arg1 ...",
    ),
    "uretprobe": (("uretprobe:FILE:FUNCTION", 'uretprobe:FILE:cpp:"NAME"'), "when a function of a program or library returns; retval"),
    "usdt": (("usdt:FILE:NAME", "usdt:FILE:NAMESPACE:NAME"), "at a static probe of a program; arg0, arg1 ..."),
    "tracepoint": (("tracepoint:CATEGORY:EVENT",), "at a tracepoint of the kernel; typed args.NAME"),
    "rawtracepoint": (("rawtracepoint:[MODULE:]EVENT",), "at a tracepoint of the kernel; typed args.NAME, arg0, arg1 ..."),
    "profile": (("profile:UNIT:N", "profile:DURATION"), "sample at a rate, on every processor; units: s, ms, us, hz"),
    "interval": (("interval:UNIT:N", "interval:DURATION"), "at a rate, on one processor; units: s, ms, us, hz"),
    "software": (("software:EVENT:[N]",), f"every N software events: {', '.join(SOFTWARE)}"),
    "hardware": (("hardware:EVENT:[N]",), f"every N hardware events: {', '.join(HARDWARE)}"),
    "watchpoint": (("watchpoint:ADDRESS:LENGTH:MODE",), "when memory is read, written or executed (r, w, x)"),
    "iter": (("iter:KIND",), "once for each kernel object of a kind: task, task_file, task_vma"),
}

# Forms and meaning of what the grammar itself has.
SYNTAX: dict[str, tuple[tuple[str, ...], str]] = {
    "sizeof": (("sizeof(TYPE)", "sizeof(EXPRESSION)"), "bytes that a value of the type takes, known while the script is compiled"),
    "offsetof": (("offsetof(STRUCT, FIELD)", "offsetof(EXPRESSION, FIELD)"), "where a field lies in its struct, in bytes"),
    "typeof": (("typeof(EXPRESSION)",), "the type of a value, where a type stands"),
    "typeinfo": (("typeinfo(EXPRESSION)",), "a record that describes the type of a value"),
    "comptime": (("comptime EXPRESSION",), "computed while the script is compiled"),
    "if": (("if (CONDITION) { ... }", "if (CONDITION) { ... } else { ... }"), "one of two blocks; its last value, as an expression"),
    "while": (("while (CONDITION) { ... }",), "repeat as long as the condition holds"),
    "for": (("for $x : FIRST..END { ... }", "for $kv : @map { ... }"), "for each number up to END, or each key ($kv.0) and value ($kv.1)"),
    "unroll": (("unroll(N) { ... }",), "repeat N times"),
    "break": (("break;",), "end the innermost loop"),
    "continue": (("continue;",), "go on with the loop's next turn"),
    "return": (("return;", "return EXPRESSION;"), "end the probe's body, or give a function's value"),
    "let": (("let $x;", "let $x : TYPE = EXPRESSION;", "let @m = KIND(CAPACITY);"), "declare a variable, or the kind of a map"),
    "fn": (("fn NAME($a : TYPE) : TYPE { ... }",), "a function; none can be called yet, as in bpftrace 0.27"),
    "macro": (("macro NAME($a, @b, c) { ... }",), "a block that stands for a name; its parameters are variables, maps and expressions"),
    "config": (("config = { NAME = VALUE; }",), "settings of the script, before its probes"),
    "import": (('import "FILE";',), "what another script defines"),
}


def names() -> dict[str, list[str]]:
    """All topics, by the heading they belong under."""
    macros = sorted(library.index())
    return {
        "Probe types": list(PROVIDERS),
        "Builtin values": sorted(name for name in BUILTINS if name not in FUNCTIONS),
        "Aggregations": [name for name, s in FUNCTIONS.items() if s.mode == "aggregate"],
        "Functions": sorted(name for name, s in FUNCTIONS.items() if s.mode != "aggregate"),
        "Library macros": macros,
        "Syntax": list(SYNTAX),
        "Settings (config block)": sorted(SETTINGS),
    }


def reference(name: str) -> str | None:
    """The reference of one name, ending in a newline; None when nothing is called so."""
    word = re.sub(r"^arg[0-9N]+$", "arg", name.removesuffix("()"))
    provider = SHORT.get(word, word.lower())
    texts = [
        _probe(provider) if provider in PROBES else "",
        _value(BUILTINS[word]) if word in BUILTINS and word not in FUNCTIONS_ONLY else "",
        _function(FUNCTIONS[word]) if word in FUNCTIONS else "",
        _macro(word),
        _syntax(word) if word in SYNTAX else "",
        _setting(word.lower()) if word.lower() in SETTINGS else "",
    ]
    return "\n".join(text for text in texts if text) or None


def overview() -> str:
    """The list of all topics."""
    parts = []
    for heading, topics in names().items():
        parts += [f"{heading}:", *_wrapped(topics), ""]
    return "\n".join(parts)


def _wrapped(words: list[str], width: int = 78) -> list[str]:
    lines = ["   "]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > width:
            lines.append("   ")
        lines[-1] += f" {word}"
    return lines


def _probe(provider: str) -> str:
    forms, meaning = PROBES[provider]
    short = next((s for s, long in SHORT.items() if long == provider), "")
    lines = [f"probe type {provider}{f' (short: {short})' if short else ''}", f"    {meaning}", *(f"    {form}" for form in forms)]
    aliases = [f"{a} = {e}" for a, e in EVENT_ALIASES.items() if e in {"software": SOFTWARE, "hardware": HARDWARE}.get(provider, {})]
    if aliases:
        lines.append(f"    short names of events: {', '.join(aliases)}")
    available = sorted(b.name for b in BUILTINS.values() if provider in _providers(b))
    if available:
        lines.append(f"    values only some probes have: {', '.join('argN' if n == 'arg' else n for n in available)}")
    return "\n".join(lines) + "\n"


def _syntax(word: str) -> str:
    forms, meaning = SYNTAX[word]
    return "\n".join([word, f"    {meaning}", *(f"    {form}" for form in forms)]) + "\n"


def _providers(value: BuiltinValue) -> frozenset[str]:
    """The probe types that have a value; empty where all have it."""
    return frozenset(p for p in value.providers or () if (p, value.name) not in NOT_THERE)


def _value(value: BuiltinValue) -> str:
    shown = "arg0, arg1, ..." if value.name == "arg" else value.name
    kind = f" : {value.type}" if value.type is not None else ""
    lines = [f"{shown}{kind}", f"    {value.brief}"]
    if value.words:
        lines.append(f"    {value.name}(WORD), with one of {', '.join(value.words)}")
    return "\n".join([*lines, *_where(_providers(value) or None)]) + "\n"


def _function(function: Signature) -> str:
    params = [_param(p) for p in function.params]
    while len(params) > 1 and params[-1].startswith("[") and params[-2].startswith("["):  # [a][, b] is [a[, b]]
        last = params.pop()
        params[-1] = f"{params[-1][:-1]}[, {last[1:]}]"
    shown = ", ".join(params + ["..."] * function.rest).replace(", [", "[, ").replace("[, , ", "[, ")
    result = f" : {function.result}" if isinstance(function.result, Type) and function.result is not VOID else ""
    lines = [f"{function.name}({shown}){result}", f"    {function.brief}"]
    if mode := MODES[function.mode].format(name=function.name):
        lines.append(f"    {mode}")
    if function.unsafe:
        lines.append("    Needs --unsafe.")
    return "\n".join([*lines, *_where(function.providers)]) + "\n"


def _param(param: Param) -> str:
    kinds = "" if not param.kinds or "any" in param.kinds else " or ".join(param.kinds) + (" literal" if param.literal else "")
    text = f"{param.name}: {kinds}" if kinds else param.name
    return f"[{text}]" if param.optional else text


def _where(providers: frozenset[str] | None) -> list[str]:
    return [] if providers is None else [f"    Only in: {', '.join(p for p in PROVIDERS if p in providers)}"]


def _macro(name: str) -> str:
    text = library.documentation().get(name)
    return "" if text is None else text.replace("\n", "\n    ") + "\n    A macro of the library.\n"


def _setting(name: str) -> str:
    default, brief = SETTINGS[name].default, SETTINGS[name].brief
    shown = f'"{default}"' if isinstance(default, str) else str(default).lower()
    ways = f"config = {{ {name} = VALUE }}, or BPFTRACE_{name.upper()}=VALUE in the environment, which wins"
    return f"setting {name}, default {shown}\n    {brief}\n    {ways}\n"
