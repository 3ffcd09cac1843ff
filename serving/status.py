"""Status of a served export."""

from __future__ import annotations

import dataclasses

import numpy as np

from monolith_tf.serving.client import PredictionClient

SIGNATURE = "monolith_status"


@dataclasses.dataclass(frozen=True)
class ReplicaStatus:
    """Status of one version of an export on a server.

    Args:
        version: The version that answered.
        export_id: Export of this version.
        generations: Generation per shard; the last is that of the dense stream.
        last_sequences: Sequence of the last applied chunk per stream.
        live_rows: Rows per table, in name order.
        dead_rows: Tombstones per table.
        buckets: Buckets per table.
    """

    version: int
    export_id: int
    generations: tuple[int, ...]
    last_sequences: tuple[int, ...]
    live_rows: tuple[int, ...]
    dead_rows: tuple[int, ...]
    buckets: tuple[int, ...]


def read_status(
    client: PredictionClient, model_name: str, version: int | None = None
) -> ReplicaStatus:
    """Reads the status of an export from a server.

    Args:
        client: Connected to the server.
        model_name: Name of the model on the server.
        version: Version to read; None for the newest.

    Raises:
        ServingCallError: The server is unreachable, or the model is not an
            export of this library.
    """
    reply = client.predict(
        model_name,
        {"query": np.zeros((1, 1), np.int64)},
        SIGNATURE,
        version,
    )
    return ReplicaStatus(
        version=reply.version,
        export_id=int(reply.outputs["export_id"][0]),
        **{
            name: tuple(int(number) for number in reply.outputs[name][0])
            for name in (
                "generations",
                "last_sequences",
                "live_rows",
                "dead_rows",
                "buckets",
            )
        },
    )
