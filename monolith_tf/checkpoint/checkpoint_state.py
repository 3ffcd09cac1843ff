"""The file `checkpoint` that names the latest checkpoint of a directory.

`newest_whole` finds the checkpoint that training resumes from, and repairs the
file if it or the checkpoint that it names is damaged.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence

import tensorflow as tf
from google.protobuf import text_format
from tensorflow.python.training import checkpoint_state_pb2

from monolith_tf import failpoints
from monolith_tf.checkpoint import durable_files
from monolith_tf.errors import CheckpointError

_STATE = "checkpoint"
_INDEX = re.compile(r"(.*-(\d+))\.index")
# What TensorFlow raises for a file that is torn, flipped or missing. Others,
# such as a file system that does not answer, are no damage.
_DAMAGE = (
    tf.errors.DataLossError,
    tf.errors.InternalError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
)


def write_state(
    directory: str,
    latest: str,
    kept: Sequence[str],
    times: Sequence[float] = (),
    last_preserved: float | None = None,
    filename: str = _STATE,
) -> None:
    """Names the latest checkpoint of a directory, durably.

    Args:
        directory: Folder of the checkpoints.
        latest: Path of the latest, which is durable.
        kept: Paths of all that are kept, oldest first.
        times: Per path when it was written, in seconds since 1970; may be
            empty.
        last_preserved: When the last one that is kept for good was written.
        filename: Name of the file.

    Raises:
        OSError: The disk is full or fails. The file is unchanged.
    """
    directory = directory or "."

    def relative(path):
        return os.path.relpath(path, directory)

    state = checkpoint_state_pb2.CheckpointState(
        model_checkpoint_path=relative(latest),
        all_model_checkpoint_paths=[relative(path) for path in kept],
        all_model_checkpoint_timestamps=times,
        last_preserved_timestamp=last_preserved,
    )
    path = os.path.join(directory, filename)
    text = text_format.MessageToString(state)
    if durable_files.is_local(path):
        durable_files.replace_durably(path, text.encode())
    else:
        tf.__internal__.train.update_checkpoint_state(
            directory,
            latest,
            all_model_checkpoint_paths=list(kept),
            latest_filename=filename,
            save_relative_paths=True,
            all_model_checkpoint_timestamps=list(times) or None,
            last_preserved_timestamp=last_preserved,
        )


def forget(directory: str) -> None:
    """Removes the file that names the latest checkpoint, if there is one."""
    path = os.path.join(directory, _STATE)
    failpoints.hit("checkpoint_state.before_remove")
    if tf.io.gfile.exists(path):
        tf.io.gfile.remove(path)


def numbered(directory: str) -> dict[int, str]:
    """Returns the checkpoints of a directory that have an index.

    Args:
        directory: Folder of the checkpoints; need not exist.

    Returns:
        Paths by number, in ascending order.
    """
    if not tf.io.gfile.isdir(directory):
        return {}
    found = {}
    for name in tf.io.gfile.listdir(directory):
        match = _INDEX.fullmatch(name)
        if match:
            found[int(match[2])] = os.path.join(directory, match[1])
    return dict(sorted(found.items()))


def damage_of(path: str) -> str | None:
    """Reads all of a checkpoint; every tensor has a CRC32C.

    Args:
        path: Path of the checkpoint.

    Returns:
        What is wrong with it, None if it is whole.
    """
    try:
        reader = tf.compat.v1.train.NewCheckpointReader(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except tf.errors.OpError as error:
        # The reader raises the base class for what it cannot read.
        if isinstance(error, _DAMAGE) or type(error) is tf.errors.OpError:
            return error.message
        raise
    except (IndexError, RuntimeError, ValueError) as error:
        return str(error)
    return None


def newest_whole(directory: str, allow_fresh: bool = False) -> str | None:
    """Returns the checkpoint to resume from.

    That is the one that the file `checkpoint` names. If the file or the
    checkpoint is damaged, it is the newest whole one, and the file is written
    anew with it. Temporary directories of killed saves are removed.

    Args:
        directory: Folder of the checkpoints; need not exist.
        allow_fresh: Whether to begin from nothing when there are checkpoints
            and none is whole.

    Returns:
        Its path; None if there are no checkpoints.

    Raises:
        CheckpointError: There are checkpoints, or a file that names one, and
            none is whole.
    """
    directory = os.fspath(directory)
    durable_files.remove_left_over(directory)
    state, damage = _read_state(directory)
    found = numbered(directory)
    if state is None and damage is None and not found:
        return None
    damaged = {}
    if state is not None:
        latest = os.path.join(directory, state.model_checkpoint_path)
        problem = damage_of(latest)
        if problem is None:
            return latest
        damaged[latest] = problem
    else:
        damaged[os.path.join(directory, _STATE)] = damage or "it is missing"
    whole = None
    for path in reversed(found.values()):
        if path in damaged:
            continue
        problem = damage_of(path)
        if problem is None:
            whole = path
            break
        damaged[path] = problem
    report = "; ".join(f"{path}: {what}" for path, what in damaged.items())
    if whole is None and not allow_fresh:
        raise CheckpointError(
            f"No checkpoint in {directory} is whole, expected at least one, or "
            f"an empty directory. Received: {report}. Restore the files from a "
            "copy, or move them away to begin from nothing (with Checkpoints: "
            "restore(allow_fresh=True))."
        )
    warnings.warn(
        f"Damaged checkpoint files in {directory}: {report}. Training resumes "
        f"from {whole or 'nothing, because allow_fresh is set'}.",
        RuntimeWarning,
        stacklevel=3,
    )
    if whole is not None:
        kept = [path for path in found.values() if path not in damaged]
        durable_files.sync_checkpoint(whole)
        write_state(directory, whole, kept[: kept.index(whole) + 1])
    return whole


def _read_state(directory: str):
    """Returns the content of the state file, and what is wrong with it."""
    path = os.path.join(directory, _STATE)
    if not tf.io.gfile.exists(path):
        return None, None
    with tf.io.gfile.GFile(path, "rb") as file:
        content = file.read()
    if not content.strip():
        return None, "it is empty"
    state = checkpoint_state_pb2.CheckpointState()
    try:
        text_format.Parse(content.decode(), state)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        return None, str(error)
    if not state.model_checkpoint_path:
        return None, "it names no checkpoint"
    return state, None
