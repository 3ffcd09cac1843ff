"""The pusher: sends the changes of a trainer to a model server.

A round cuts the changes of every shard, makes them durable in the log, then
sends them in order. The next cut repeats changes that were cut but not logged.
Chunks that were logged but not acknowledged are sent again. A new full export
replaces chunks that the log has dropped. docs/guarantees.md has the guarantees
that follow.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable

import tensorflow as tf

from monolith_tf import failpoints
from monolith_tf.errors import DeliveryError
from monolith_tf.errors import MonolithError
from monolith_tf.errors import RestoredMeanwhileError
from monolith_tf.errors import in_one_line
from monolith_tf.serving import delta as delta_lib
from monolith_tf.serving import trainer_state
from monolith_tf.serving.client import PredictionClient
from monolith_tf.serving.delivery import Delivery
from monolith_tf.serving.delivery import ResyncNeededError
from monolith_tf.serving.delta_log import DeltaLog
from monolith_tf.serving.export_record import ExportRecord
from monolith_tf.serving.push_metrics import PushMetrics
from monolith_tf.serving.push_options import PushOptions

__all__ = ["DeltaPusher", "PushOptions", "PushStats"]

_FIRST_BACKOFF_SECONDS = 0.1
# Consecutive resyncs without an applied chunk before giving up.
_MAX_VAIN_RESYNCS = 3

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PushStats:
    """Result of one round.

    Args:
        rows: Number of cut rows.
        tombstones: Number of cut tombstones.
        chunks: Number of logged chunks.
        bytes: Size of these chunks.
        waiting: Number of chunks that are logged but not acknowledged.
        delivered: True if the server acknowledged everything.
        problem: The reason if it did not, or "".
        version: Version of the export that receives the deltas.
    """

    rows: int
    tombstones: int
    chunks: int
    bytes: int
    waiting: int
    delivered: bool
    problem: str
    version: int


class DeltaPusher:
    """Pushes deltas so that a served export equals the model in training.

    All methods are thread-safe; rounds run one at a time. `start` runs rounds
    on a new thread; without it, call `push`.

    Args:
        source: A Keras model, or a pair (table set, dense variables).
        address: "host:port" of the model server's gRPC port.
        model_name: Name of the model on the server.
        log_directory: Directory of the delta log, on a local disk. One pusher
            at a time may use it; chunks of other exports in it are deleted.
        export_record: Result of `export_saved_model`, or the path of its
            version directory.
        export_fn: Writes a new version where the server looks for it and
            returns its record; called on the pusher's thread when deltas cannot
            continue. Without it, the pusher raises instead.
        interval_seconds: Least time between the starts of two pushes. A push
            starts after the previous one is acknowledged.
        options: Limits and deadlines; see `PushOptions`.

    Attributes:
        metrics: `PushMetrics`.
        record: The export that receives the deltas.

    Raises:
        LogInUseError: Another process writes to the log directory.
        FormatError: `export_record` is not a valid export.

    Example:
    ```python
    record = export_saved_model(model, "/models/ranker")
    with DeltaPusher(
        model, "localhost:8500", "ranker", "/var/log/deltas", record,
        export_fn=lambda: export_saved_model(model, "/models/ranker"),
    ) as pusher:
        pusher.start()
        model.fit(stream)
    ```
    """

    def __init__(
        self,
        source,
        address: str,
        model_name: str,
        log_directory: str | os.PathLike,
        export_record: ExportRecord | str | os.PathLike,
        export_fn: Callable[[], ExportRecord | str] | None = None,
        interval_seconds: float = 0.1,
        options: PushOptions | None = None,
    ):
        """Starts the logging of changed ids and opens the log."""
        if interval_seconds < 0:
            raise ValueError(
                "`interval_seconds` must not be negative. Received: "
                f"interval_seconds={interval_seconds}."
            )
        self._interval_seconds = interval_seconds
        self._options = options or PushOptions()
        self._trainer = trainer_state.TrainerState.of(source)
        self._export_fn = export_fn
        self.record = ExportRecord.of(export_record)
        self.metrics = self._options.metrics or PushMetrics()
        self._trainer.start_deltas()
        self._log = DeltaLog(
            log_directory,
            self.record.export_id,
            self._options.log_max_bytes,
            self._options.log_max_age_seconds,
        )
        self._client = PredictionClient(
            address,
            self._options.timeout_seconds,
            self._options.max_attempts,
        )
        self._delivery: Delivery | None = None
        self._model_name = model_name
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._closed = False
        self._flush_at_end = True
        self._dense_digest = b""
        self._fresh: dict[tuple[int, int], delta_lib.DeltaChunk] = {}
        self._oldest_cut: float | None = None
        self._verified_at = 0.0
        self._vain_resyncs = 0
        self._num_dropped_before = 0

    def push(self) -> PushStats:
        """Runs one round: cut, log, send.

        Returns:
            The result; `delivered` is False if the server is unreachable or has
            not loaded the export yet, or the tables are being restored. The
            next round continues.

        Raises:
            DeliveryError: The server rejects a call, or a resync is needed and
                there is no `export_fn`.
        """
        return self._push(verify=False)

    def flush(self, timeout_seconds: float | None = None) -> None:
        """Waits until the server has all changes made before the call.

        Args:
            timeout_seconds: Longest wait for the server; None for
                `flush_timeout_seconds` of the options.

        Raises:
            DeliveryError: As for `push`, or the time is over.
        """
        if timeout_seconds is None:
            timeout_seconds = self._options.flush_timeout_seconds
        deadline = time.monotonic() + timeout_seconds
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            stats = self._push(verify=True)
            if stats.delivered:
                return
            if time.monotonic() + backoff > deadline:
                raise DeliveryError(
                    f"{stats.waiting} chunks for {self._model_name!r} at "
                    f"{self._client.address} were not acknowledged within "
                    f"{timeout_seconds:.0f} s. Last problem: {stats.problem}"
                )
            time.sleep(backoff)
            backoff = min(2 * backoff, self._options.max_backoff_seconds)

    def start(self) -> None:
        """Pushes on a new thread until `close`.

        Raises:
            RuntimeError: The pusher was started or closed before.
        """
        if self._thread is not None or self._closed:
            raise RuntimeError(
                "A DeltaPusher starts once. Make a new one to start again."
            )
        self._thread = threading.Thread(
            target=self._run, name="delta pusher", daemon=True
        )
        self._thread.start()

    def check(self) -> None:
        """Raises the error that stopped the thread, if there is one.

        Raises:
            DeliveryError: The thread stopped; its error is the cause.
        """
        if self._error is not None:
            raise DeliveryError(
                f"Pushing deltas to {self._model_name!r} at "
                f"{self._client.address} stopped: {in_one_line(self._error)}"
            ) from self._error

    def close(self, flush: bool = True) -> None:
        """Pushes the last delta, joins the thread, closes log and connection.

        Args:
            flush: False to skip the last push.

        Raises:
            DeliveryError: The thread had stopped, or the last delta could not
                be delivered; the pusher is closed in any case.
        """
        if self._closed:
            return
        self._closed = True
        self._flush_at_end = flush
        self._stopping.set()
        try:
            if self._thread is not None:
                self._thread.join()
            elif flush:
                self.flush()
            self.check()
        finally:
            self._client.close()
            self._log.close()

    def __enter__(self) -> DeltaPusher:
        """Returns the pusher itself."""
        return self

    def __exit__(self, error_type, *_) -> None:
        """Closes the pusher; after an error without the last push."""
        self.close(flush=error_type is None)

    def _run(self) -> None:
        try:
            backoff = _FIRST_BACKOFF_SECONDS
            while not self._stopping.is_set():
                started = time.monotonic()
                if self.push().delivered:
                    backoff = _FIRST_BACKOFF_SECONDS
                    spent = time.monotonic() - started
                    pause = max(0.0, self._interval_seconds - spent)
                else:
                    pause = backoff
                    backoff = min(
                        2 * backoff, self._options.max_backoff_seconds
                    )
                self._stopping.wait(pause)
            # Here and not in close(), because this thread is in no strategy
            # scope.
            if self._flush_at_end:
                self.flush()
        except BaseException as error:
            self._error = error
            # For common errors, such as a lost parameter server, the message
            # suffices; others need the traceback.
            is_known = isinstance(error, (tf.errors.OpError, MonolithError))
            _logger.error(
                "Pushing deltas to %r at %s stopped: %s",
                self._model_name,
                self._client.address,
                in_one_line(error),
                exc_info=not is_known,
            )
            if is_known:
                _logger.debug("Where it stopped:", exc_info=True)

    def _push(self, verify: bool) -> PushStats:
        with self._lock:
            try:
                return self._round_or_resync(verify)
            except (tf.errors.AbortedError, RestoredMeanwhileError) as error:
                if not trainer_state.is_restore(error):
                    raise
                # The round after the restore finds another generation.
                return self._stats([], in_one_line(error))

    def _round_or_resync(self, verify: bool) -> PushStats:
        try:
            return self._round(verify)
        except ResyncNeededError as error:
            self._resync(error)
        # The changes since the export; the server may still be loading it.
        try:
            return self._round(verify)
        except ResyncNeededError as error:
            return self._stats([], str(error))

    def _round(self, verify: bool) -> PushStats:
        if self._delivery is None:
            self._delivery = Delivery(
                self._client,
                self._model_name,
                self._log,
                self.record,
                self.metrics,
            )
        try:
            chunks = self._cut_and_log()
        except OSError as error:
            # No cut was acknowledged, so the next one has all changes.
            self.metrics.count("failed_writes")
            _logger.error("The delta log cannot be written: %s", error)
            return self._stats([], f"the delta log cannot be written: {error}")
        now = time.monotonic()
        if now - self._verified_at >= self._options.verify_seconds:
            verify = True
        delivered = self._delivery.deliver(self._fresh, verify)
        self._fresh = {}
        now = time.monotonic()
        if delivered:
            self._vain_resyncs = 0
            if verify or chunks:
                self._verified_at = now
        if self._oldest_cut is not None:
            self.metrics.set_lag(now - self._oldest_cut)
            if delivered:
                self._oldest_cut = None
        return self._stats(chunks, self._delivery.problem)

    def _stats(self, chunks, problem: str) -> PushStats:
        waiting = self._delivery.num_waiting if self._delivery else 0
        return PushStats(
            rows=sum(c.num_ids - c.num_tombstones for c in chunks),
            tombstones=sum(c.num_tombstones for c in chunks),
            chunks=len(chunks),
            bytes=sum(c.num_bytes for c in chunks),
            waiting=waiting,
            delivered=not problem and not waiting,
            problem=problem,
            version=self.record.version,
        )

    def _cut_and_log(self) -> list[delta_lib.DeltaChunk]:
        """Cuts every stream and logs; returns the new durable chunks."""
        self._check_num_shards()
        failpoints.hit("pusher.before_cut")
        cut_at = time.monotonic()
        streams = self._delivery.streams
        chunks, new_cuts = [], {}
        for stream in streams[:-1]:
            delta = self._take(stream)
            pieces = list(
                trainer_state.split_delta(
                    delta,
                    [table["name"] for table in self.record.tables],
                    self._options.chunk_rows,
                )
            )
            chunks += [
                self._chunk(
                    stream,
                    stream.last_logged + 1 + i,
                    (stream.acked_cut, delta.to_cut),
                    tables=tables,
                    more=i + 1 < len(pieces),
                )
                for i, tables in enumerate(pieces)
            ]
            # An empty delta keeps the cut: the deltas of a stream are
            # contiguous.
            if pieces:
                new_cuts[stream.index] = delta.to_cut
        dense, digest = self._dense_chunk(streams[-1])
        chunks += dense
        if not chunks:
            return []
        failpoints.hit("pusher.after_cut")
        self._log.append(chunks)
        failpoints.hit("pusher.after_log")
        for chunk in chunks:
            streams[chunk.shard].last_logged = chunk.sequence
            self._fresh[chunk.shard, chunk.sequence] = chunk
        for index, cut in new_cuts.items():
            streams[index].acked_cut = cut
        self._dense_digest = digest
        if self._oldest_cut is None:
            self._oldest_cut = cut_at
        self.metrics.count("deltas", len(new_cuts) + len(dense))
        dropped = self._log.num_dropped - self._num_dropped_before
        self._num_dropped_before = self._log.num_dropped
        self.metrics.count("dropped_chunks", dropped)
        return chunks

    def _dense_chunk(self, stream) -> tuple[list[delta_lib.DeltaChunk], bytes]:
        dense = self._trainer.dense_bytes(self.record)
        digest = hashlib.blake2b(dense).digest()
        if not dense or digest == self._dense_digest:
            return [], self._dense_digest
        sequence = stream.last_logged + 1
        # Each chunk has the whole state, so a cut is a count.
        cuts = (sequence - 1, sequence)
        return [self._chunk(stream, sequence, cuts, dense=dense)], digest

    def _chunk(self, stream, sequence: int, cuts, **content):
        from_cut, to_cut = cuts
        return delta_lib.DeltaChunk(
            export_id=self.record.export_id,
            generation=stream.generation,
            shard=stream.index,
            num_shards=self.record.num_shards,
            from_cut=from_cut,
            to_cut=to_cut,
            sequence=sequence,
            **content,
        )

    def _check_num_shards(self) -> None:
        if self._trainer.num_shards != self.record.num_shards:
            raise ResyncNeededError(
                f"the trainer has {self._trainer.num_shards} shards, the "
                f"export {self.record.num_shards}"
            )

    def _take(self, stream):
        try:
            delta = self._trainer.take_delta(stream.index, stream.acked_cut)
        except tf.errors.OutOfRangeError as error:
            raise ResyncNeededError(
                f"shard {stream.index} lacks the changes after cut "
                f"{stream.acked_cut}: it was restored or restarted, or "
                "another pusher took them"
            ) from error
        if delta.generation != stream.generation:
            raise ResyncNeededError(
                f"shard {stream.index} has generation {delta.generation}, the "
                f"export {stream.generation}: the shard was restored or "
                "restarted after the export was written"
            )
        return delta

    def _resync(self, reason: ResyncNeededError) -> None:
        """Writes a new export and continues with it at sequence 1."""
        if self._export_fn is None:
            raise DeliveryError(
                f"Deltas to {self._model_name!r} cannot continue: {reason}. "
                "Expected `export_fn`, which writes a new export. Pass one, or "
                "export and make a new DeltaPusher."
            ) from reason
        if self._vain_resyncs >= _MAX_VAIN_RESYNCS:
            raise DeliveryError(
                f"{self._vain_resyncs} new exports for {self._model_name!r} "
                f"did not help: {reason}. Check that the server reads the "
                "directory that `export_fn` writes to, and that there is no "
                "other pusher."
            ) from reason
        _logger.warning(
            "Deltas to %r cannot continue, writing a new export: %s",
            self._model_name,
            reason,
        )
        failpoints.hit("pusher.before_export")
        record = ExportRecord.of(self._export_fn())
        failpoints.hit("pusher.after_export")
        if record.export_id == self.record.export_id:
            raise DeliveryError(
                "`export_fn` must write a new export. It returned export "
                f"{record.export_id} again."
            )
        self._vain_resyncs += 1
        self.record = record
        self.metrics.count("resyncs")
        self._log.start(record.export_id)
        self._num_dropped_before = self._log.num_dropped
        self._delivery = None
        self._fresh = {}
        self._dense_digest = b""
        self._oldest_cut = None
