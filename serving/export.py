"""Exports: SavedModels that an unmodified TensorFlow Serving loads."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Collection
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from monolith_tf import failpoints
from monolith_tf.errors import ExportError
from monolith_tf.errors import RestoredMeanwhileError
from monolith_tf.placement.registry import tables_of
from monolith_tf.serving.export_record import RECORD_FILE
from monolith_tf.serving.export_record import UNTRACKED_CUT
from monolith_tf.serving.export_record import ExportRecord
from monolith_tf.serving.graph import growth
from monolith_tf.serving.graph import reserved_ids
from monolith_tf.serving.graph import saved_model_files
from monolith_tf.serving.graph.delta_control import DeltaControl
from monolith_tf.serving.graph.dense_copy import DenseCopy
from monolith_tf.serving.graph.model_inputs import ModelInputs
from monolith_tf.serving.graph.model_trace import ModelTrace
from monolith_tf.serving.graph.model_trace import argument_names
from monolith_tf.serving.graph.model_trace import dense_variables
from monolith_tf.serving.graph.packed_rows import PackedRows
from monolith_tf.serving.graph.row_file import RowFileWriter
from monolith_tf.serving.graph.serving_backend import ServingBackend
from monolith_tf.serving.graph.serving_table import ServingTable

# Rows per read from a parameter server.
_CHUNK_ROWS = 65536

# Servers keep a version in an int64.
_MAX_VERSION = (1 << 63) - 1

# Default capacity: four times the rows of the export.
_GROWTH = 4
_MIN_EXPECTED_ROWS = 3072


def export_saved_model(
    model,
    directory: str | os.PathLike,
    *,
    version: int | None = None,
    ragged: str | None = None,
    string_features: Collection[str] = (),
    expected_rows: int | Mapping[str, int] | None = None,
    inputs: Mapping[str, tf.TypeSpec] | tf.TypeSpec | None = None,
    track_changes: bool = True,
) -> ExportRecord:
    """Writes `<directory>/<version>`: the base that deltas apply to.

    The SavedModel has stock ops only. Its signatures are `serving_default`
    (features by name), `monolith_apply_delta`, `monolith_status` and, for the
    i-th table by name, `monolith_lookup_<i>`; docs/formats.md specifies them.
    From then on the tables log their changes for a pusher, up to
    `TableSet.max_log_bytes` per server.

    Training may continue meanwhile: rows that change are in the first deltas,
    and dense variables are read one by one. The export shares nothing with the
    model, which may be on parameter servers. The version directory appears by
    rename when all its files are durable, or not at all.

    Args:
        model: A built model of tf_keras or Keras 3 with layers that read
            tables.
        directory: Directory of the versions, created if needed.
        version: Positive number; None for one above the highest version.
        ragged: Format of ragged and sparse inputs in a request: "padded" for
            `[batch, length]`, padded with the `padding_id` of the feature that
            reads the input (strings: ""), or "row_splits" for `<input>:values`
            and `<input>:row_splits`. None pads inputs that have a padding and
            uses row splits for the others.
        string_features: Names of int64 features that requests send as strings,
            which the graph hashes like `mt.ids.from_strings`.
        expected_rows: Number of rows of a table before the next export,
            tombstones included: one number for all tables, or by name. None for
            four times the present rows. A table beyond it grows, and blocks
            requests while it grows.
        inputs: Specs of the inputs by name, or the single spec of a model with
            one input, for a subclassed model that was not called yet or is one
            of Keras 3. If None, the signature leaves out inputs that the model
            never reads; otherwise it has all of `inputs`.
        track_changes: False for an export that no deltas will follow: it does
            not start the log of changed ids. A pusher that begins with such an
            export writes another one first.

    Returns:
        The record of the export; also the path of the version directory.

    Raises:
        ValueError: The model has no tables, an argument is out of range or
            names an unknown table or input, or ragged="padded" and a ragged
            input has no padding.
        FileExistsError: The version exists.
        ExportError: The model has parts that a stock server can't load, a shard
            was restored meanwhile (`RestoredMeanwhileError`), or the directory
            can't be written.
        tf.errors.AbortedError: The tables are being restored.

    Example:
    >>> import tempfile
    >>> import monolith_tf as mt
    >>> import tf_keras
    >>> config = mt.TableConfig("item", dim=2,
    ...                         initializer=mt.initializers.Zeros())
    >>> ids = tf_keras.Input([], dtype="int64", name="item_id")
    >>> model = tf_keras.Model(
    ...     {"item_id": ids}, mt.layers.DynamicEmbedding(config)(ids))
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     record = mt.serving.export_saved_model(model, directory)
    >>> record.version, record.num_shards, len(record.tables)
    (1, 1, 1)
    """
    tables = tables_of(model)
    if not tables:
        raise ValueError(
            f"Model {getattr(model, 'name', model)!r} has no tables, so there "
            "is nothing to push to it. Use tf.saved_model.save, or read ids "
            "through mt.layers.EmbeddingCollection."
        )
    job = _Export(
        model=model,
        tables=tables,
        inputs=ModelInputs(
            model,
            inputs=inputs,
            ragged=ragged,
            string_features=string_features,
        ),
        expected_rows=_expected_rows(expected_rows, tables),
        directory=os.path.abspath(os.fspath(directory)),
        version=_checked_version(version),
        track_changes=track_changes,
    )
    # A new thread is in no strategy scope, graph or device scope, so that what
    # is made here is local even when a callback of `fit` calls.
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(job.run).result()


@dataclasses.dataclass
class _Export:
    """One call of `export_saved_model`, its arguments checked."""

    model: object
    tables: list
    inputs: ModelInputs
    expected_rows: dict[str, int | None]
    directory: str
    version: int | None
    track_changes: bool

    def run(self) -> ExportRecord:
        try:
            os.makedirs(self.directory, exist_ok=True)
            version = self._free_version()
            work = os.path.join(
                self.directory, f".tmp-{version}-{secrets.token_hex(8)}"
            )
            os.mkdir(work)
            try:
                return self._write(version, work)
            finally:
                failpoints.hit("export.before_cleanup")
                shutil.rmtree(work, ignore_errors=True)
        except FileExistsError:
            raise
        except OSError as error:
            raise ExportError(
                f"Can't write an export to {self.directory!r}: {error}. Pass a "
                "directory that this process may write to, with room enough."
            ) from error

    def _free_version(self) -> int:
        versions = [
            int(name)
            for name in os.listdir(self.directory)
            if re.fullmatch("[0-9]+", name)
        ]
        version = self.version
        if version is None:
            version = max(versions, default=0) + 1
            if version > _MAX_VERSION:
                raise ExportError(
                    f"No version is left in {self.directory!r}: servers read "
                    f"versions up to {_MAX_VERSION}. Received: a directory "
                    f"with version {version - 1}. Remove it, or export to "
                    "another directory."
                )
            return version
        if version in versions:
            raise self._version_taken(version)
        return version

    def _version_taken(self, version: int) -> FileExistsError:
        return FileExistsError(
            f"Version {version} exists in {self.directory!r}, and a server may "
            "be reading it. Pass a higher version, or None for the next one."
        )

    def _write(self, version: int, work: str) -> ExportRecord:
        table_set = self.tables[0].table_set
        export_id = secrets.randbits(63) or 1
        generations = table_set.generations()
        dense = _copy_dense(self.model)
        serving_tables = [
            ServingTable(
                table.config,
                shared_name=f"monolith_{export_id:016x}_{table.name}",
                # Ids that were chosen to share buckets in one export don't in
                # the next.
                salt=secrets.randbits(63),
                step=_step(table),
            )
            for table in self.tables
        ]
        control = DeltaControl(
            serving_tables,
            dense,
            export_id=export_id,
            generations=generations,
            mutex_name=f"monolith_{export_id:016x}_mutex",
        )
        # An Estimator may have more signatures than the default one.
        calls = {
            "serving_default": self.model,
            **getattr(self.model, "extra_signatures", {}),
        }
        backend = ServingBackend(self.tables, serving_tables)
        traces = {
            name: ModelTrace(self.model, self.inputs, backend, dense, call)
            for name, call in calls.items()
        }
        self.inputs.settle([trace.reads for trace in traces.values()])
        answers, resources = {}, []
        for name, trace in traces.items():
            answers[name], found = trace.function([*serving_tables, dense])
            resources += found
        # Before the first row is read: what changes from here on is in deltas.
        cuts = (
            table_set.start_deltas()
            if self.track_changes
            else [UNTRACKED_CUT] * len(generations)
        )
        failpoints.hit("export.before_rows")
        manifest = [
            self._write_rows(table, serving_table, index, work)
            for index, (table, serving_table) in enumerate(
                zip(self.tables, serving_tables, strict=True)
            )
        ]
        if table_set.generations() != generations:
            raise RestoredMeanwhileError(
                "A shard of the tables was restored or restarted while its "
                "rows were read, so the export would mix two states. Export "
                "again."
            )
        record = ExportRecord(
            path=os.path.join(self.directory, str(version)),
            version=version,
            export_id=export_id,
            generations=list(generations),
            cuts=list(cuts),
            tables=manifest,
            dense=dense.manifest(),
            features={
                feature.name: feature.describe()
                for feature in self.inputs.features
            },
            created_unix_seconds=time.time(),
        )
        root = tf.Module()
        root.tables = serving_tables
        root.dense = dense
        root.control = control
        root.resources = resources
        signatures = {
            **answers,
            "monolith_apply_delta": control.apply_delta_function(),
            "monolith_status": control.status_function(),
        }
        for index, serving_table in enumerate(serving_tables):
            signatures[f"monolith_lookup_{index}"] = _lookup_function(
                serving_table
            )
        saved = os.path.join(work, "model")
        tf.saved_model.save(root, saved, signatures=signatures)
        saved_model_files.finish(
            saved,
            {
                argument: name
                for name, argument in argument_names(
                    self.inputs.request_specs
                ).items()
            },
            calls,
        )
        _write_record(saved, record)
        self._publish(saved, record)
        return record

    def _write_rows(
        self, table, serving_table: ServingTable, index: int, work: str
    ) -> dict:
        """Streams the rows of a table to files; its entry in the manifest."""
        packed = serving_table.packed
        writer = RowFileWriter(
            os.path.join(work, f"monolith_table_{index}"), packed
        )
        reserved_rows = {}
        all_ids = []
        for ids, rows in table.export(_CHUNK_ROWS):
            ids, rows = np.asarray(ids), _pack(table, packed, np.asarray(rows))
            is_reserved = np.isin(ids, reserved_ids.RESERVED_IDS)
            for position in np.flatnonzero(is_reserved):
                reserved_rows[int(ids[position])] = rows[position].copy()
            writer.write(ids[~is_reserved], rows[~is_reserved])
            all_ids.append(ids[~is_reserved])
        # A row that was removed and came back meanwhile may be there twice;
        # the later one wins in the server, and both count as one.
        num_rows = len(np.unique(np.concatenate(all_ids))) if all_ids else 0
        expected = self.expected_rows[table.name]
        if expected is None:
            expected = max(_GROWTH * num_rows, _MIN_EXPECTED_ROWS)
        num_written = sum(map(len, all_ids))
        num_buckets = growth.buckets_for(max(expected, num_written))
        serving_table.start_from(
            writer.close(),
            num_rows=num_rows,
            reserved_rows=reserved_rows,
            num_buckets=num_buckets,
        )
        return {
            "name": table.name,
            "dim": table.dim,
            "rows": num_rows + len(reserved_rows),
            "buckets": num_buckets,
            "stored": packed.layout,
        }

    def _publish(self, saved: str, record: ExportRecord) -> None:
        saved_model_files.sync(saved)
        try:
            failpoints.hit("export.before_rename")
            os.rename(saved, record.path)
            failpoints.hit("export.after_rename")
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                raise self._version_taken(record.version) from error
            raise
        saved_model_files.sync_one(self.directory)


def _copy_dense(model) -> DenseCopy:
    variables = dense_variables(model)
    return DenseCopy(
        [variable.name for variable in variables],
        [tf.convert_to_tensor(variable).numpy() for variable in variables],
    )


def _step(table) -> int:
    """The step that all rows which are read from here on are of, or later.

    It goes back in another generation only, whose deltas are refused.
    """
    kinds = [segment.precision.kind for segment in table.config.segments]
    # Nothing else depends on it.
    if "onebit" not in kinds:
        return 0
    return min(step for step, _ in table.table_set.clocks(table.name))


def _pack(table, packed: PackedRows, rows: np.ndarray) -> np.ndarray:
    if packed.dtype == tf.float32:
        return rows
    with tf.device("CPU"):
        if not tf.reduce_all(packed.fits(rows)):
            raise ExportError(
                f"Rows of table {table.name!r} were read that are no "
                f"{packed.layout}: a shard went back to an earlier step "
                "meanwhile. Export again when the restore is done."
            )
        return packed.pack(rows).numpy()


def _lookup_function(table: ServingTable):
    def lookup(ids):
        rows, exists = table.lookup(ids)
        return {"rows": rows, "exists": exists}

    return tf.function(lookup, autograph=False).get_concrete_function(
        ids=tf.TensorSpec([None], tf.int64)
    )


def _write_record(saved: str, record: ExportRecord) -> None:
    file = os.path.join(saved, RECORD_FILE)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    failpoints.hit("export.before_record")
    with open(file, "w", encoding="utf-8") as stream:
        stream.write(record.to_json())


def _checked_version(version: int | None) -> int | None:
    if version is None:
        return None
    if isinstance(version, bool) or not isinstance(version, (int, np.integer)):
        raise ValueError(
            f"version must be a positive integer or None. Received: {version!r}"
            f" (of type {type(version).__name__})."
        )
    if not 0 < version <= _MAX_VERSION:
        raise ValueError(
            f"version must be from 1 to 2^63 - 1. Received: {version}."
        )
    return int(version)


def _expected_rows(expected_rows, tables) -> dict[str, int | None]:
    """Expected rows of each table by name, None where not given."""
    names = [table.name for table in tables]
    if expected_rows is None or isinstance(expected_rows, (int, np.integer)):
        by_name = dict.fromkeys(names, expected_rows)
    else:
        unknown = sorted(set(expected_rows) - set(names))
        if unknown:
            raise ValueError(
                f"expected_rows names {unknown}, the tables of the model are "
                f"{names}."
            )
        by_name = {name: expected_rows.get(name) for name in names}
    for name, number in by_name.items():
        if number is not None and not 1 <= number <= growth.MAX_ROWS:
            raise ValueError(
                f"expected_rows of table {name!r} must be from 1 to "
                f"{growth.MAX_ROWS}. Received: {number}."
            )
    return by_name
