"""Going through trees: children in source order, copies that share nothing that changes, replacement in place."""

from __future__ import annotations

from pyprobe.lang.diagnostics import Diagnostics
from pyprobe.lang.nodes import Binary, Expr, Identifier, Integer, Node, Probe, Script, Variable
from pyprobe.lang.parser import parse
from pyprobe.lang.passes.walk import children, copy, descend, rewrite
from pyprobe.lang.source import Source

PROGRAM = """
struct s { int x; }
BEGIN / $x / {
  let $a : int32 = 1; @m[1, "a"] = (b=2, c=3).b; @n = { $a; 4 };
  for $i : 0..(5 + 6) { if ($i == 7) { break; } else { print((8, 9)); } }
  unroll(10) { $a += @m[11, "x"] ? (int8)12 : sizeof(struct s); }
}
"""


def _script() -> Script:
    found = Diagnostics()
    script = parse(Source("t", PROGRAM), found)
    assert script is not None, found.items
    return script


def _numbers(root: Node) -> list[int]:
    return [node.value for node in descend(root) if isinstance(node, Integer)]


def test_descend_goes_in_source_order_and_misses_nothing() -> None:
    script = _script()
    assert _numbers(script) == [1, 1, 2, 3, 4, 0, 5, 6, 7, 8, 9, 10, 11, 12]
    spans = [node.span.start for node in descend(script) if isinstance(node, (Integer, Variable))]
    assert spans == sorted(spans)


def test_children_of_a_leaf() -> None:
    assert list(children(Integer(value=1))) == []


def test_copy_is_deep() -> None:
    script = _script()
    twin = copy(script)
    assert repr(twin) == repr(script)
    originals = {id(node) for node in descend(script)}
    assert not [node for node in descend(twin) if id(node) in originals]
    rewrite(twin, lambda node: Integer(value=0) if isinstance(node, Integer) else node)
    assert set(_numbers(twin)) == {0}
    assert set(_numbers(script)) != {0}


def test_rewrite_is_bottom_up_and_may_replace_the_root() -> None:
    def add(node: Node) -> Node:
        if isinstance(node, Binary) and isinstance(node.left, Integer) and isinstance(node.right, Integer):
            return Integer(value=node.left.value + node.right.value)
        return node

    one: Expr = Integer(value=1)
    tree = Binary(op="+", left=Binary(op="+", left=one, right=Integer(value=2)), right=Integer(value=3))
    result = rewrite(tree, add)
    assert isinstance(result, Integer)
    assert result.value == 6


def test_rewrite_reaches_predicates_and_lists() -> None:
    script = _script()
    rewrite(script, lambda node: Identifier(name="v") if isinstance(node, Variable) and node.name == "x" else node)
    probe = next(item for item in script.items if isinstance(item, Probe))
    assert isinstance(probe.predicate, Identifier)
