"""The step of the chief, in a small file that its launcher reads."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pathlib
import threading
import time

from monolith_tf import failpoints

FILE_VARIABLE = "MONOLITH_TF_PROGRESS_FILE"
# In the folder of the logs of a launched job.
FILE_NAME = "progress.json"
_WRITE_SECONDS = 1.0
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Progress:
    """The last report of a chief.

    Attributes:
        step: The step that the program reported, or None.
        calls: Calls of `schedule` that workers have finished since the chief
            began; `fit` makes one per `steps_per_execution` steps.
        time: Seconds since the epoch when it was written.
    """

    step: int | None
    calls: int
    time: float

    def has_moved_since(self, before: Progress | None) -> bool:
        """Returns True if a step or a call was finished in between."""
        if before is None:
            return True
        return (self.step, self.calls) != (before.step, before.calls)


class _Writer:
    """Writes the file of this process, at most once per second."""

    def __init__(self):
        self._lock = threading.Lock()
        self._step: int | None = None
        self._written = -_WRITE_SECONDS

    def report(self, step: int | None) -> None:
        path = os.environ.get(FILE_VARIABLE)
        if not path:
            return
        with self._lock:
            if step is not None:
                self._step = step
            if time.monotonic() - self._written < _WRITE_SECONDS:
                return
            self._written = time.monotonic()
            record = Progress(self._step, _finished_calls(), time.time())
            temporary = pathlib.Path(f"{path}.tmp")
            try:
                failpoints.hit("progress.before_write")
                # Nobody needs it after a loss of power, so it is not synced.
                temporary.write_text(json.dumps(dataclasses.asdict(record)))
                os.replace(temporary, path)
            except OSError as error:
                # A full disk is not a reason to stop training.
                _log.warning("progress is not written: %s", error)


_writer = _Writer()


def is_launched() -> bool:
    """Returns True if a launcher watches this chief and its cluster."""
    return bool(os.environ.get(FILE_VARIABLE))


def report_step(step: int) -> None:
    """Tells the launcher the step of this chief.

    `monolith-tf launch` names the last step when a role hangs, `monolith-tf
    cluster-status` shows it, and with `--progress_timeout_seconds` a chief
    whose step does not move is restarted. Call it after each step of a custom
    loop, or less often: it writes a small file at most once per second, and
    nothing without a launcher. `mt.callbacks.TrainingMetrics` calls it at
    the end of an epoch.

    Args:
        step: Number of finished steps.

    Example:
    >>> report_step(100)
    """
    _writer.report(int(step))


class ProgressReporter:
    """A block in which a thread reports the calls that workers finished.

    So a chief that only calls `fit` shows progress too.
    """

    def __init__(self):
        """Starts nothing yet."""
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="progress", daemon=True
        )

    def __enter__(self) -> ProgressReporter:
        """Starts the thread, if there is a launcher."""
        if is_launched():
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops the thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            _writer.report(None)
            if self._stop.wait(_WRITE_SECONDS):
                return


def read_progress(path: str | os.PathLike[str]) -> Progress | None:
    """Reads the file of a chief.

    Args:
        path: The file.

    Returns:
        Its content; None if there is no file, or it is not whole.

    Example:
    >>> read_progress("no/such/file")
    """
    try:
        return Progress(**json.loads(pathlib.Path(path).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def read_step(path: str | os.PathLike[str]) -> int | None:
    """Reads the step that a chief has reported, or None if it has not.

    Args:
        path: The file of `read_progress`.

    Returns:
        The step.

    Example:
    >>> read_step("no/such/file")
    """
    progress = read_progress(path)
    return None if progress is None else progress.step


def _finished_calls() -> int:
    """Reads the count of TensorFlow's own monitoring."""
    from tensorflow.python.distribute.coordinator import metric_utils

    try:
        return int(metric_utils.get_metric_summary("closure_execution")["num"])
    except KeyError:
        # There is no coordinator yet.
        return 0
