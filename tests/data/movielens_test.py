"""Tests of the MovieLens reader."""

import pathlib

import numpy as np
import pytest

from monolith_tf import data

RATINGS = """userId,movieId,rating,timestamp
7,10,4.0,300
8,20,3.5,100
7,20,3.0,100
9,30,0.5,200
"""
MOVIES = """movieId,title,genres
10,"American President, The (1995)",Comedy|Drama|Romance
20,Heat (1995),Drama
30,Unknown (1999),(no genres listed)
"""


def write(
    folder: pathlib.Path, ratings: str = RATINGS, movies: str = MOVIES
) -> pathlib.Path:
    (folder / "movies.csv").write_text(movies, encoding="utf-8")
    path = folder / "ratings.csv"
    path.write_text(ratings, encoding="utf-8")
    return path


def test_ratings_come_in_time_order_and_ties_keep_the_order_of_the_file(
    tmp_path,
):
    ratings = data.read_movielens(write(tmp_path))
    np.testing.assert_array_equal(ratings.timestamp, [100, 100, 200, 300])
    np.testing.assert_array_equal(ratings.user_id, [8, 7, 9, 7])
    np.testing.assert_array_equal(ratings.movie_id, [20, 20, 30, 10])


def test_a_rating_of_three_and_a_half_is_the_lowest_like(tmp_path):
    ratings = data.read_movielens(write(tmp_path))
    np.testing.assert_array_equal(ratings.label, [1, 0, 0, 1])
    assert ratings.label.dtype == np.float32


def test_genres_follow_the_movie_and_are_padded_at_the_end(tmp_path):
    genres = data.read_movielens(write(tmp_path)).genres
    drama, comedy_drama_romance = genres[0], genres[3]
    assert genres.shape == (4, 3)
    assert drama[0] != data.GENRE_PADDING_ID
    np.testing.assert_array_equal(drama[1:], [0, 0])
    np.testing.assert_array_equal(genres[2], [0, 0, 0])
    assert comedy_drama_romance[1] == drama[0]
    assert len(set(comedy_drama_romance)) == 3


def test_a_genre_has_the_same_id_in_every_file(tmp_path):
    movies = "movieId,title,genres\n20,Heat (1995),Thriller|Drama\n"
    (tmp_path / "other").mkdir()
    here = data.read_movielens(write(tmp_path))
    there = data.read_movielens(write(tmp_path / "other", movies=movies))
    assert there.genres[0, 1] == here.genres[0, 0]


def test_a_movie_that_movies_csv_does_not_list_has_no_genres(tmp_path):
    path = write(tmp_path, ratings=RATINGS + "999,999999,5.0,400")
    ratings = data.read_movielens(path)
    assert ratings.movie_id[-1] == 999999
    np.testing.assert_array_equal(ratings.genres[-1], [0, 0, 0])


def test_windows_line_ends_a_byte_order_mark_and_blank_lines_are_read(
    tmp_path,
):
    text = "\ufeff" + RATINGS.replace("\n", "\r\n") + "\r\n"
    assert len(data.read_movielens(write(tmp_path, ratings=text))) == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x,10,4.0,1", r"ratings\.csv, line 6: userId is 'x'; expected a who"),
        ("1,1_0,4.0,1", "line 6: movieId is '1_0'; expected a whole number"),
        ("1,,4.0,1", "line 6: movieId is ''; expected a whole number"),
        ("1,10,good,1", "line 6: rating is 'good'; expected a number from 0"),
        ("1,10,nan,1", "line 6: rating is 'nan'; expected a number from 0"),
        ("1,10,5.5,1", "line 6: rating is '5.5'; expected a number from 0"),
        ("1,10,4.0,1.5", "line 6: timestamp is '1.5'; expected a whole"),
        (f"{2**63},10,4.0,1", "line 6: userId is .* fits in 64 bits"),
        ("1,10,4.0", r"line 6: 3 fields; expected 4 \(userId,movieId"),
        ('1,"10"x,4.0,1', "line 6: .*expected comma-separated"),
    ],
)
def test_a_malformed_rating_is_refused_naming_its_line(tmp_path, line, message):
    path = write(tmp_path, ratings=RATINGS + line + "\n1,10,4.0,1\n")
    with pytest.raises(ValueError, match=message):
        data.read_movielens(path)


@pytest.mark.parametrize(
    ("movies", "message"),
    [
        ("", r"movies\.csv, line 1: the file is empty; expected the header"),
        ("id,title\n", r"movies\.csv, line 1: the header is 'id,title'; exp"),
        (MOVIES + "x,T,Drama\n", r"movies\.csv, line 5: movieId is 'x'"),
        (MOVIES + "40,A, B,Drama\n", "line 5: 4 fields; expected 3"),
        (MOVIES + "10,Again,Drama\n", "line 5: movieId 10 is already on li"),
    ],
)
def test_a_malformed_movie_is_refused_naming_its_line(
    tmp_path, movies, message
):
    with pytest.raises(ValueError, match=message):
        data.read_movielens(write(tmp_path, movies=movies))


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ("", r"ratings\.csv, line 1: the file is empty; expected the header"),
        ("user,item\n1,2\n", "line 1: the header is 'user,item'; expected"),
        (RATINGS.splitlines()[0] + "\n", "line 2: no rating follows the head"),
    ],
)
def test_a_file_without_header_or_ratings_is_refused(
    tmp_path, ratings, message
):
    with pytest.raises(ValueError, match=message):
        data.read_movielens(write(tmp_path, ratings=ratings))


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = write(tmp_path)
    path.write_bytes(RATINGS.encode() + b"\xff\xfe\n")
    with pytest.raises(ValueError, match="expected UTF-8 text"):
        data.read_movielens(path)


def test_a_missing_ratings_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv: no such file"):
        data.read_movielens(tmp_path / "none.csv")


def test_a_missing_movies_file_is_named_with_the_place_it_belongs(tmp_path):
    path = write(tmp_path)
    (tmp_path / "movies.csv").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"movies\.csv: no such file\. Genres are"
    ):
        data.read_movielens(path)
