"""What an export says of itself: `assets.extra/monolith_export.json`."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib

from monolith_tf.errors import FormatError

FORMAT = 1
RECORD_FILE = os.path.join("assets.extra", "monolith_export.json")


@dataclasses.dataclass(frozen=True)
class ExportRecord:
    """Identity of an export, and where its deltas start.

    It is a path as well: `os.fspath(record)` is the version directory.

    Attributes:
        path: Version directory, `<directory>/<version>`.
        version: Number of the version, which servers call it by.
        export_id: Random positive number that deltas name.
        generations: Generation of each shard at the time of the export.
        cuts: Cut of each shard reached before its first row was read; the first
            delta of a shard starts there.
        tables: `{"name", "dim", "rows", "buckets", "stored"}` of each table, by
            name; `stored` says how its rows are kept, `"int8(0.5)[8]"` for one.
        dense: `{"name", "dtype", "shape"}` of each dense variable; a delta has
            their bytes in this order.
        features: How each input of the model travels in a request.
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
        """The version directory."""
        return self.path

    @property
    def num_shards(self) -> int:
        """Number of servers that the tables were spread over."""
        return len(self.generations)

    def to_json(self) -> str:
        """The content of the record's file."""
        fields = {"format": FORMAT, "num_shards": self.num_shards}
        fields.update(dataclasses.asdict(self))
        # The directory may be moved; where a record lies says both.
        del fields["path"], fields["version"]
        return json.dumps(fields, indent=1) + "\n"

    @classmethod
    def load(cls, path: str | os.PathLike) -> ExportRecord:
        """Reads the record of a version directory.

        Args:
            path: `<directory>/<version>`.

        Raises:
            FormatError: There is no record, or one of another format.
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
                f"{file} does not exist, so {directory} is no export of "
                "monolith_tf.serving.export_saved_model, or not a version "
                "directory of it."
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{file} is no export record: {error}. Export again."
            ) from error
        if not num_shards == record.num_shards == len(record.cuts):
            raise FormatError(
                f"{file}: num_shards {num_shards}, but "
                f"{record.num_shards} generations and {len(record.cuts)} cuts. "
                "Export again."
            )
        return record
