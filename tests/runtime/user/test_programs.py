"""Unmodified programs of this system, run natively and in the machine: same standard output, same exit status."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

COMMANDS = r"""
true
false
echo hello
cat /etc/passwd /etc/group
ls -la --time-style=+%s /etc | sort
date -d @0 +%F
sha256sum /bin/sh
sort -r /etc/passwd
grep -r root /etc/default | sort
find /etc/default | sort
awk -F: '{s+=$3; print $1} END {print s}' /etc/passwd
sed -n 's/root/toor/gp' /etc/passwd
tar cf - /etc/default 2>/dev/null | tar tf - | sort
gzip -c /etc/passwd | gzip -dc | md5sum
echo '2^200; scale=20; 4*a(1)' | bc -l
perl -e 'my %h=(a=>1,b=>2); print join(",",map{"$_=$h{$_}"} sort keys %h),"\n"'
perl -e 'my $p=fork; if(!$p){exit 7} waitpid $p,0; print $?>>8,"\n"'
perl -e 'alarm 2; $SIG{ALRM}=sub{print "alarm\n"; exit 4}; sleep 10'
python3 -c 'print(sum(range(1000)))'
python3 -c 'import subprocess; print(subprocess.run(["echo","hi"],capture_output=True).stdout)'
python3 -c 'import threading as t; l=[]; x=[t.Thread(target=l.append,args=(i,)) for i in range(5)]; [i.start() for i in x]; [i.join() for i in x]; print(sorted(l))'
echo a | cat; (exit 3); echo $?
nosuchcommand 2>/dev/null; echo $?
sh -c 'kill -SEGV $$'; echo $?
sh -c 'kill -9 $$'
timeout 1 sleep 5; echo $?
seq 1 1000 | xargs -n 100 echo | wc
dd if=/dev/zero bs=1k count=10 2>/dev/null | od | head -3
yes | head -3
xz -c /etc/passwd | xz -dc | cksum
bash -c 'for i in 1 2 3; do echo $i; done | sort -r; x=$(echo sub); echo $x; (cd /; pwd); trap "echo bye" EXIT'
bash -c 'trap "echo usr1" USR1; kill -USR1 $$; echo after; sleep 0.1 & wait; echo $?'
bash -c 'a=(1 2 3); for x in "${a[@]}"; do ((s+=x)); done; echo $s; echo {a..e}; [[ abc =~ b ]] && echo ${BASH_REMATCH[0]}'
bash -c 'f() { [ $1 -gt 0 ] && f $(($1-1)); echo $1; }; f 20 | tail -2; cat <(echo x) <(echo y)'
bash -c 'coproc cat; echo hi >&${COPROC[1]}; read -u ${COPROC[0]} x; echo got $x; exec {COPROC[1]}>&-; wait'
bash -c 'set -m; sleep 1 & kill %1; wait %1; echo $?' 2>/dev/null
""".strip().splitlines()  # noqa: E501 - commands are easier to paste in one line


@pytest.mark.parametrize("command", COMMANDS)
def test_same_as_native(
    command: str, emulate: Callable[..., tuple[int, bytes, bytes]], environment: dict[str, str], tool: Callable[[str], str], tmp_path: Path
) -> None:
    if command.split()[0] not in ("nosuchcommand", "echo"):
        tool(command.split()[0])
    native = subprocess.run(["/bin/sh", "-c", command], capture_output=True, env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL)
    status, output, _ = emulate(["/bin/sh", "-c", command], cwd=tmp_path)
    assert output == native.stdout
    assert status == (native.returncode if native.returncode >= 0 else 128 - native.returncode)


def test_two_runs_are_equal(emulate: Callable[..., tuple[int, bytes, bytes]]) -> None:
    command = ["/bin/sh", "-c", "echo $$; date +%s.%N; head -c 8 /dev/urandom | od; (sleep 1; echo late) & wait; cat /proc/self/stat"]
    assert emulate(command) == emulate(command)
