"""Heartbeats: roles that answer, and what is wrong with the others."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable

from monolith_tf.cluster import health as health_lib
from monolith_tf.cluster.health import Health
from monolith_tf.cluster.health import HealthRules
from monolith_tf.cluster.probe import Probe
from monolith_tf.cluster.process_state import read_process_state

_log = logging.getLogger(__name__)
_LEAST_SECONDS = 0.05
# All that run in this process, for the metrics.
_running: weakref.WeakSet[HeartbeatMonitor] = weakref.WeakSet()


def running_monitors() -> list[HeartbeatMonitor]:
    """Returns the monitors of this process that are not closed."""
    return list(_running)


class HeartbeatMonitor:
    """Asks roles for a sign of life, and names those that do not answer.

    Each role has one thread. Once per interval it asks the TensorFlow server of
    the role for its status, which needs nothing of the role except its port: a
    parameter server, a worker, and a chief under `ParameterServerStrategy` or
    between graphs have it. For processes of this machine it also reads /proc.

    | state | meaning |
    | --- | --- |
    | starting | its port was never open |
    | alive | answers |
    | slow | answers late; or its process uses the processor and is silent |
    | dead | no process listens on its port |
    | hung | takes connections and is silent: stopped, or blocked |
    | partitioned | its machine takes no connections |

    A role is dead, hung or partitioned after `timeout_seconds` without an
    answer. A time in which the monitor did not run itself does not count.

    Args:
        timeout_seconds: Time without an answer until a role counts as down;
            above 0.
        interval_seconds: Time from one question to the next.
        slow_seconds: Time of an answer above which it is late.
        on_change: Called in the thread of the role with its `Health`, once per
            change of its state; calls are not concurrent, and must not close
            the monitor. None for the log alone.
        read_step: Returns the last known training step, or None.

    Raises:
        ValueError: A time is not above 0.

    Example:
    ```python
    with HeartbeatMonitor(on_change=print) as monitor:
        monitor.watch("ps 0", "host2:2222")
        train()
    ```
    """

    def __init__(
        self,
        timeout_seconds: float = 5.0,
        *,
        interval_seconds: float = 1.0,
        slow_seconds: float = 1.0,
        on_change: Callable[[Health], None] | None = None,
        read_step: Callable[[], int | None] | None = None,
    ):
        """Watches nothing yet."""
        for name, value in (
            ("timeout_seconds", timeout_seconds),
            ("interval_seconds", interval_seconds),
            ("slow_seconds", slow_seconds),
        ):
            if not value > 0:
                raise ValueError(
                    f"HeartbeatMonitor needs {name} above 0. Received: "
                    f"{name}={value}."
                )
        self._timeout_seconds = timeout_seconds
        self._interval_seconds = interval_seconds
        self._slow_seconds = slow_seconds
        self._on_change = on_change
        self._read_step = read_step
        self._lock = threading.Lock()
        self._report_lock = threading.Lock()
        self._watches: dict[str, _Watch] = {}
        _running.add(self)

    def watch(
        self, role: str, address: str | None, pid: int | None = None
    ) -> None:
        """Begins to watch a role, or its next process.

        Args:
            role: Name of the role, such as "ps 0". What was known of it is
                forgotten.
            address: "host:port" of its server; None if it has none.
            pid: Its process, if that is a process of this machine.

        Raises:
            ValueError: There is neither address nor process.
        """
        if address is None and pid is None:
            raise ValueError(
                f"HeartbeatMonitor.watch needs an address or a process of "
                f"{role!r}. Received: neither."
            )
        self.forget(role)
        watch = _Watch(self, role, address, pid)
        with self._lock:
            self._watches[role] = watch
        watch.thread.start()

    def forget(self, role: str) -> None:
        """Ends the watch of a role, if there is one."""
        with self._lock:
            watch = self._watches.pop(role, None)
        if watch is not None:
            watch.close()

    def health(self, role: str) -> Health:
        """Returns what is known of a role.

        Raises:
            KeyError: It is not watched.
        """
        with self._lock:
            return self._watches[role].health()

    def healths(self) -> list[Health]:
        """Returns what is known of each role."""
        with self._lock:
            watches = list(self._watches.values())
        return [watch.health() for watch in watches]

    def close(self) -> None:
        """Ends all threads."""
        with self._lock:
            watches, self._watches = list(self._watches.values()), {}
        for watch in watches:
            watch.stop()
        for watch in watches:
            watch.close()
        _running.discard(self)

    def __enter__(self) -> HeartbeatMonitor:
        """Returns itself; the end of the block closes it."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes it."""
        self.close()

    def _report(self, health: Health) -> None:
        with self._report_lock:
            is_good = health.state == health_lib.ALIVE
            _log.log(logging.INFO if is_good else logging.WARNING, "%s", health)
            if self._on_change is not None:
                self._on_change(health)


class _Watch:
    """The thread of one role, and what it knows."""

    def __init__(self, monitor: HeartbeatMonitor, role, address, pid):
        self._monitor = monitor
        self._role, self._address, self._pid = role, address, pid
        self._rules = HealthRules(
            monitor._timeout_seconds, monitor._slow_seconds, time.monotonic()
        )
        self._probe = None if address is None else Probe(address)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.thread = threading.Thread(
            target=self._run, name=f"heartbeats of {role}", daemon=True
        )

    def health(self) -> Health:
        read_step = self._monitor._read_step
        step = None if read_step is None else read_step()
        with self._lock:
            return Health(
                self._role,
                self._address,
                self._pid,
                self._rules.state,
                self._rules.silent_seconds(time.monotonic()),
                self._rules.reason,
                step,
            )

    def stop(self) -> None:
        self._stop.set()
        if self._probe is not None:
            self._probe.interrupt()

    def close(self) -> None:
        self.stop()
        self.thread.join()
        if self._probe is not None:
            self._probe.close()

    def _run(self) -> None:
        timeout_seconds = self._monitor._timeout_seconds
        interval_seconds = self._monitor._interval_seconds
        wait_seconds = 0.0
        before = time.monotonic()
        while not self._stop.wait(wait_seconds):
            left = timeout_seconds - self._rules.silent_seconds(
                time.monotonic()
            )
            # The last question of a time-out ends with it.
            ask_seconds = max(interval_seconds, left)
            answer = None
            if self._probe is not None:
                answer = self._probe.ask(ask_seconds)
            if self._stop.is_set():
                return
            process = None
            if self._pid is not None:
                process = read_process_state(self._pid)
            now = time.monotonic()
            # Beyond what it waits for, this thread did not run itself.
            lost_seconds = now - before - ask_seconds - wait_seconds
            before = now
            if lost_seconds < interval_seconds:
                lost_seconds = 0.0
            if self._observe(now, lost_seconds, answer, process):
                self._monitor._report(self.health())
            left = timeout_seconds - self._rules.silent_seconds(now)
            wait_seconds = interval_seconds
            if left > 0:
                wait_seconds = min(interval_seconds, max(left, _LEAST_SECONDS))

    def _observe(self, now, lost_seconds, answer, process) -> bool:
        """Returns True if the state changed to one that is reported."""
        before = self._rules.state
        with self._lock:
            self._rules.forgive(lost_seconds)
            state = self._rules.observe(now, answer, process)
        if state == before or state == health_lib.STARTING:
            return False
        return (before, state) != (health_lib.STARTING, health_lib.ALIVE)
