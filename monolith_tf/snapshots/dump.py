"""Readable descriptions of the files of a snapshot."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

from monolith_tf.snapshots import manifest as manifest_lib
from monolith_tf.snapshots import part_file

_SHOWN_FLOATS = 8


def is_of_snapshot(path: str | os.PathLike[str]) -> bool:
    """Returns True for the path of a manifest or a part file."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        magic = file.read(8)
    return magic in (manifest_lib.MAGIC, part_file.MAGIC)


def dump(path: str | os.PathLike[str], max_ids: int = 10) -> Iterator[str]:
    """Yields the lines that describe a manifest or a part file.

    Args:
        path: The file; `is_of_snapshot` holds.
        max_ids: Number of ids to show per table.

    Raises:
        FormatError: The file is damaged.
        OSError: The file cannot be opened.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        content = file.read(8)
        if content == manifest_lib.MAGIC:
            content += file.read()
    if content.startswith(manifest_lib.MAGIC):
        found = manifest_lib.Manifest.from_bytes(content, path)
        yield from _dump_manifest(found)
    else:
        yield from _dump_part(part_file.PartFile(path), max_ids)


def _dump_manifest(manifest: manifest_lib.Manifest) -> Iterator[str]:
    yield f"manifest of a snapshot, format {manifest_lib.FORMAT}"
    for field in dataclasses.fields(manifest):
        value = getattr(manifest, field.name)
        if not isinstance(value, tuple):
            yield f"  {field.name}: {value}"
            continue
        yield f"  {field.name}: {len(value)}"
        yield from (f"    {entry}" for entry in value)


def _dump_part(part: part_file.PartFile, max_ids: int) -> Iterator[str]:
    yield f"part of a snapshot, {part.num_bytes} bytes"
    yield f"  snapshot: {part.snapshot_id}"
    yield f"  shard: {part.shard} of {part.num_shards}"
    yield f"  generation: {part.generation}"
    yield f"  cuts: after {part.from_cut}, up to {part.to_cut}"
    for table in part.tables:
        yield f"  table {table.name!r}: row width {table.row_width}"
        yield f"    full: {table.is_full}, {table.num_rows} rows at the moment"
        yield f"    step {table.global_step}, event time {table.event_time}"
        yield from _dump_rows(part, table.name, max_ids)
        removed = part.removed(table.name)
        yield f"    removed: {len(removed)} {removed[:max_ids].tolist()}"


def _dump_rows(
    part: part_file.PartFile, table: str, max_ids: int
) -> Iterator[str]:
    num_rows = 0
    # All blocks are read, so that damage shows.
    for ids, stamps, rows in part.rows(table):
        left = max(0, max_ids - num_rows)
        num_rows += len(ids)
        for id_, stamp, row in zip(
            ids[:left], stamps[:left], rows[:left], strict=True
        ):
            shown = ", ".join(f"{value:.6g}" for value in row[:_SHOWN_FLOATS])
            more = ", ..." if len(row) > _SHOWN_FLOATS else ""
            yield f"    {id_}: stamp {stamp}, [{shown}{more}]"
    yield f"    {num_rows} rows in this file"
