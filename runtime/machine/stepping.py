"""One instruction at a time, as a debugger wants it.

The processor's own trap flag is not used: the guest would see it, and arm64's needs more of the machine than libunicorn has. Instead the
code is translated anew with an end behind the instruction, and a timer that is due when anything has been executed stops the run.
"""

from __future__ import annotations

from pyprobe.runtime.machine.disassembly import LONGEST, first
from pyprobe.runtime.machine.stop import Stop, StopKind
from pyprobe.runtime.machine.tracing import Tracing


class Stepping(Tracing):
    """A processor that steps."""

    _cut: bool  # the run goes on without an end when it has reached it

    def run(self) -> Stop:
        """See Engine."""
        raise NotImplementedError

    def _end_at(self, *addresses: int) -> None:
        """See Engine."""
        raise NotImplementedError

    def step(self) -> tuple[Stop, bool]:
        """Run for one instruction; why the run has ended, and whether because it was executed.

        It is not when it faults or is a system call, and when something else stops the run before. An instruction that repeats is executed
        once. Raises what `run` raises.
        """
        space, state, clock = self._space, self.state, self.clock
        pc = state.pc
        found = first(self.arch.name, space.peek(pc, LONGEST[self.arch.name]))
        end = pc + (len(found[0]) if found is not None else 1)
        done = False

        def executed() -> None:
            nonlocal done
            displaced = any(origin(state.pc) == (pc, False) for origin in space.points.origins)
            if not state.size or displaced:  # it is only about to be executed
                timers.append(clock.add(clock.now() + 1, executed))
                return
            done = True
            self.request_stop()

        state.size = 0
        timers = [clock.add(clock.now() + 1, executed)]
        self.flush_translations(space, pc, end)
        self._cut = True
        self._end_at(end)
        try:
            stop = self.run()
        finally:
            for timer in timers:
                clock.cancel(timer)
            self.flush_translations(space, pc, end + 1)  # with the end itself, where the code may have jumped to
        return stop, done and stop.kind is StopKind.STOPPED
