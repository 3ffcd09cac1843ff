"""The main job: train in batch, export, serve, then learn online.

Starts parameter servers, workers and two model servers as processes of this
machine, a few minutes of work for two cores, and measures what serving
live deltas is worth against a frozen copy of the same export.

    python examples/demo.py --data=ml-latest-small/ratings.csv
"""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import sys
import tempfile

# Before TensorFlow is imported, which reads these once. The second lets
# the chief see that a worker or a server is gone.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")

from absl import app  # noqa: E402
from absl import flags  # noqa: E402

_DATA = flags.DEFINE_string(
    "data",
    None,
    "Path of a ratings.csv in the MovieLens layout, movies.csv next to it. "
    "Default: ratings from the built-in generator of drifting Zipf traffic.",
)
_SEED = flags.DEFINE_integer(
    "seed",
    1,
    "Seed of the weights, of the generator and of the rows that are timed.",
    lower_bound=0,
)
_EXAMPLES = flags.DEFINE_integer(
    "examples",
    0,
    "How many ratings to use: the latest ones of --data, or how many to "
    "generate. 0: all of --data, or 100,000.",
    lower_bound=0,
)
_CHUNK = flags.DEFINE_integer(
    "chunk",
    256,
    "Online, this many ratings are scored, then trained on, one step a worker.",
    lower_bound=1,
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 256, "Ratings a step in the batch half.", lower_bound=1
)
_BATCH_EPOCHS = flags.DEFINE_integer(
    "batch_epochs", 3, "Epochs over the batch half.", lower_bound=1
)
_NUM_PS = flags.DEFINE_integer(
    "num_ps", 2, "Number of parameter servers.", lower_bound=1
)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers", 2, "Number of workers.", lower_bound=1
)
_PUSH_INTERVAL = flags.DEFINE_float(
    "push_interval_seconds",
    0.1,
    "Least time from the start of one push of deltas to the next.",
    lower_bound=0.0,
)
_FRESHNESS_ROWS = flags.DEFINE_integer(
    "freshness_rows",
    300,
    "How many rows, drawn at random from those just changed, to time until a "
    "served prediction shows them.",
    lower_bound=1,
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir",
    None,
    "New or empty folder for the plot, logs, exports and deltas. Default: a "
    "new folder in out/.",
)

_MIN_EXAMPLES = 100
_GENERATED_EXAMPLES = 100_000


def main(arguments: list[str]) -> int:
    """Runs the job and prints its report; returns the exit code."""
    if len(arguments) > 1:
        return _fail(
            f"unexpected arguments {arguments[1:]}; write --data=PATH. See "
            "--help."
        )
    interrupted = []

    def interrupt(number, frame):
        interrupted.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        return _run()
    except BaseException:
        # An interrupted call of TensorFlow may end with any error.
        if not interrupted:
            raise
        _fail("interrupted; every process has ended")
        sys.stdout.flush()
        # Destructors of TensorFlow objects may wait forever for the
        # servers, which have ended.
        os._exit(130)


def _run() -> int:
    try:
        output_dir = _make_output_dir()
    except (OSError, ValueError) as error:
        return _fail(error)
    logs = output_dir / "logs"
    logs.mkdir()
    _send_native_output_to(logs / "chief.log")
    # Here, so that --help and wrong flags answer at once, and after the line
    # above, because TensorFlow writes when it is imported.
    from main_job import Options
    from main_job import run
    from report import summary
    from report import to_json_line

    from monolith_tf.errors import MonolithError

    try:
        name, ratings = _read()
    except (OSError, ValueError) as error:
        # A second run may use the same folder.
        shutil.rmtree(logs)
        return _fail(error)
    options = Options(
        name=name,
        seed=_SEED.value,
        num_ps=_NUM_PS.value,
        num_workers=_NUM_WORKERS.value,
        batch_size=_BATCH_SIZE.value,
        batch_epochs=_BATCH_EPOCHS.value,
        chunk=_CHUNK.value,
        push_interval_seconds=_PUSH_INTERVAL.value,
        freshness_rows=_FRESHNESS_ROWS.value,
        output_dir=output_dir,
    )
    try:
        report = run(ratings, options)
    except (MonolithError, TimeoutError) as error:
        return _fail(f"{error}\nAll logs: {logs}")
    print(f"\n{summary(report)}\n\n{to_json_line(report)}", flush=True)
    return 0


def _read():
    """Returns the name of the data, and the ratings."""
    from monolith_tf import data

    count = _EXAMPLES.value
    if _DATA.value is None:
        name = "drifting Zipf traffic"
        ratings = data.generate_traffic(
            count or _GENERATED_EXAMPLES, seed=_SEED.value
        )
    else:
        path = pathlib.Path(_DATA.value)
        name = f"{path.absolute().parent.name}/{path.name}"
        ratings = data.read_movielens(_DATA.value)
        ratings = ratings[-count if count else 0 :]
    if len(ratings) < _MIN_EXAMPLES:
        raise ValueError(
            f"{len(ratings)} ratings are too few to train and to serve; "
            f"expected at least {_MIN_EXAMPLES}. Raise --examples or pass "
            "more data."
        )
    return name, ratings


def _make_output_dir() -> pathlib.Path:
    if _OUTPUT_DIR.value is None:
        pathlib.Path("out").mkdir(exist_ok=True)
        return pathlib.Path(tempfile.mkdtemp(prefix="demo-", dir="out"))
    folder = pathlib.Path(_OUTPUT_DIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(
            f"--output_dir={folder} is not empty; expected a new or empty "
            "folder, so that no export of another run is served."
        )
    return folder


def _send_native_output_to(path: pathlib.Path) -> None:
    """Leaves the terminal to Python: what TensorFlow's C++ says goes to a file.

    Some of it comes however high TF_CPP_MIN_LOG_LEVEL is.
    """
    stderr = os.dup(2)
    with open(path, "wb") as log:
        os.dup2(log.fileno(), 2)
    sys.stderr = os.fdopen(stderr, "w", buffering=1)


def _fail(message: object, code: int = 1) -> int:
    print(f"demo: {message}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    app.run(main)
