"""The order of what handlers cause, the end of a run, and loops that are interrupted."""

from __future__ import annotations

import threading

from tests.runtime.handlers.support import Script


def test_held_events_come_after_all_begin_probes() -> None:
    script = Script('begin { @x = 1; print(@x); printf("a\\n"); } begin { @x = 2; }')
    script.context.hold()
    for handler in script.handlers:
        handler()
    assert script.out.getvalue() == b""
    script.context.release()
    assert script.out.getvalue() == b"@x: 2\na\n"


def test_clear_happens_when_the_handler_ends() -> None:
    script = Script("interval:s:1 { @m[1] = 1; clear(@m); print(len(@m)); @m[2] = 2; }")
    assert script.run() == "1\n"


def test_output_after_exit_is_dropped() -> None:
    script = Script("begin { print(1); exit(300); } begin { print(2); } end { print(3); }")
    stopped = []
    script.context.on_exit = lambda: stopped.append(True)
    script.handlers[0]()
    script.handlers[1]()
    assert script.context.exit_code == 300 & 255
    assert stopped == [True]
    script.output.muted = False
    script.handlers[2]()
    assert script.out.getvalue() == b"1\n3\n"


def test_division_by_zero_in_json() -> None:
    script = Script("begin { $a = 0; print(5 / $a); }", json=True)
    assert script.run() == (
        '{"type": "runtime_error", "msg": "Divide or modulo by 0 detected. This can lead to unexpected results. 1 is being used as the '
        'result.", "filename": "stdin", "line": 1, "col": 23}\n{"type": "value", "data": 1}\n'
    )


def test_endless_loops_can_be_interrupted() -> None:
    script = Script("begin { $i = 0; while (true) { $i++; @n = $i; } }")
    timer = threading.Timer(0.2, script.context.interrupt)
    timer.start()
    script.handlers[0]()
    timer.join()
    assert script.context.maps["@n"].data[0] > 100


def test_equal_bodies_share_their_code() -> None:
    script = Script("interval:s:1 { @x = count(); } interval:s:2 { @x = count(); }")
    one, other = script.handlers
    assert one.source == other.source
    assert len(script.context.codes) == 1


def test_lru_map_drops_the_least_recently_used() -> None:
    script = Script("let @a = lruhash(3); begin { @a[1] = 1; @a[2] = 1; @a[3] = 1; @a[1]++; @a[4] = 1; }")
    script.handlers[0]()
    assert list(script.context.maps["@a"].data) == [3, 1, 4]
