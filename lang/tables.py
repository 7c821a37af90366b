"""The LALR tables of `grammar.lark`, made by Lark and loaded without it.

Importing Lark and analysing the grammar costs more than starting the rest of the program, so it happens once: when the package is
built (`setup.py` calls `write`), or, in a checkout, on first use, kept in the user's cache directory. The file is JSON with checksums
of the grammar and of itself: a stale, cut off or damaged file is made again, and reading one can run no code. Several processes may
do that at once; each writes a file of its own and renames it into place. Checkouts with other grammars have other files there.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from functools import cache
from typing import Any

FORMAT = 1  # of the file; raise it when what `build` returns changes
STARTS = ("script", "expression")
END_OF_TEXT = "$END"

_HERE = os.path.dirname(os.path.abspath(__file__))
_GRAMMAR = os.path.join(_HERE, "grammar.lark")
_BUILT = "grammar.json"
_KEPT = 8  # files in the cache


class Tables:
    """What the parser needs.

    `states[s]` maps a terminal to an action, n >= 0: shift to state n, n < 0: reduce by rule -n - 1; and a rule's name to the state
    after it. `rules[r]` is (name of the rule, number of its symbols, name of its action). `starts` and `ends` are the first and last
    state for each start symbol. `pattern` is one regular expression for all terminals that have a pattern, `keywords` maps words to
    their terminals.
    """

    __slots__ = ("ends", "keywords", "pattern", "rules", "starts", "states")

    def __init__(self, data: dict[str, Any]) -> None:
        self.pattern: str = data["pattern"]
        self.keywords: dict[str, str] = data["keywords"]
        self.rules: list[tuple[str, int, str]] = [(str(n), int(k), str(a)) for n, k, a in data["rules"]]
        self.starts: dict[str, int] = data["starts"]
        self.ends: dict[str, int] = data["ends"]
        self.states: list[dict[str, int]] = data["states"]


def build(grammar: str) -> dict[str, Any]:
    """Let Lark analyse the grammar (a conflict is an error) and return the tables as plain data."""
    from lark import Lark
    from lark.exceptions import GrammarError
    from lark.parsers.lalr_analysis import Reduce

    lark = Lark(grammar, parser="lalr", lexer="contextual", start=list(STARTS))
    table: Any = lark.parser.parser._parse_table  # Lark has no public way to the plain table
    rules = {rule: index for index, rule in enumerate(lark.rules)}
    order = [state for _, state in sorted(table.start_states.items())]
    numbers = {state: index for index, state in enumerate(order)}
    states = []
    for state in order:  # grows on the way: states are numbered as they are reached, because Lark's own numbers follow hashes
        row = {}
        for symbol, (action, argument) in sorted(table.states[state].items()):
            if action is not Reduce and argument not in numbers:
                numbers[argument] = len(order)
                order.append(argument)
            row[symbol] = -rules[argument] - 1 if action is Reduce else numbers[argument]
        states.append(row)
    words: dict[str, str] = {}
    patterns = []
    for terminal in sorted(lark.terminals, key=lambda t: (-t.pattern.max_width, -len(t.pattern.value), t.name)):
        text = terminal.pattern.to_regexp()
        if re.fullmatch(r"\w+|\(\?:\w+(\|\w+)*\)", text):
            words |= dict.fromkeys(text.removeprefix("(?:").removesuffix(")").split("|"), terminal.name)
        elif terminal.name not in lark.ignore_tokens:
            patterns.append(f"(?P<{terminal.name}>{text})")
    for rule in lark.rules:
        if not rule.alias and len(rule.expansion) != 1 and rule.origin.name != "script":
            raise GrammarError(f"rule {rule} has no action")
    return {
        "pattern": "|".join(patterns),
        "keywords": words,
        "rules": [(str(r.origin.name), len(r.expansion), r.alias or "first") for r in lark.rules],
        "starts": {name: numbers[table.start_states[name]] for name in STARTS},
        "ends": {name: numbers[table.end_states[name]] for name in STARTS},
        "states": states,
    }


def dump(grammar: str) -> bytes:
    """The file for a grammar: a line with the format and the two checksums, then the tables."""
    body = json.dumps(build(grammar), separators=(",", ":")).encode()
    return _header(grammar, body) + body


def write(target: str) -> None:
    """Build the tables into the file `target`, replacing it in one step."""
    from tempfile import mkstemp

    data = dump(_grammar())
    folder = os.path.dirname(target)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    handle, name = mkstemp(dir=folder, prefix=_BUILT)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


@cache
def load() -> Tables:
    """The tables: those built with the package, else from the user's cache, else made now (and kept in the cache if it can be written)."""
    grammar = _grammar()
    tables = _read(os.path.join(_HERE, _BUILT), grammar)
    if tables is not None:
        return tables
    kept = _cache_file(grammar)
    if kept:
        tables = _read(kept, grammar) if _private(kept) else None
        if tables is None:
            try:
                write(kept)
                _forget_old(os.path.dirname(kept))
            except OSError:
                pass  # a home that cannot be written costs time at every start, nothing else
            else:
                tables = _read(kept, grammar)
    return tables or Tables(build(grammar))


def _grammar() -> str:
    with open(_GRAMMAR, encoding="utf-8") as file:
        return file.read()


def _header(grammar: str, body: bytes) -> bytes:
    return f"{FORMAT} {zlib.crc32(grammar.encode()):08x} {zlib.crc32(body):08x}\n".encode()


def _read(path: str, grammar: str) -> Tables | None:
    """The tables in a file, or None when it is missing, of another grammar, or damaged."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    start = data.find(b"\n") + 1
    body = data[start:]
    return Tables(json.loads(body)) if data[:start] == _header(grammar, body) else None


def _cache_file(grammar: str) -> str:
    """The file of a grammar in the user's cache directory, or nothing for a user without a home."""
    home = os.path.expanduser("~")
    base = os.environ.get("XDG_CACHE_HOME") or (os.path.join(home, ".cache") if os.path.isdir(home) else "")
    return os.path.join(base, "pyprobe", f"grammar-{zlib.crc32(grammar.encode()):08x}.json") if os.path.isabs(base) else ""


def _forget_old(folder: str) -> None:
    """Remove all but the newest files of grammars from the cache. Raises OSError."""
    files = [os.path.join(folder, name) for name in os.listdir(folder) if name.startswith("grammar") and name.endswith(".json")]
    for file in sorted(files, key=os.path.getmtime)[:-_KEPT]:
        os.unlink(file)


def _private(path: str) -> bool:
    """Whether only this user can have written the file."""
    try:
        return all(s.st_uid == os.geteuid() and not s.st_mode & 0o022 for s in (os.stat(path), os.stat(os.path.dirname(path))))
    except OSError:
        return False
