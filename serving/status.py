"""What an export that is being served says of itself."""

from __future__ import annotations

import dataclasses

import numpy as np

from monolith_tf.serving.client import PredictionClient

SIGNATURE = "monolith_status"


@dataclasses.dataclass(frozen=True)
class ReplicaStatus:
    """State of one version of an export on a server.

    Args:
        version: The version that answered.
        export_id: Its export.
        generations: Of each shard; last that of the dense stream.
        last_sequences: Last applied chunk of each of these streams.
        live_rows: Rows of each table, by name order.
        dead_rows: Tombstones of each table.
        buckets: Buckets of each table.
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
    """Asks a server for the state of an export.

    Args:
        client: Connected to the server.
        model_name: Name of the model there.
        version: Which version; None takes the newest.

    Raises:
        ServingCallError: Out of reach, or not an export of ours.
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
