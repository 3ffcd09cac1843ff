"""Requests that carry one delta chunk to an export, and their replies."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from monolith_tf.serving import delta as delta_lib
from monolith_tf.serving.client import PredictionClient
from monolith_tf.serving.graph.delta_status import DeltaStatus

SIGNATURE = "monolith_apply_delta"


@dataclasses.dataclass(frozen=True)
class ApplyReply:
    """Reply of an export to one chunk.

    Args:
        status: `DeltaStatus`.
        expected_sequence: The next sequence of the stream.
        expected_generation: Generation of the shard in the export.
        export_id: The export that answered.
        message: The expected values and how to continue, or "".
        applied_rows: Number of written ids.
    """

    status: DeltaStatus
    expected_sequence: int
    expected_generation: int
    export_id: int
    message: str
    applied_rows: int


def request_inputs(
    chunk: delta_lib.DeltaChunk, tables: Sequence[tuple[str, int]]
) -> dict[str, np.ndarray]:
    """Returns the inputs of the delta signature; all have first dimension 1.

    Args:
        chunk: The chunk to send.
        tables: Name and dim of every table of the export, ordered by name.

    Raises:
        ValueError: The chunk has a table, or a dim, that the export lacks.
    """
    by_name = {table.name: table for table in chunk.tables}
    inputs = {
        "header": np.array([chunk.header], np.int64),
        "dense": np.array([chunk.dense], object),
    }
    for i, (name, dim) in enumerate(tables):
        table = by_name.pop(name, None)
        if table is None:
            table = delta_lib.TableChunk(
                name,
                np.zeros(0, np.int64),
                np.zeros(0, np.bool_),
                np.zeros((0, dim), np.float32),
            )
        elif table.dim != dim:
            raise ValueError(
                f"Table {name!r} has dim {dim} in the export. Received: rows "
                f"of dim {table.dim}."
            )
        inputs[f"ids_{i}"] = table.ids[np.newaxis]
        inputs[f"exists_{i}"] = table.exists.astype(np.int64)[np.newaxis]
        inputs[f"rows_{i}"] = table.rows.reshape(1, -1)
    if by_name:
        raise ValueError(
            f"The export has the tables {[name for name, _ in tables]}. "
            f"Received: changes of {sorted(by_name)}. Write a new export."
        )
    return inputs


def apply_chunk(
    client: PredictionClient,
    model_name: str,
    version: int,
    chunk: delta_lib.DeltaChunk,
    tables: Sequence[tuple[str, int]],
) -> ApplyReply:
    """Sends one chunk to one version of a model.

    Sending it again is harmless: the export counts the sequence numbers.

    Raises:
        ServingCallError: The server rejected the call, or is unreachable.
    """
    outputs = client.predict(
        model_name, request_inputs(chunk, tables), SIGNATURE, version
    ).outputs
    return ApplyReply(
        status=DeltaStatus(int(outputs["status"][0])),
        expected_sequence=int(outputs["expected_sequence"][0]),
        expected_generation=int(outputs["expected_generation"][0]),
        export_id=int(outputs["export_id"][0]),
        message=outputs["message"][0].decode("utf-8", "replace"),
        applied_rows=int(outputs["applied_rows"][0]),
    )
