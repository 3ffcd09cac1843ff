"""The record of an export: `assets.extra/monolith_export.json`."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib

from monolith_tf.errors import FormatError

FORMAT = 1
# Cut of an export that no deltas follow. No shard reaches it, so a pusher that
# begins there is told to write a new export.
UNTRACKED_CUT = 1 << 62
RECORD_FILE = os.path.join("assets.extra", "monolith_export.json")


@dataclasses.dataclass(frozen=True)
class ExportRecord:
    """Identity of an export, and the start of its deltas.

    It is also a path: `os.fspath(record)` is the version directory.

    Attributes:
        path: Version directory, `<directory>/<version>`.
        version: Number of the version on servers.
        export_id: Random positive number, part of each delta.
        generations: Generation per shard at the time of the export.
        cuts: Cut per shard before its first row was read; the first delta of
            the shard starts there.
        tables: `{"name", "dim", "rows", "buckets", "stored"}` per table, by
            name; `stored` is the layout of its rows, such as `"int8(0.5)[8]"`.
        dense: `{"name", "dtype", "shape"}` per dense variable; a delta has
            their bytes in this order.
        features: Format of each input of the model in a request.
        created_unix_seconds: Time of the export.

    Example:
    ```python
    record = ExportRecord.load("/models/ranker/1")
    print(record.version, record.num_shards, record.tables)
    ```
    """

    path: str
    version: int
    export_id: int
    generations: list[int]
    cuts: list[int]
    tables: list[dict]
    dense: list[dict]
    features: dict[str, dict]
    created_unix_seconds: float

    def __fspath__(self) -> str:
        """Returns the version directory."""
        return self.path

    @property
    def num_shards(self) -> int:
        """Number of shards of the tables."""
        return len(self.generations)

    def to_json(self) -> str:
        """Returns the content of the record's file."""
        fields = {"format": FORMAT, "num_shards": self.num_shards}
        fields.update(dataclasses.asdict(self))
        # The directory may be moved, so the path of the record has both.
        del fields["path"], fields["version"]
        return json.dumps(fields, indent=1) + "\n"

    @classmethod
    def of(cls, record: ExportRecord | str | os.PathLike) -> ExportRecord:
        """Returns a record itself, or the one of a version directory.

        Raises:
            FormatError: See `load`.
        """
        return record if isinstance(record, cls) else cls.load(record)

    @classmethod
    def load(cls, path: str | os.PathLike) -> ExportRecord:
        """Reads the record of a version directory.

        Args:
            path: `<directory>/<version>`.

        Raises:
            FormatError: There is no record, or it has another format.
        """
        directory = pathlib.Path(path)
        file = directory / RECORD_FILE
        try:
            fields = json.loads(file.read_bytes())
            found = fields.pop("format")
            num_shards = fields.pop("num_shards")
            if found != FORMAT:
                raise FormatError(
                    f"{file}: format {found}, expected {FORMAT}. Read it with "
                    "the version of monolith-tf that wrote it."
                )
            record = cls(
                path=os.fspath(directory),
                version=int(directory.resolve().name),
                **fields,
            )
        except FileNotFoundError:
            raise FormatError(
                f"{file} does not exist, so {directory} is not a version "
                "directory of monolith_tf.serving.export_saved_model."
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{file} is not a valid export record: {error}. Export again."
            ) from error
        if not num_shards == record.num_shards == len(record.cuts):
            raise FormatError(
                f"{file}: num_shards {num_shards}, but "
                f"{record.num_shards} generations and {len(record.cuts)} cuts. "
                "Export again."
            )
        return record
