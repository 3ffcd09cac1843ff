"""Readable descriptions of all files that this library writes."""

from __future__ import annotations

import os
from collections.abc import Iterator

from monolith_tf.errors import FormatError
from monolith_tf.serving import delta as delta_lib
from monolith_tf.serving.export_record import RECORD_FILE
from monolith_tf.serving.export_record import ExportRecord
from monolith_tf.serving.graph import row_file

_SHOWN_FLOATS = 8


def dump(path: str | os.PathLike, max_ids: int = 10) -> Iterator[str]:
    """Yields the lines that describe a file.

    Args:
        path: A delta file, a row file of an export, an export's version
            directory or its record, or a TensorFlow checkpoint (its prefix or
            its `.index` file).
        max_ids: Number of ids to show per table.

    Raises:
        FormatError: The file is damaged, or of another kind.
        OSError: The file cannot be opened.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        yield from _dump_export(path)
    elif path.endswith(os.path.basename(RECORD_FILE)):
        yield from _dump_export(os.path.dirname(os.path.dirname(path)))
    elif path.endswith(".index"):
        yield from _dump_checkpoint(path.removesuffix(".index"))
    elif not os.path.exists(path) and os.path.exists(path + ".index"):
        yield from _dump_checkpoint(path)
    else:
        with open(path, "rb") as file:
            magic = file.read(len(delta_lib.MAGIC))
        if magic == delta_lib.MAGIC:
            yield from _dump_delta(path, max_ids)
        elif magic == row_file.MAGIC:
            yield from _dump_rows(path, max_ids)
        else:
            raise FormatError(
                f"{path!r} starts with {magic!r}. Expected a delta file "
                f"({delta_lib.MAGIC!r}), a row file ({row_file.MAGIC!r}), an "
                "export directory or a checkpoint."
            )


def _dump_delta(path: str, max_ids: int) -> Iterator[str]:
    chunk = delta_lib.read(path)
    yield f"delta chunk, {chunk.num_bytes} bytes, format {chunk.header[0]}"
    for name in ("export_id", "generation"):
        yield f"  {name}: {getattr(chunk, name)}"
    if chunk.shard == chunk.num_shards:
        yield f"  stream: dense variables (number {chunk.shard})"
    else:
        yield f"  stream: shard {chunk.shard} of {chunk.num_shards}"
    yield f"  cuts: after {chunk.from_cut}, up to {chunk.to_cut}"
    more = ", more of this delta follows" if chunk.more else ""
    yield f"  sequence: {chunk.sequence}{more}"
    for table in chunk.tables:
        yield (
            f"  table {table.name!r}: dim {table.dim}, {len(table.rows)} rows, "
            f"{table.num_tombstones} tombstones"
        )
        rows = iter(table.rows)
        for id_, exists in zip(
            table.ids[:max_ids], table.exists[:max_ids], strict=True
        ):
            yield f"    {id_}: {_row(next(rows)) if exists else 'tombstone'}"
        if table.ids.size > max_ids:
            yield f"    ... {table.ids.size - max_ids} more"
    yield f"  dense: {len(chunk.dense)} bytes"


def _dump_rows(path: str, max_ids: int) -> Iterator[str]:
    with open(path, "rb") as file:
        content = file.read()
    try:
        ids, rows, layout = row_file.decode(content, path)
    except ValueError as error:
        raise FormatError(str(error)) from error
    yield (
        f"row file: {len(ids)} rows of dim {rows.shape[1]}, stored as {layout}"
    )
    for id_, row in zip(ids[:max_ids], rows[:max_ids], strict=True):
        yield f"    {id_}: {_row(row)}"
    if len(ids) > max_ids:
        yield f"    ... {len(ids) - max_ids} more"


def _dump_export(path: str) -> Iterator[str]:
    record = ExportRecord.load(path)
    yield f"export, version {record.version}"
    yield f"  export_id: {record.export_id}"
    yield f"  shards: {record.num_shards}"
    for shard, (generation, cut) in enumerate(
        zip(record.generations, record.cuts, strict=True)
    ):
        yield f"    {shard}: generation {generation}, cut {cut}"
    for table in record.tables:
        yield (
            f"  table {table['name']!r}: dim {table['dim']}, {table['rows']} "
            f"rows, {table['buckets']} buckets{_stored(table)}"
        )
    for dense in record.dense:
        yield f"  dense {dense['name']!r}: {dense['dtype']} {dense['shape']}"
    for name, feature in record.features.items():
        yield f"  feature {name!r}: {feature}"


def _dump_checkpoint(prefix: str) -> Iterator[str]:
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(prefix)
    except (tf.errors.OpError, ValueError) as error:
        raise FormatError(
            f"{prefix!r} is not a readable checkpoint: {error}"
        ) from error
    dtypes = reader.get_variable_to_dtype_map()
    yield f"checkpoint, {len(dtypes)} entries"
    for name, shape in sorted(reader.get_variable_to_shape_map().items()):
        yield f"  {name}: {dtypes[name].name} {shape}"


def _stored(table: dict) -> str:
    # Older records have none.
    return f", stored as {table['stored']}" if "stored" in table else ""


def _row(row) -> str:
    shown = ", ".join(f"{value:.6g}" for value in row[:_SHOWN_FLOATS])
    more = ", ..." if len(row) > _SHOWN_FLOATS else ""
    return f"[{shown}{more}]"
