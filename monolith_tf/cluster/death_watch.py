"""An interrupt of the main thread when a child process dies."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable

from monolith_tf.cluster.child_process import ChildProcess
from monolith_tf.cluster.child_process import ProcessError

_LOOK_SECONDS = 0.2
# An interrupt is lost if TensorFlow's C++ is calling Python. So it is repeated,
# after enough time for the block to end.
_REPEAT_SECONDS = 10.0


class DeathWatch:
    """A block that raises `ProcessError` as soon as a child process dies.

    Training waits for lost workers without a limit. Inside the block a thread
    watches the children. When one dies it interrupts the main thread as Ctrl-C
    does, and the block raises the error of `ChildProcess.check` instead of
    `KeyboardInterrupt`. It also works where Ctrl-C is ignored, as in background
    processes of a shell script.

    Args:
        children: Processes that must live as long as the block.
        repeat_seconds: Time from an interrupt to the next one, if the block
            still runs.

    Raises:
        RuntimeError: The block is entered outside of the main thread.

    Example:
    ```python
    with LocalCluster() as cluster:
        with DeathWatch(cluster.children):
            model.fit(dataset, steps_per_epoch=100)
    ```
    """

    def __init__(
        self,
        children: Iterable[ChildProcess],
        repeat_seconds: float = _REPEAT_SECONDS,
    ):
        """Remembers the children; entering the block starts the thread."""
        self._repeat_seconds = repeat_seconds
        self._children = tuple(children)
        self._stop = threading.Event()
        self._failure: ProcessError | None = None
        self._ignores_ctrl_c = False
        self._thread = threading.Thread(
            target=self._look, name="death watch", daemon=True
        )

    def __enter__(self) -> DeathWatch:
        """Starts the thread."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "DeathWatch interrupts the main thread, so enter it there. "
                f"Received: thread {threading.current_thread().name!r}."
            )
        self._ignores_ctrl_c = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        if self._ignores_ctrl_c:
            signal.signal(signal.SIGINT, self._interrupt)
        self._thread.start()
        return self

    def __exit__(self, kind, error, traceback) -> None:
        """Stops the thread; raises the death that ended the block."""
        try:
            self._stop.set()
            self._thread.join()
        except KeyboardInterrupt:
            if self._failure is None:
                raise
        finally:
            if self._ignores_ctrl_c:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        # The death may have caused an error of the block, which becomes the
        # context of this one.
        if self._failure is not None:
            raise self._failure

    def _interrupt(self, number, frame) -> None:
        """Handles SIGINT where the process ignores it."""
        del number, frame
        if self._failure is not None:
            raise KeyboardInterrupt

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                for child in self._children:
                    child.check()
            except ProcessError as failure:
                self._failure = failure
                break
        else:
            return
        while True:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            if self._stop.wait(self._repeat_seconds):
                return
