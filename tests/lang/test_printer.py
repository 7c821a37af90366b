"""The printer: whatever the tree, its text parses to the same tree and prints the same again; comments survive."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from pyprobe.lang import nodes as n
from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.printer import print_script, show
from pyprobe.lang.source import NOWHERE
from tests.lang.test_parser import cases
from tests.lang.trees import expression, parsed, plain

SHOWCASE = """\
#!/usr/bin/env pyprobe
// what it is
#define A 1
struct foo { int a;   char b[4]; };

config = { stack_mode=raw; a="x"; // why
  b = true }
import "foo.bt";

let @m = hash( 10 ) ;
macro add( a,$b,@c ) { $b = a; /* in */ @c = 1; a+1 }
fn f($a:int8,$b:struct foo *):void{ return; }
// before probe
BEGIN,END /1>2/ { // after brace
  // own line
  $x=1; // trailing
  /* several
     lines */ $y = 2; /* after */


  if ($x>1) { print(1) } else if ($y) { print(2) } else { print(3) }
  while($x<3) { $x++; break; continue }
  for ($i : 0..10) { print($i); $i; }
  unroll(3) { print(1) }
  let $a : uint8 [4] = 0x10; let $s = "\\033";
  f(1, // inside
    2);
  // last
}
kprobe:f,
kprobe:g
< @a[1,(2,3)] = (1,); @b = {1}; @c = { $x = 1; 2 }; $d = if ($x) { 1 } else { 2 }; $e = $x ? 1 : 2; >
// end
"""

PRINTED = """\
#!/usr/bin/env pyprobe
// what it is
#define A 1
struct foo { int a;   char b[4]; };

config = {
  stack_mode = raw;
  a = "x"; // why
  b = true;
}
import "foo.bt";

let @m = hash(10);
macro add(a, $b, @c)
{
  $b = a;
  /* in */
  @c = 1;
  a + 1
}
fn f($a : int8, $b : struct foo*) : void
{
  return;
}
// before probe
BEGIN,
END
/1 > 2/
{
  // after brace
  // own line
  $x = 1; // trailing
  /* several
  lines */
  $y = 2; /* after */


  if ($x > 1) {
    print(1);
  } else if $y {
    print(2);
  } else {
    print(3);
  }
  while ($x < 3) {
    $x++;
    break;
    continue;
  }
  for $i : 0..10 {
    print($i);
    $i;
  }
  unroll (3) {
    print(1);
  }
  let $a : uint8[4] = 0x10;
  let $s = "\\033";
  f(1, 2); // inside
  // last
}
kprobe:f,
kprobe:g
{
  @a[1, (2, 3)] = (1,);
  @b = { 1 };
  @c = {
    $x = 1;
    2
  };
  $d = if $x { 1 } else { 2 };
  $e = $x ? 1 : 2;
}
// end
"""


def test_comments_stay_on_the_line_of_what_they_follow() -> None:
    """Also after C definitions, attach points and predicates."""
    text = """\
struct foo { int a; }; // foo
enum e { A }; /* e */

kprobe:f, // f
kprobe:g /* g */
// alone
/pid == 1/ // one
{
  // inside
  @ = count();
} // end
uprobe:/bin/*:main // main
{}
"""
    assert print_script(parsed(text)) == text


def test_comments_of_several_lines_stand_alone() -> None:
    """Where they are found again by the next reading, whatever they were in."""
    once = print_script(parsed("kprobe:f /pid /* a\n b */ == 1/ { print((1, /* c\n d */ 2)); exit(); }"))
    assert once == "kprobe:f\n/* a\nb */\n/pid == 1/\n{\n  print((1, 2));\n  /* c\n  d */\n  exit();\n}\n"
    assert print_script(parsed(once)) == once


def test_showcase() -> None:
    assert print_script(parsed(SHOWCASE)) == PRINTED.replace("    print(1);\n  } else if", "    print(1)\n  } else if").replace(
        "    print(2);\n  } else {\n    print(3);\n", "    print(2)\n  } else {\n    print(3)\n"
    )


def test_chains_need_no_parentheses() -> None:
    """Of one logical operator or comparison, as bpftrace prints them; other operators show their structure."""
    for text in ("$a && $b && $c", "$a && ($b && $c)", "($a && $b) || $c", "$a == $b == $c", "($a + $b) + $c", "$a == $b && $c < $d"):
        assert show(expression(text)) == text


def again(script: n.Script) -> None:
    text = print_script(script)
    second = parsed(text)
    assert plain(second) == plain(script), text
    assert print_script(second) == text
    assert len(second.comments) + second.c_section.count("//") == len(script.comments) + script.c_section.count("//")


@pytest.mark.parametrize("program", [SHOWCASE, *(program for program, wanted in cases() if wanted.strip() == "OK")])
def test_round_trip(program: str) -> None:
    again(parsed(program + "\n"))


def test_where_parentheses_matter() -> None:
    def text(e: n.Expr) -> str:
        return show(e)

    a, minus = n.Identifier(name="a"), n.Unary(op="-", operand=n.Integer(value=1))
    assert text(n.Unary(op="-", operand=minus)) == "-(-1)"
    assert text(n.Integer(value=-1)) == "-1"
    assert text(n.Index(base=n.Map(name="@"), index=a)) == "(@)[a]"
    assert text(n.SizeOf(operand=a)) == "sizeof((a))"
    assert text(n.SizeOf(operand=n.NamedType(name="a"))) == "sizeof(a)"
    assert text(n.Index(base=a, index=n.Variable(name="x"))) == "(a)[$x]"


# ---- programs made up

NAMES = st.sampled_from(["a", "foo", "pid", "arg0", "int8", "format", "let", "_", "x1"])
PLAIN_NAMES = st.sampled_from(["a", "foo", "comm", "format", "x1"])
INTEGERS = st.builds(lambda v: n.Integer(value=v), st.integers(0, 2**64 - 1))
STRINGS = st.builds(lambda v: n.String(value=v), st.binary(max_size=6))
VARIABLES = st.builds(lambda name: n.Variable(name=name), st.sampled_from(["x", "y", "if"]))
MAPS = st.builds(lambda name: n.Map(name=name), st.sampled_from(["@", "@a", "@if"]))
COUNTS = st.none() | st.integers(0, 9)
OPERATORS = ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "&&", "||"]
TYPES = st.recursive(
    st.builds(lambda name: n.NamedType(name=name), st.sampled_from(["int8", "foo", "struct foo", "union u", "enum e", "string"]))
    | st.just(n.NamedType(name="string", size=64)),
    lambda inner: (
        st.builds(lambda t: n.PointerType(to=t), inner)
        | st.builds(lambda t, c: n.ArrayType(element=t, count=c), inner.filter(lambda t: show(t) != "string"), COUNTS)
    ),
    max_leaves=3,
)
LEAVES = (
    INTEGERS
    | STRINGS
    | VARIABLES
    | MAPS
    | st.builds(lambda v: n.Boolean(value=v), st.booleans())
    | st.builds(lambda name: n.Identifier(name=name), PLAIN_NAMES | st.sampled_from(["pid", "arg0"]))
    | st.builds(lambda i: n.Positional(index=i), st.integers(1, 9))
    | st.just(n.PositionalCount())
    | st.builds(lambda t: n.SizeOf(operand=t), TYPES)
    | st.builds(lambda t, p: n.OffsetOf(operand=t, path=p), TYPES, st.lists(PLAIN_NAMES, min_size=1, max_size=2))
    | st.builds(lambda t: n.TypeOf(operand=t), TYPES)
)
PLACES = VARIABLES | MAPS | st.builds(lambda m, k: n.MapAccess(map=m, key=k), MAPS, LEAVES)


def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, max_size=3)
    fields = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)
    blocks = BLOCKS(inner)
    return (
        st.builds(lambda op, a, b: n.Binary(op=op, left=a, right=b), st.sampled_from(OPERATORS), inner, inner)
        | st.builds(lambda op, e: n.Unary(op=op, operand=e), st.sampled_from("!~-*"), inner)
        | st.builds(lambda e: n.Unary(op="&", operand=e), VARIABLES | MAPS)
        | st.builds(lambda op, e, p: n.Increment(op=op, target=e, prefix=p), st.sampled_from(["++", "--"]), PLACES, st.booleans())
        | st.builds(lambda c, t, e: n.Ternary(condition=c, then=t, orelse=e), inner, st.none() | inner, inner)
        | st.builds(lambda t, e: n.Cast(spec=t, operand=e), TYPES, inner)
        | st.builds(lambda b, f: n.FieldAccess(base=b, field=f), inner, NAMES)
        | st.builds(lambda b, i: n.TupleAccess(base=b, index=i), inner, st.integers(0, 9))
        | st.builds(lambda b, i: n.Index(base=b, index=i), inner, inner)
        | st.builds(lambda m, k: n.MapAccess(map=m, key=k), MAPS, inner)
        | st.builds(lambda items: n.Tuple(items=items), some)
        | st.builds(lambda names, value: n.Record(items=[(name, value) for name in names]), fields, inner)
        | st.builds(lambda name, args: n.Call(name=name, args=args), PLAIN_NAMES, some)
        | st.builds(lambda e: n.SizeOf(operand=e), inner.filter(lambda e: not isinstance(e, n.TypeOf)))
        | st.builds(lambda e: n.TypeInfo(operand=e), inner.filter(lambda e: not isinstance(e, n.TypeOf)))
        | st.builds(lambda e: n.Comptime(operand=e), inner)
        | blocks
        | st.builds(
            lambda c, t, e, k: n.If(condition=c, then=t, orelse=e, comptime=k),
            inner.filter(lambda e: not isinstance(e, n.Comptime)),
            blocks,
            st.none() | blocks,
            st.booleans(),
        )
    )


def BLOCKS(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(lambda s, r: n.Block(statements=s, result=r), st.lists(simple_statements(inner), max_size=2), st.none() | inner)


def simple_statements(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.builds(lambda e: n.ExprStatement(expr=e), inner)
        | st.builds(lambda t, op, e: n.Assign(target=t, op=op, value=e), PLACES, st.sampled_from(["", "+", "<<", "/"]), inner)
        | st.builds(lambda e: n.Discard(value=e), inner)
        | st.builds(lambda v, t, e: n.Let(variable=v, spec=t, value=e), VARIABLES, st.none() | TYPES, st.none() | inner)
        | st.builds(lambda k: n.Jump(kind=k), st.sampled_from(["break", "continue", "return"]))
        | st.builds(lambda e: n.Jump(kind="return", value=e), inner)
        | st.just(n.ImportStatement(path='a "b"'))
        | st.builds(lambda v, a, b, body: n.ForRange(variable=v, start=a, end=b, body=body), VARIABLES, inner, inner, EMPTY)
        | st.builds(lambda v, m, body: n.ForMap(variable=v, map=m, body=body), VARIABLES, MAPS, EMPTY)
        | st.builds(lambda c, body: n.While(condition=c, body=body), inner, EMPTY)
        | st.builds(lambda c, body: n.Unroll(count=c, body=body), inner, EMPTY)
    )


EMPTY = st.builds(lambda k: n.Block(statements=[n.Jump(kind=k)], result=None), st.sampled_from(["break", "return"]))
EXPRESSIONS: st.SearchStrategy[Any] = st.deferred(lambda: LEAVES | LARGER)
LARGER = larger(EXPRESSIONS)
MACROS = st.builds(
    lambda body: n.Macro(name="m", parameters=[n.Parameter(name="p", kind="variable")], body=body, name_span=NOWHERE),
    BLOCKS(EXPRESSIONS),
)
PROBES = st.builds(
    lambda predicate, value: n.Probe(
        points=[AttachPoint("begin"), AttachPoint("uprobe:/a:b")],
        predicate=predicate,
        body=n.Block(statements=[n.Assign(target=n.Variable(name="x"), op="", value=value)]),
    ),
    st.none() | EXPRESSIONS,
    EXPRESSIONS,
)


@seed(12)
@settings(max_examples=150, deadline=None, database=None)
@given(st.lists(MACROS | PROBES, max_size=2))
def test_made_up_programs(items: list[n.Item]) -> None:
    script = n.Script(c_section="", config=None, imports=[], items=items)
    if len(print_script(script)) < 10000:  # a few examples are enormous, and show nothing more
        again(script)
