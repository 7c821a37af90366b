"""Long programs: chains of thousands of operators or branches, types inside each other, variables that share a name."""

from __future__ import annotations

import pytest

from pyprobe.lang import check
from tests.runtime.handlers.test_values import output_of

N = 3000
CHAINS = {
    "a sum": ("print($x" + " + $x" * N + ");", str(N + 1)),
    "and": ("if ($x" + " && $x" * N + ") { print(7); }", "7"),
    "or as a value": ("print(!$x" + " || !$x" * N + ");", "false"),
    "else if": ("".join(f"if ($x == {i}) {{ print({i}); }} else " for i in range(1000, 0, -1)) + "{ print(99); }", "1"),
    "ternaries": ("print(" + "".join(f"$x == {i} ? {i} : " for i in range(N, 0, -1)) + "99);", "1"),
    "void ternaries": ("1 == 2 ? print(0) : " + "".join(f"$x == {i} ? print({i}) : " for i in range(100, 0, -1)) + "print(99);", "1"),
    "comparisons": ("print($x" + " == $x" * N + ");", "true"),
    "a tuple": ("$t = (" + "1, " * N + f"7); print($t.{N});", "7"),
    "statements": ("$x = $x + 1; " * N + "print($x);", str(N + 1)),
}


def printed(*statements: str) -> list[str]:
    return "".join(output_of([*statements, 'printf("\\036\\n");'])).split("\n")[:-1]


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name: str) -> None:
    statements, wanted = CHAINS[name]
    assert printed("$x = 1;", statements) == [wanted]


def test_short_circuit_with_statements() -> None:
    """What needs statements of its own runs only when the operands before it ask for it."""
    assert printed("$i = 1; $a = $i && $i++ && $i++ && !$i && $i++ && $i;", "print(($i, $a));") == ["(3, false)"]
    assert printed("$i = 0; $a = $i || $i++ || $i++ || $i++ || $i;", "print(($i, $a));") == ["(2, true)"]


def test_types_inside_each_other() -> None:
    """Statement by statement, a type grows as deep as one likes; 200 levels are enough."""

    def program(levels: int) -> str:
        tuples = "".join(f"$a{i + 1} = ($a{i},); " for i in range(levels))
        return f"begin {{ $a0 = 1; {tuples} @[$a{levels}] = $a{levels}; }}"

    assert check(program(150)) == []
    assert check(program(1000))[0].message == "type is nested too deeply (more than 200 levels)"


def test_variables_of_like_names() -> None:
    assert printed("{ $x = 1; }", "{ $x = 2; $x_2 = 5; print($x); }") == ["2"]
