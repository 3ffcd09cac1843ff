"""The state of one role, from its answers and its process."""

from __future__ import annotations

import dataclasses

from monolith_tf.cluster import probe
from monolith_tf.cluster import process_state
from monolith_tf.cluster.probe import Answer
from monolith_tf.cluster.process_state import ProcessState

STARTING = "starting"
ALIVE = "alive"
SLOW = "slow"
DEAD = "dead"
HUNG = "hung"
PARTITIONED = "partitioned"
STATES = (STARTING, ALIVE, SLOW, DEAD, HUNG, PARTITIONED)

_Verdict = tuple[str, str]
# A process that uses its processor and answers nothing may be overloaded, so it
# has this many time-outs until it counts as hung.
_PATIENCE = 12
_DOWN = {
    probe.REFUSES: DEAD,
    probe.SILENT: HUNG,
    probe.UNREACHABLE: PARTITIONED,
}


@dataclasses.dataclass(frozen=True)
class Health:
    """State of a role, and what it follows from.

    Attributes:
        role: Name, such as "ps 0".
        address: "host:port" of its server; None if only its process is known.
        pid: Its process, if that is of this machine.
        state: "starting", "alive", "slow", "dead", "hung" or "partitioned".
        silent_seconds: Time since its last answer, or since its process could
            last be seen to run.
        reason: Of a state other than alive, or "".
        step: The last known training step, or None.
    """

    role: str
    address: str | None
    pid: int | None = None
    state: str = STARTING
    silent_seconds: float = 0.0
    reason: str = ""
    step: int | None = None

    def __str__(self) -> str:
        """Returns one line for a log."""
        where = f" at {self.address}" if self.address else ""
        where += f" (process {self.pid})" if self.pid else ""
        text = f"{self.role}{where} is {self.state}"
        if self.state not in (STARTING, ALIVE):
            text += f", {self.reason}" if self.reason else ""
            text += f"; last answer {self.silent_seconds:.1f} s ago"
        if self.step is not None:
            text += f"; last known step {self.step}"
        return text


class HealthRules:
    """Decides the state of one role; it has no clock and no thread.

    Every time is in seconds of one clock that never goes back.

    Args:
        timeout_seconds: Time without an answer until a role is dead, hung or
            partitioned; with late answers only until it is slow.
        slow_seconds: Time of an answer that makes it late.
        begin: Time of the start.

    Attributes:
        state: One of `STATES`.
        reason: Of the state, or "".
    """

    def __init__(
        self, timeout_seconds: float, slow_seconds: float, begin: float
    ):
        """Knows no answer yet."""
        self.state = STARTING
        self.reason = ""
        self._timeout_seconds = timeout_seconds
        self._slow_seconds = slow_seconds
        # True once its server was there.
        self._reached = False
        self._answered = begin
        self._answered_promptly = begin
        # When its process last used its processor, and was not stopped.
        self._moved = begin
        self._ran = begin
        self._ticks = -1

    def silent_seconds(self, now: float) -> float:
        """Returns the time since the last answer."""
        return max(0.0, now - self._answered)

    def forgive(self, seconds: float) -> None:
        """Takes off a time in which the observer itself did not run."""
        self._answered += seconds
        self._answered_promptly += seconds
        self._moved += seconds
        self._ran += seconds

    def observe(
        self, now: float, answer: Answer | None, process: ProcessState | None
    ) -> str:
        """Takes one observation into account.

        Args:
            now: Time of the observation.
            answer: The answer of its server; None for a role without one.
            process: The state of its process; None if it is not of this
                machine.

        Returns:
            The new state.
        """
        if answer is not None:
            self._note_answer(now, answer)
        if process is None:
            verdict = self._judge_server(now, answer)
        else:
            self._note_process(now, process)
            verdict = self._judge_process(now, answer, process)
        self.state, self.reason = verdict
        return self.state

    def _note_answer(self, now: float, answer: Answer) -> None:
        if answer.kind in (probe.ANSWERS, probe.GREETS):
            self._reached = True
            self._answered = now
            if (
                answer.kind == probe.ANSWERS
                and answer.seconds <= self._slow_seconds
            ):
                self._answered_promptly = now
        elif not self._reached:
            # A port that nobody serves yet is that of a role that starts; one
            # that takes connections and never answers is not.
            self._reached = answer.kind == probe.SILENT
            self._answered = self._answered_promptly = now

    def _note_process(self, now: float, process: ProcessState) -> None:
        if process.cpu_ticks != self._ticks:
            self._ticks = process.cpu_ticks
            self._moved = now
        if process.state == process_state.RUNNING:
            # It may wait for a processor that others use.
            self._moved = now
        if process.state != process_state.STOPPED:
            self._ran = now

    def _judge_server(self, now: float, answer: Answer | None) -> _Verdict:
        """Returns the state of a role whose process is out of sight."""
        if not self._reached:
            return STARTING, ""
        if self._is_over(now, self._answered):
            return _DOWN[answer.kind], answer.detail
        return self._judge_speed(now)

    def _judge_process(
        self, now: float, answer: Answer | None, process: ProcessState
    ) -> _Verdict:
        if process.state == process_state.GONE:
            return DEAD, "its process has ended"
        is_stopped = process.state == process_state.STOPPED
        if answer is None or (self._reached and answer.kind == probe.REFUSES):
            # It serves nothing, or no longer: only its process counts.
            self._reached = True
            if not is_stopped and not self._is_blocked(now, process):
                self._answered = self._answered_promptly = now
        if is_stopped and (
            self._is_over(now, self._ran)
            or (self._reached and self._is_over(now, self._answered))
        ):
            return HUNG, "its process is stopped"
        if not self._reached:
            return STARTING, ""
        if not self._is_over(now, self._answered):
            return self._judge_speed(now)
        if self._is_blocked(now, process):
            return HUNG, "its process is blocked in the kernel"
        if self._is_over(now, self._moved):
            return HUNG, "its process sleeps and its server does not answer"
        if now - self._answered < _PATIENCE * self._timeout_seconds:
            return SLOW, "its process runs and its server does not answer"
        return HUNG, "its process runs and its server does not answer"

    def _judge_speed(self, now: float) -> _Verdict:
        if self._is_over(now, self._answered_promptly):
            return SLOW, "its answers are late"
        return ALIVE, ""

    def _is_blocked(self, now: float, process: ProcessState) -> bool:
        is_blocked = process.state == process_state.BLOCKED
        return is_blocked and self._is_over(now, self._moved)

    def _is_over(self, now: float, since: float) -> bool:
        return now - since >= self._timeout_seconds
