"""Pretrained rows by id."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import zipfile

import numpy as np

_MAX_DIM = 65536


class PretrainedRows:
    """A checked, immutable map from ids to rows.

    Args:
        ids: Integers `[n]`, n >= 1, distinct, each an int64.
        rows: Finite floats `[n, dim]`, rounded to float32.
        path: File of the rows, if any; `get_config` then contains the path
            instead of the rows.

    Attributes:
        ids: int64 `[n]`, ascending; read-only.
        rows: float32 `[n, dim]` in the order of `ids`; read-only.
        path: As passed.

    Raises:
        TypeError: The ids are not integers, or the rows are not floats.
        ValueError: A shape or a value is wrong.

    Example:
    >>> pretrained = PretrainedRows([7, -1], [[0.5, 1.0], [2.0, 3.0]])
    >>> pretrained.ids
    array([-1,  7])
    >>> pretrained.dim
    2
    """

    def __init__(self, ids, rows, path: str | None = None):
        """Checks and sorts both arrays."""
        ids = _checked_ids(np.asarray(ids))
        rows = _checked_rows(np.asarray(rows), ids.size)
        order = np.argsort(ids, kind="stable")
        self.ids = ids[order]
        self.rows = rows[order]
        twice = np.flatnonzero(self.ids[1:] == self.ids[:-1])
        if twice.size:
            raise ValueError(
                "Pretrained rows need distinct ids. Received: id "
                f"{self.ids[twice[0]]} more than once ({twice.size} ids are "
                "repetitions)."
            )
        self.ids.flags.writeable = False
        self.rows.flags.writeable = False
        self.path = path

    @classmethod
    def from_file(cls, path) -> PretrainedRows:
        """Reads `ids` and `rows` of a NumPy `.npz` file.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file is not one of `np.savez(path, ids=ids,
                rows=rows)`, or its arrays are not valid.
        """
        path = os.fspath(path)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                ids, rows = arrays["ids"], arrays["rows"]
        except FileNotFoundError:
            raise
        except (
            *(AttributeError, EOFError, IndexError, KeyError, OSError),
            *(TypeError, ValueError, zipfile.BadZipFile),
        ) as error:
            raise ValueError(
                f"{path!r} cannot be read as pretrained rows: {error}. "
                "Expected: an .npz file with the arrays ids and rows. Write it "
                "with np.savez(path, ids=ids, rows=rows)."
            ) from error
        return cls(ids, rows, path)

    @property
    def dim(self) -> int:
        """Number of floats of a row."""
        return self.rows.shape[1]

    @functools.cached_property
    def digest(self) -> str:
        """32 hex digits of a hash of the rows, in any order of the ids."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.dim.to_bytes(4, "little"))
        digest.update(_little_endian(self.ids))
        digest.update(_little_endian(self.rows))
        return digest.hexdigest()

    def get_config(self) -> dict[str, str | int]:
        """Returns the config of equal rows (JSON-able).

        It has the path and digest of a file, or else all rows in Base64.
        """
        if self.path is not None:
            return {"path": self.path, "digest": self.digest}
        return {
            "ids": base64.b64encode(_little_endian(self.ids)).decode(),
            "rows": base64.b64encode(_little_endian(self.rows)).decode(),
            "dim": self.dim,
        }

    @classmethod
    def from_config(cls, config: dict) -> PretrainedRows:
        """Makes the rows of a config.

        Args:
            config: Result of `get_config`.

        Raises:
            ValueError: The file has changed.
        """
        if "path" not in config:
            rows = np.frombuffer(base64.b64decode(config["rows"]), "<f4")
            return cls(
                np.frombuffer(base64.b64decode(config["ids"]), "<i8"),
                rows.reshape(-1, config["dim"]),
            )
        pretrained = cls.from_file(config["path"])
        if pretrained.digest != config["digest"]:
            raise ValueError(
                f"The pretrained rows in {config['path']!r} are not those of "
                f"the config: expected digest {config['digest']}. Received: "
                f"{pretrained.digest}. Restore the old file, or make a new "
                "config with mt.initializers.Pretrained.from_file."
            )
        return pretrained

    def __len__(self) -> int:
        """Returns the number of rows."""
        return self.ids.size

    def __eq__(self, other: object) -> bool:
        """Returns True if both have the same rows."""
        if not isinstance(other, PretrainedRows):
            return NotImplemented
        return self is other or self.digest == other.digest

    def __hash__(self) -> int:
        """Hashes the contents."""
        return hash(self.digest)

    def __repr__(self) -> str:
        """Returns the size and the path instead of the rows."""
        source = "" if self.path is None else f" from {self.path!r}"
        return f"<{len(self)} rows of dim {self.dim}{source}>"


def _checked_ids(ids: np.ndarray) -> np.ndarray:
    if ids.ndim != 1 or ids.size == 0:
        raise ValueError(
            "Pretrained rows need ids [n] with n >= 1. Received: ids of shape "
            f"{ids.shape}."
        )
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(
            "Pretrained rows need integers for ids. Received: ids of dtype "
            f"{ids.dtype}."
        )
    if ids.dtype == np.uint64 and ids.max() >= 1 << 63:
        raise ValueError(
            "Pretrained rows need ids that are int64. Received: id "
            f"{ids.max()}. Read them with ids.view(np.int64)."
        )
    return ids.astype(np.int64)


def _checked_rows(rows: np.ndarray, num_ids: int) -> np.ndarray:
    if rows.ndim != 2 or rows.shape[0] != num_ids:
        raise ValueError(
            "Pretrained rows need rows [n, dim], one per id. Received: "
            f"rows of shape {rows.shape} for {num_ids} ids."
        )
    if not 1 <= rows.shape[1] <= _MAX_DIM:
        raise ValueError(
            f"Pretrained rows need a dim from 1 to {_MAX_DIM}. Received: rows "
            f"of shape {rows.shape}."
        )
    if not np.issubdtype(rows.dtype, np.floating):
        raise TypeError(
            "Pretrained rows need floats for rows. Received: rows of dtype "
            f"{rows.dtype}."
        )
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32)
    if not np.isfinite(rows).all():
        where = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise ValueError(
            "Pretrained rows need numbers that are finite in float32. "
            f"Received: rows[{where}] = {rows[where]}."
        )
    return rows


def _little_endian(array: np.ndarray) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
