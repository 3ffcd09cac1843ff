"""Time per op, from files of TensorFlow's profiler."""

from __future__ import annotations

import collections
import pathlib
import tempfile
from collections.abc import Callable

import tensorflow as tf
from tensorflow.python.framework import op_def_registry


def profile(run: Callable[[], object]) -> dict[str, float]:
    """Returns the milliseconds that ops took in all, by kind, longest first.

    Ops run side by side, so they may take longer in all than the clock says.

    Args:
        run: What to watch.
    """
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            run()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        return milliseconds_by_kind(path)


def milliseconds_by_kind(path: pathlib.Path) -> dict[str, float]:
    """Reads a file of the profiler: milliseconds by kind, longest first."""
    # In TensorFlow's wheel, but not in its API.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    milliseconds = collections.Counter()
    for plane in space.planes:
        if plane.name != "/host:CPU":
            continue
        for line in plane.lines:
            for event in line.events:
                metadata = plane.event_metadata[event.metadata_id]
                # Ops are "name:kind".
                name, _, kind = metadata.name.rpartition(":")
                if name and _is_op(kind):
                    milliseconds[kind] += event.duration_ps / 1e9
    return dict(milliseconds.most_common())


def _is_op(kind: str) -> bool:
    """True for the kind of an op, false for datasets and the runtime."""
    known = op_def_registry.get(kind)
    return known is not None and not kind.endswith("Dataset")
