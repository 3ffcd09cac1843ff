"""A barrier that keeps the workers of a cluster between two steps.

A chief closes it to take a snapshot: it writes a ticket to a parameter server,
and waits until each worker answers with it. A worker reads the ticket together
with each step, so an open barrier costs no round trip. While a ticket is there,
the worker answers and waits. A worker also writes a sign of life every second:
a chief waits for a worker that is dead only once.
"""

from __future__ import annotations

import contextlib
import secrets
import time

import tensorflow as tf

from monolith_tf import failpoints

v1 = tf.compat.v1
_OPEN = 0
_GONE = -(2**63)
_SIGN_OF_LIFE_SECONDS = 1.0
_POLL_SECONDS = 0.002


class StepBarrier:
    """The ticket and the answers, on a server.

    Args:
        device: The server that holds them.
        num_workers: Number of workers of the cluster, the chief included. The
            chief is worker 0.
    """

    def __init__(self, device: str, num_workers: int):
        """Builds the operations in the current graph."""
        self._num_workers = num_workers
        self._number = v1.placeholder(tf.int64, [])
        self._worker = v1.placeholder(tf.int64, [])
        with tf.device(device):
            # In no collection: they are neither saved nor waited for.
            ticket = _variable("ticket", [])
            answers = _variable("answers", [num_workers])
            self.ticket = tf.cond(
                tf.raw_ops.VarIsInitializedOp(resource=ticket),
                lambda: _read(ticket),
                lambda: tf.constant(_OPEN, tf.int64),
            )
            self._answers = _read(answers)
            self._set_ticket = _assign(ticket, self._number)
            self._answer = tf.cond(
                tf.raw_ops.VarIsInitializedOp(resource=answers),
                lambda: self._update(answers),
                lambda: tf.constant(False),
            )
            self._reset = tf.group(
                _assign(ticket, tf.constant(_OPEN, tf.int64)),
                _assign(answers, tf.zeros([num_workers], tf.int64)),
            )
        self._is_closed = False
        # Workers that did not answer, and what they had said before.
        self._lost: dict[int, int] = {}

    def _update(self, answers) -> tf.Tensor:
        update = tf.raw_ops.ResourceScatterUpdate(
            resource=answers,
            indices=self._worker[None],
            updates=self._number[None],
        )
        with tf.control_dependencies([update]):
            return tf.constant(True)

    def reset(self, session) -> None:
        """Opens it in a new session, and forgets the answers."""
        session.run(self._reset)
        self._is_closed = False

    def close(self, session, timeout_seconds: float) -> list[int]:
        """Waits until no worker has a step under way, and keeps it so.

        Args:
            session: Session of the chief.
            timeout_seconds: Longest wait for a worker.

        Returns:
            The workers that did not answer: dead, or in a step that takes
            longer.

        Raises:
            tf.errors.OpError: The server is lost. Call `open`.
        """
        ticket = secrets.randbits(62) + 1
        deadline = time.monotonic() + timeout_seconds
        self._is_closed = True
        session.run(self._set_ticket, {self._number: ticket})
        while True:
            answers = session.run(self._answers).tolist()
            silent = {
                worker: answer
                for worker, answer in enumerate(answers)
                if worker and answer not in (ticket, _GONE)
            }
            alive = {
                worker: answer
                for worker, answer in silent.items()
                if self._lost.get(worker) != answer
            }
            if alive and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                continue
            self._lost = silent
            failpoints.hit("step_barrier.after_close")
            return sorted(silent)

    def open(self, session) -> None:
        """Lets the workers continue. Does nothing if it is open.

        Raises:
            tf.errors.OpError: The server is lost. Call it again.
        """
        if self._is_closed:
            session.run(self._set_ticket, {self._number: _OPEN})
            self._is_closed = False

    def answer(self, session, worker: int, number: int) -> None:
        """Writes what a worker says."""
        session.run(self._answer, {self._worker: worker, self._number: number})

    def wait(self, session, worker: int, ticket: int) -> None:
        """Keeps a worker while the barrier is closed.

        Args:
            session: Session of the worker.
            worker: Number of the worker.
            ticket: The ticket that it read.
        """
        while ticket != _OPEN:
            self.answer(session, worker, ticket)
            seen = ticket
            while ticket == seen:
                time.sleep(_POLL_SECONDS)
                ticket = int(session.run(self.ticket))


class StepBarrierHook(v1.train.SessionRunHook):
    """Keeps a worker other than the chief behind a barrier.

    It is the last hook of its session, so that all others have ended the step.

    Args:
        barrier: `StepBarrier`.
        worker: Number of the worker, from 1.
    """

    def __init__(self, barrier: StepBarrier, worker: int):
        """Keeps the arguments."""
        self._barrier = barrier
        self._worker = worker
        self._session = None
        self._last_sign = 0.0

    def after_create_session(self, session, coord):
        """Joins, and waits if the barrier is closed."""
        del coord
        self._session = session
        # First: the chief either sees it or has closed the barrier before.
        self._show_life()
        ticket = int(session.run(self._barrier.ticket))
        self._barrier.wait(session, self._worker, ticket)

    def before_run(self, run_context):
        """Reads the ticket together with the step."""
        del run_context
        return v1.train.SessionRunArgs(self._barrier.ticket)

    def after_run(self, run_context, run_values):
        """Waits if the barrier is closed."""
        del run_context
        ticket = int(run_values.results)
        if ticket != _OPEN:
            self._barrier.wait(self._session, self._worker, ticket)
        elif time.monotonic() - self._last_sign >= _SIGN_OF_LIFE_SECONDS:
            self._show_life()

    def end(self, session):
        """Leaves: the chief need not wait any more."""
        # The chief waits in vain, once.
        with contextlib.suppress(tf.errors.OpError):
            self._barrier.answer(session, self._worker, _GONE)

    def _show_life(self) -> None:
        self._last_sign = time.monotonic()
        number = -1 - secrets.randbits(62)
        self._barrier.answer(self._session, self._worker, number)


def _variable(name: str, shape: list[int]) -> tf.Tensor:
    return tf.raw_ops.VarHandleOp(
        dtype=tf.int64,
        shape=shape,
        shared_name=f"monolith_tf_step_barrier/{name}",
    )


def _read(variable: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.ReadVariableOp(resource=variable, dtype=tf.int64)


def _assign(variable: tf.Tensor, value: tf.Tensor) -> tf.Operation:
    return tf.raw_ops.AssignVariableOp(resource=variable, value=value)
