"""The REPL: clauses are collected and checked as they are typed; `:run` runs them together on a command or the built-in workload.

A statement without a probe is run at once, as if it stood in `begin { ... }` after the definitions so far, so that expressions can be
tried out.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pyprobe.messages import say_fault, usage_error
from pyprobe.options import Options, UsageError
from pyprobe.repl.balance import complete, without_comments

if TYPE_CHECKING:
    from pyprobe.lang.nodes import Script

TOP_LEVEL = ("begin", "end", "macro", "fn", "let", "config", "import", "struct", "union", "enum")
HELP = """\
Type clauses as in a script, for example   kprobe:do_fork { @[comm] = count(); }
A statement alone runs at once:            print(7 / 2)

  :run [COMMAND]   run the clauses while COMMAND runs (without one: the built-in workload)
  :show            the clauses so far, numbered
  :drop N          forget clause N; without a number: all
  :list PATTERN    probes that match
  :help            this text
  :quit            leave (also Ctrl-D); Ctrl-C drops what was begun, and ends a run
"""


class Clause(NamedTuple):
    """A text that was found right, in the order of a script's sections: 0 C definitions, 1 config and imports, 2 the rest."""

    section: int
    text: str
    has_probes: bool

    @classmethod
    def of(cls, text: str, script: Script) -> Clause:
        from pyprobe.lang.nodes import Probe

        section = 0 if script.c_section.strip() else 1 if script.config is not None or script.imports else 2
        return cls(section, text, any(isinstance(item, Probe) for item in script.items))


def joined(clauses: Iterable[Clause]) -> str:
    """The script that clauses make, whatever the order they were typed in."""
    return "\n".join(clause.text for clause in sorted(clauses, key=lambda clause: clause.section))


class Repl:
    """One session: the clauses typed so far, the warnings that were shown of them, and the options that every run shares."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clauses: list[Clause] = []
        self.told: set[tuple[str, str]] = set()
        self.commands: dict[str, Callable[[str], None]] = {
            "run": self.run,
            "show": self.show,
            "drop": self.drop,
            "list": self.list_probes,
            "help": lambda _: print(HELP, end=""),
        }

    def command(self, line: str) -> bool:
        """Carry out a `:word rest` line; False when it was `:quit`."""
        word, _, rest = line[1:].strip().partition(" ")
        if word in ("quit", "q", "exit"):
            return False
        known = [name for name in self.commands if word and name.startswith(word)]
        if len(known) == 1:
            self.commands[known[0]](rest.strip())
        else:
            print(f"unknown command :{word} (:help lists them)")
        return True

    def clause(self, text: str) -> None:
        """Check a clause together with those before it; keep it when it is right. A bare statement is run at once."""
        from pyprobe.lang.diagnostics import Diagnostics
        from pyprobe.lang.parser import parse
        from pyprobe.lang.source import Source
        from pyprobe.messages import show

        diagnostics = Diagnostics()
        script = parse(Source("repl", text), diagnostics)
        if script is None or diagnostics.failed:
            statement = without_comments(text).strip()
            alone = Diagnostics()
            if parse(Source("repl", f"begin {{ {statement} }}"), alone) is not None and not alone.failed:
                self.execute(self.showing(statement) or self.around(f"begin {{ {statement} }}"), None)
            else:
                show(diagnostics if looks_like_clause(text) else alone)
            return
        clause = Clause.of(text, script)
        if self.compile(joined([*self.clauses, clause])) is not None:
            self.clauses.append(clause)
            print(f"clause {len(self.clauses)} is ready; :run COMMAND runs it")

    def around(self, probe: str) -> str:
        """A probe with the definitions so far in front of it."""
        return "\n".join([*filter(None, [joined(clause for clause in self.clauses if not clause.has_probes)]), probe])

    def showing(self, text: str) -> str:
        """The program that prints the value of an expression, empty where the text is none or its value cannot be printed."""
        from pyprobe.lang import check
        from pyprobe.running import make_world, settings_of

        expression = text.rstrip().rstrip(";")
        printing = self.around(f"begin {{ print({expression}); }}")
        world = make_world(settings_of(self.options))
        attempts = (self.around(f"begin {{ $value = {expression}; }}"), printing)  # print() takes what has no value, too
        return "" if any(d.severity == "error" for text in attempts for d in check(text, world=world)) else printing

    def compile(self, text: str) -> object:
        from pyprobe.running import compile_text, make_world, settings_of

        program, _ = compile_text(self.options, make_world(settings_of(self.options)), "repl", text, [], self.told)
        return program

    def run(self, command: str) -> None:
        if not any(clause.has_probes for clause in self.clauses):
            print("nothing to run: type a clause first")
            return
        self.execute(joined(self.clauses), command or None)

    def execute(self, text: str, command: str | None) -> None:
        """Run a program."""
        from pyprobe.running import run_program

        self.options.cmd = command
        try:
            run_program(self.options, "repl", text, [], self.told)
        finally:
            self.options.cmd = None

    def show(self, _: str) -> None:
        for number, clause in enumerate(self.clauses, 1):
            print(f"{number}: {clause.text}")

    def drop(self, which: str) -> None:
        self.told.clear()
        if not which:
            self.clauses.clear()
        elif which.isdecimal() and 1 <= int(which) <= len(self.clauses):
            del self.clauses[int(which) - 1]
        else:
            print(f"no clause {which}")

    def list_probes(self, pattern: str) -> None:
        from pyprobe.listing import entries, show

        show(entries(pattern, Options()), Options())


def looks_like_clause(text: str) -> bool:
    """Whether a wrong text was meant as a clause, not as a statement: it begins with an attach point or a word of the top level."""
    word = text.split(None, 1)[0]
    return ":" in word or word.lower() in TOP_LEVEL


def entries(prompt: str, more: str) -> Iterator[str]:
    """What the person types, joined over lines until brackets balance; ends at the end of the input. Ctrl-C drops what was begun."""
    text = ""
    while True:
        try:
            line = input(more if text else prompt)
        except EOFError:
            if text.strip():
                yield text
            return
        except KeyboardInterrupt:
            print()
            text = ""
            continue
        text = f"{text}\n{line}" if text else line
        if text.lstrip().startswith(":") or complete(text):
            if without_comments(text).strip():
                yield text.strip()
            text = ""


def run(options: Options) -> int:
    """Read and carry out until the end of the input."""
    terminal = sys.stdin.isatty()
    if terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # gives input() line editing and history
        print("pyprobe: type clauses, then :run COMMAND; :help for more")
    repl = Repl(options)
    options.quiet = True
    for text in entries("pyprobe> " if terminal else "", "    ...> " if terminal else ""):
        try:
            if not text.startswith(":"):
                repl.clause(text)
            elif not repl.command(text):
                return 0
        except UsageError as error:
            usage_error(error)
        except KeyboardInterrupt:
            print()
        except BrokenPipeError:
            raise
        except Exception as fault:  # the clauses typed so far are worth more than an early end
            if options.verbose > 1:
                raise
            say_fault(fault)
        sys.stdout.flush()
    if terminal:
        print()  # after the prompt that Ctrl-D answered
    return 0
