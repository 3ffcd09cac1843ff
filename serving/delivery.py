"""Delivery of logged chunks: in order, resent on request.

There is one stream per shard and one for the dense variables. A stream sends
the sequence number that follows the last acknowledged one. The server counts,
and returns the number that it expects if that is another.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from collections.abc import Sequence

import grpc

from monolith_tf import failpoints
from monolith_tf.errors import DeliveryError
from monolith_tf.serving import delta_request
from monolith_tf.serving import status as status_lib
from monolith_tf.serving.client import PredictionClient
from monolith_tf.serving.client import ServingCallError
from monolith_tf.serving.delta import CorruptDeltaError
from monolith_tf.serving.delta import DeltaChunk
from monolith_tf.serving.delta_log import DeltaLog
from monolith_tf.serving.delta_log import NotInLogError
from monolith_tf.serving.export_record import ExportRecord
from monolith_tf.serving.graph.delta_status import DeltaStatus
from monolith_tf.serving.push_metrics import PushMetrics

_logger = logging.getLogger(__name__)


class ResyncNeededError(DeliveryError):
    """Deltas cannot continue; a full export is needed."""


class DeltaRefusedError(DeliveryError):
    """The server rejects a chunk as malformed, so resending cannot help."""


@dataclasses.dataclass
class Stream:
    """Progress of one stream.

    Args:
        index: Shard, or num_shards for the dense variables.
        generation: Generation in its chunks.
        acked_cut: Everything up to this cut is durable in the log.
        last_logged: Sequence of the last durable chunk.
        last_applied: Sequence that the server acknowledged last.
        highest_sent: Highest sequence that the server may have seen from us.
    """

    index: int
    generation: int
    acked_cut: int
    last_logged: int = 0
    last_applied: int = 0
    highest_sent: int = 0

    @property
    def num_waiting(self) -> int:
        """Chunks that are durable but not acknowledged."""
        return self.last_logged - self.last_applied


class Delivery:
    """Sends the chunks of a log to one version of a model.

    Not thread-safe. Raises `ResyncNeededError` for states that it cannot
    resolve.

    Args:
        client: Connected to the server.
        model_name: Name of the model on the server.
        log: The log with the durable chunks.
        record: The export that the chunks apply to.
        metrics: Counters of chunks, replays and errors.

    Attributes:
        streams: By index.
        problem: The reason that the last `deliver` returned False, or "".
    """

    def __init__(
        self,
        client: PredictionClient,
        model_name: str,
        log: DeltaLog,
        record: ExportRecord,
        metrics: PushMetrics,
    ):
        """Starts with `record`, at the end of its log."""
        self._client = client
        self._model_name = model_name
        self._log = log
        self._metrics = metrics
        self.start(record)

    def start(self, record: ExportRecord) -> None:
        """Continues with an export, at the end of its log.

        Raises:
            ResyncNeededError: The log of this export is damaged.
        """
        self._record = record
        self._tables = tuple(
            (table["name"], table["dim"]) for table in record.tables
        )
        self.problem = ""
        self._verified = False
        self._not_found_though_available = 0
        generations = (*record.generations, record.export_id)
        cuts = (*record.cuts, 0)
        self.streams = [
            Stream(index, generation, cut)
            for index, (generation, cut) in enumerate(
                zip(generations, cuts, strict=True)
            )
        ]
        for stream in self.streams:
            last = self._log.last_sequence(stream.index)
            if last:
                stream.last_logged = stream.highest_sent = last
                chunk = self._read(stream, last)
                # A delta with only some chunks in the log is cut again.
                stream.acked_cut = (
                    chunk.from_cut if chunk.more else chunk.to_cut
                )

    @property
    def num_waiting(self) -> int:
        """Chunks that are durable but not acknowledged."""
        return sum(stream.num_waiting for stream in self.streams)

    def deliver(
        self,
        fresh: Mapping[tuple[int, int], DeltaChunk],
        verify: bool = False,
    ) -> bool:
        """Sends every chunk that is durable but not acknowledged.

        Args:
            fresh: Chunks just logged, by (stream, sequence); saves reading.
            verify: True to read the progress of the server first.

        Returns:
            True if the server acknowledged everything. If not, `problem` has
            the reason, and the next call continues.

        Raises:
            ResyncNeededError: The server needs chunks that the log lacks.
            DeltaRefusedError: A chunk is malformed.
            ServingCallError: The server rejects the call itself.
        """
        try:
            if verify or not self._verified:
                self._verify()
            while self.num_waiting:
                # A restarted server has lost all streams, so verify all.
                if not all(
                    self._send_waiting(stream, fresh) for stream in self.streams
                ):
                    self._verify()
        except ServingCallError as error:
            self._after_failed_call(error)
            return False
        self.problem = ""
        self._not_found_though_available = 0
        return True

    def _verify(self) -> None:
        """Reads the progress of the server; raises if it does not fit."""
        status = status_lib.read_status(
            self._client, self._model_name, self._record.version
        )
        if status.export_id != self._record.export_id:
            raise ResyncNeededError(
                f"version {status.version} of {self._model_name!r} at "
                f"{self._client.address} is export {status.export_id}, "
                f"expected {self._record.export_id}"
            )
        expected = tuple(stream.generation for stream in self.streams)
        if status.generations != expected:
            raise ResyncNeededError(
                f"the export has generations {status.generations}, the "
                f"trainer {expected}"
            )
        for stream, applied in zip(
            self.streams, status.last_sequences, strict=True
        ):
            self._check_ours(stream, applied)
            stream.last_applied = applied
        self._verified = True

    def _check_ours(self, stream: Stream, applied: int) -> None:
        if applied > stream.highest_sent:
            raise ResyncNeededError(
                f"the server applied chunk {applied} of stream "
                f"{stream.index}; the last one that this log knows to be "
                f"sent is {stream.highest_sent}"
            )

    def _send_waiting(
        self, stream: Stream, fresh: Mapping[tuple[int, int], DeltaChunk]
    ) -> bool:
        """Returns False if the server is behind."""
        while stream.num_waiting:
            sequence = stream.last_applied + 1
            chunk = fresh.get((stream.index, sequence))
            if chunk is None:
                chunk = self._read(stream, sequence)
            if sequence <= stream.highest_sent:
                self._metrics.count("replays")
            # Before the call: a failed call may have been applied.
            stream.highest_sent = max(stream.highest_sent, sequence)
            failpoints.hit("delivery.before_send")
            reply = delta_request.apply_chunk(
                self._client,
                self._model_name,
                self._record.version,
                chunk,
                self._tables,
            )
            failpoints.hit("delivery.after_reply")
            if not self._took(stream, chunk, reply):
                return False
            failpoints.hit("delivery.after_acknowledged")
        return True

    def _took(
        self, stream: Stream, chunk: DeltaChunk, reply: delta_request.ApplyReply
    ) -> bool:
        if reply.status == DeltaStatus.APPLIED:
            stream.last_applied = chunk.sequence
            self._metrics.count("chunks")
            self._metrics.count("rows", chunk.num_ids - chunk.num_tombstones)
            self._metrics.count("tombstones", chunk.num_tombstones)
            self._metrics.count("bytes", chunk.num_bytes)
            return True
        if reply.status == DeltaStatus.DUPLICATE:
            self._metrics.count("duplicates")
            applied = max(chunk.sequence, reply.expected_sequence - 1)
            self._check_ours(stream, applied)
            stream.last_applied = applied
            return True
        self._metrics.count("refusals")
        named = (
            f"chunk {chunk.sequence} of stream {stream.index} was refused: "
            f"{reply.message}"
        )
        if reply.status == DeltaStatus.GAP:
            if not 1 <= reply.expected_sequence < chunk.sequence:
                raise DeltaRefusedError(
                    f"{named} (a gap, yet the server expects "
                    f"{reply.expected_sequence})"
                )
            _logger.info("%s; sending again", named)
            stream.last_applied = reply.expected_sequence - 1
            return False
        if reply.status == DeltaStatus.MALFORMED:
            raise DeltaRefusedError(
                f"{named}. Expected the tables of the export; trainer and "
                "export do not fit, write a new export."
            )
        raise ResyncNeededError(named)

    def _read(self, stream: Stream, sequence: int) -> DeltaChunk:
        try:
            return self._log.read(stream.index, sequence)
        except CorruptDeltaError as error:
            self._metrics.count("corrupt_files")
            _logger.error("%s", error)
            raise ResyncNeededError(str(error)) from error
        except NotInLogError as error:
            raise ResyncNeededError(str(error)) from error

    def _after_failed_call(self, error: ServingCallError) -> None:
        """Returns if a later attempt can help, else raises."""
        self.problem = str(error)
        if error.unreachable or error.code == grpc.StatusCode.CANCELLED:
            self._metrics.count("unreachable")
            return
        if error.code != grpc.StatusCode.NOT_FOUND:
            raise error
        version = self._record.version
        available = self._available_versions()
        if version not in available and any(v > version for v in available):
            raise ResyncNeededError(
                f"{self._model_name!r} at {self._client.address} serves "
                f"version {max(available)} instead of {version}"
            ) from error
        if version in available:
            # It may have become available between the two calls, but not each
            # time.
            self._not_found_though_available += 1
            if self._not_found_though_available > 3:
                raise error
        self._metrics.count("unreachable")
        # A server that restarts with this version has lost the deltas.
        self._verified = False

    def _available_versions(self) -> Sequence[int]:
        try:
            return [
                one.version
                for one in self._client.status(self._model_name)
                if one.state == "AVAILABLE"
            ]
        except ServingCallError:
            return []
