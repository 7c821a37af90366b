"""The command line is read as getopt_long(3) reads it."""

from __future__ import annotations

import pytest

from pyprobe.options import UsageError, parse


def test_options_and_words_mix_and_the_rest_is_the_scripts() -> None:
    options = parse(["script.pt", "-q", "12", "--output=x", "-fjson", "b", "--", "--top=5", "-3"])
    assert (options.words, options.script_words) == (["script.pt", "12", "b"], ["--top=5", "-3"])
    assert (options.quiet, options.output, options.format) == (True, "x", "json")


def test_short_flags_join_and_the_last_program_wins() -> None:
    options = parse(["-lv", "-e", "a", "-eb"])
    assert options.list_probes and options.verbose == 1 and options.program == "b"


def test_long_names_may_be_cut_short() -> None:
    assert parse(["--dry"]).dry_run


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--foo"], "pyprobe: unrecognized option '--foo'"),
        (["-5"], "pyprobe: invalid option -- '5'"),
        (["-e"], "pyprobe: option requires an argument -- 'e'"),
        (["--cmd"], "pyprobe: option '--cmd' requires an argument"),
        (["--quiet=1"], "pyprobe: option '--quiet' doesn't allow an argument"),
        (["--de"], "pyprobe: option '--de' is ambiguous; possibilities: '--debuginfo' '--debug'"),
        (["-B", "x"], "ERROR: USAGE: -B must be either 'line', 'full', or 'none'."),
        (["-f", "yaml"], "ERROR: Invalid output format \"yaml\"\nValid formats: 'text', 'json'"),
        (["-kk"], "ERROR: USAGE: -kk has been deprecated. Use a single -k for runtime warnings for errors in map lookups and probe reads."),
        (["-k", "--no-warnings"], "ERROR: USAGE: -k, --warnings conflicts with --no-warnings"),
        (["-c", "a", "-p", "1"], "ERROR: USAGE: Cannot use both -c and -p."),
        (["--test", "--bench"], "ERROR: USAGE: --bench conflicts with existing --mode"),
        (["--mode", "x"], "ERROR: USAGE: --mode can only be 'codegen', 'compiler-bench', 'bench', 'test' or 'format'."),
        (["-d", "x"], "ERROR: USAGE: invalid option for -d: x"),
        (["--kernel", "k", "--view", "none"], "ERROR: USAGE: --view is not possible with --kernel: its programs see all of --root DIR"),
        (["--kernel", "k", "--keep", "d"], "ERROR: USAGE: --keep is not possible with --kernel"),
        (["--clock", "soon"], "ERROR: USAGE: --clock must be 'real' or seconds since 1970, got soon"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: list[str], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert caught.value.line == line
