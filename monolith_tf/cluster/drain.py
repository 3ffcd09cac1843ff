"""Draining: a process that is to stop leaves when its state is saved.

A parameter server that gets SIGTERM asks for a snapshot and serves on. The
chief (`mt.callbacks.Snapshots`) sees that between two steps. It takes the
snapshot, tells the server that it may leave, and exits to be restarted.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import NoReturn

import tensorflow as tf

from monolith_tf import ops

SERVING = 0
DRAINING = 1
DRAINED = 2
# Below the 30 seconds that Kubernetes gives a pod.
GRACE_SECONDS = 25.0
_POLL_SECONDS = 0.1


class TerminationSignal:
    """Remembers SIGTERM in place of the end of the process.

    A second SIGTERM has its former effect.

    Outside of the main thread, where Python sets no handlers, it remembers
    nothing.

    Attributes:
        is_received: True after SIGTERM.
    """

    def __init__(self):
        """Sets the handler."""
        self.is_received = False
        self._previous = None
        self._is_set = threading.current_thread() is threading.main_thread()
        if self._is_set:
            self._previous = signal.signal(signal.SIGTERM, self._receive)

    def close(self) -> None:
        """Puts the previous handler back."""
        if self._is_set:
            signal.signal(signal.SIGTERM, self._previous or signal.SIG_DFL)
            self._is_set = False

    def _receive(self, number, frame) -> None:
        del frame
        if self.is_received:
            self.close()
            signal.raise_signal(number)
        self.is_received = True


def state(wanted: int = SERVING) -> int:
    """Returns the state of this process, after raising it to `wanted`."""
    with tf.device("/device:CPU:0"):
        return int(ops.drain(tf.constant(wanted, tf.int64)))


def serve_until_drained(grace_seconds: float = GRACE_SECONDS) -> NoReturn:
    """Serves until SIGTERM, then until the state is saved, and exits with 0.

    Call it in the main thread of a parameter server.

    Args:
        grace_seconds: Longest time from SIGTERM to the exit.
    """
    term = TerminationSignal()
    while not term.is_received:
        time.sleep(_POLL_SECONDS)
    print("monolith-tf: SIGTERM: waiting for a snapshot", flush=True)
    deadline = time.monotonic() + grace_seconds
    saved = state(DRAINING) == DRAINED
    while not saved and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        saved = state() == DRAINED
    print(
        "monolith-tf: leaving with all rows saved"
        if saved
        else f"monolith-tf: no snapshot within {grace_seconds:g} s: leaving, "
        "and updates since the last one are lost",
        flush=True,
    )
    sys.stdout.flush()
    # TensorFlow cannot stop a server.
    os._exit(0)
