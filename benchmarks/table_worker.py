"""Processes for the measurements of benchmarks.

TensorFlow sets the number of its threads once per process, and a fresh process
has clean memory, so every measurement runs in its own processes. A pipe sends
them one call at a time, so that several can take turns.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import traceback


class Process:
    """A child that holds an object and calls its methods.

    Args:
        kind: Name of a class.
        threads: For TensorFlow, intra-op and inter-op; 0 for its defaults.
        module: The module of the class.
        arguments: Of the class.

    Raises:
        RuntimeError: The child failed, here or in a call; with its traceback.
    """

    def __init__(
        self,
        kind: str,
        threads: int,
        *,
        module: str = "table_measures",
        **arguments,
    ):
        """Starts the child and waits until its object exists."""
        self.threads = threads
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(theirs, module, kind, threads, arguments),
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self._receive(kind)

    def call(self, method: str, **arguments):
        """Calls a method of the object and returns its result."""
        self._pipe.send((method, arguments))
        return self._receive(method)

    def close(self) -> None:
        """Ends the child."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe.send(None)
        self._process.join(60)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Process:
        """Returns itself."""
        return self

    def __exit__(self, *exception) -> None:
        """Ends the child."""
        self.close()

    def _receive(self, what: str):
        try:
            failure, result = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(
                f"The process of {what} died with code "
                f"{self._process.exitcode}; -9 is often too little memory."
            ) from None
        if failure is not None:
            raise RuntimeError(f"{what} failed:\n{failure}")
        return result


def _serve(pipe, module: str, kind: str, threads: int, arguments: dict) -> None:
    """Runs in the child until it is told to end."""
    # TFRA's optimizers require it.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    def reply(work):
        try:
            pipe.send((None, work()))
        except Exception:  # noqa: BLE001
            pipe.send((traceback.format_exc(), None))
            return False
        return True

    made = []

    def make():
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.get_logger().setLevel("ERROR")
        made.append(getattr(importlib.import_module(module), kind)(**arguments))

    if not reply(make):
        return
    with contextlib.suppress(EOFError):
        while (message := pipe.recv()) is not None:
            method, given = message
            reply(lambda m=method, g=given: getattr(made[0], m)(**g))
