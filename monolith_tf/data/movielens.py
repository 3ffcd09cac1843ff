"""A reader of MovieLens CSV files."""

from __future__ import annotations

import array
import csv
import math
import os
from collections.abc import Iterator

import numpy as np

from monolith_tf.data.genres import genre_ids
from monolith_tf.data.ratings import Ratings

_RATINGS_HEADER = ["userId", "movieId", "rating", "timestamp"]
_MOVIES_HEADER = ["movieId", "title", "genres"]
_NO_GENRES = "(no genres listed)"
_LIKED = 3.5
_MAX_RATING = 5.0


def read_movielens(path: str | os.PathLike[str]) -> Ratings:
    r"""Reads MovieLens ratings in time order, with the genres of each movie.

    The file has the columns userId, movieId, rating, timestamp; `movies.csv` in
    the same folder (movieId, title, genres) has the genres. Ratings of the same
    second keep the order of the file. A rating of 3.5 or more is a like. A
    movie that `movies.csv` does not list has no genres.

    Args:
        path: Path of `ratings.csv`.

    Returns:
        All ratings of the file.

    Raises:
        FileNotFoundError: `path`, or `movies.csv` in its folder, does not
            exist.
        ValueError: A file is empty or malformed. The message has file, line,
            content and what was expected.

    Example:
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> ratings_csv = pathlib.Path(folder.name, "ratings.csv")
    >>> _ = ratings_csv.write_text(
    ...     "userId,movieId,rating,timestamp\n7,31,4.0,851868750\n")
    >>> _ = pathlib.Path(folder.name, "movies.csv").write_text(
    ...     "movieId,title,genres\n31,Dangerous Minds (1995),Drama\n")
    >>> read_movielens(ratings_csv).label
    array([1.], dtype=float32)
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{path}: no such file. Pass the path of a MovieLens ratings.csv "
            f"(header {','.join(_RATINGS_HEADER)})."
        )
    movies_path = os.path.join(os.path.dirname(path), "movies.csv")
    if not os.path.isfile(movies_path):
        raise FileNotFoundError(
            f"{movies_path}: no such file. Genres are read from the movies.csv "
            f"(header {','.join(_MOVIES_HEADER)}) in the folder of {path}. Put "
            "both in one folder."
        )
    row_of_movie, genres_of_row = _read_movies(movies_path)
    user_id, movie_id, rating, timestamp = _read_columns(path)
    order = np.argsort(timestamp, kind="stable")
    rows = np.fromiter(
        (row_of_movie.get(movie, 0) for movie in movie_id.tolist()),
        np.int64,
        len(movie_id),
    )
    return Ratings(
        user_id=user_id[order],
        movie_id=movie_id[order],
        genres=genres_of_row[rows[order]],
        label=(rating[order] >= _LIKED).astype(np.float32),
        timestamp=timestamp[order],
    )


def _read_movies(path: str) -> tuple[dict[int, int], np.ndarray]:
    """Returns movie to row, and genre ids by row; row 0 has no genres."""
    line_of_movie: dict[int, int] = {}
    names: list[list[str]] = [[]]
    for line, (movie, _, genres) in _records(path, _MOVIES_HEADER):
        movie_id = _int64(path, line, "movieId", movie)
        if movie_id in line_of_movie:
            raise ValueError(
                f"{path}, line {line}: movieId {movie_id} is already on line "
                f"{line_of_movie[movie_id]}; expected each movie once. Remove "
                "one of the two lines."
            )
        line_of_movie[movie_id] = line
        listed = [] if genres in ("", _NO_GENRES) else genres.split("|")
        names.append(list(dict.fromkeys(listed)))
    row_of_movie = {movie: row for row, movie in enumerate(line_of_movie, 1)}
    return row_of_movie, genre_ids(names)


def _read_columns(
    path: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    user_id = array.array("q")
    movie_id = array.array("q")
    ratings = array.array("d")
    timestamp = array.array("q")
    for line, (user, movie, rating, time) in _records(path, _RATINGS_HEADER):
        user_id.append(_int64(path, line, "userId", user))
        movie_id.append(_int64(path, line, "movieId", movie))
        ratings.append(_rating(path, line, rating))
        timestamp.append(_int64(path, line, "timestamp", time))
    if not user_id:
        raise ValueError(
            f"{path}, line 2: no rating follows the header; expected one "
            "rating per line, such as 1,31,2.5,1260759144."
        )
    return (
        np.asarray(user_id, np.int64),
        np.asarray(movie_id, np.int64),
        np.asarray(ratings, np.float64),
        np.asarray(timestamp, np.int64),
    )


def _records(path: str, header: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yields the line number and fields of each record; skips blank lines."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            first = next(reader, None)
            if first is None:
                raise ValueError(
                    f"{path}, line 1: the file is empty; expected the header "
                    f"{','.join(header)}."
                )
            if first != header:
                raise ValueError(
                    f"{path}, line 1: the header is {','.join(first)!r}; "
                    f"expected {','.join(header)!r}. Pass a file in the "
                    "MovieLens CSV layout."
                )
            for fields in reader:
                if not fields:
                    continue
                if len(fields) != len(header):
                    raise ValueError(
                        f"{path}, line {reader.line_num}: {len(fields)} "
                        f"fields; expected {len(header)} "
                        f"({','.join(header)})."
                    )
                yield reader.line_num, fields
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {reader.line_num}: {error}; expected comma-"
                "separated values, fields with a comma in double quotes."
            ) from error
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, after line {reader.line_num}: {error}; expected "
                "UTF-8 text. Is the file still compressed?"
            ) from error


def _int64(path: str, line: int, column: str, text: str) -> int:
    # int() alone also takes "1_000" and digits of every script.
    digits = text[1:] if text.startswith("-") else text
    if digits.isascii() and digits.isdigit():
        number = int(text)
        if -(2**63) <= number < 2**63:
            return number
    raise ValueError(
        f"{path}, line {line}: {column} is {text!r}; expected a whole number "
        "that fits in 64 bits."
    )


def _rating(path: str, line: int, text: str) -> float:
    try:
        rating = float(text)
    except ValueError:
        rating = math.nan
    if not 0.0 <= rating <= _MAX_RATING:
        raise ValueError(
            f"{path}, line {line}: rating is {text!r}; expected a number from "
            f"0 to {_MAX_RATING:g}."
        )
    return rating
