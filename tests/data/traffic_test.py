"""Tests of the generator of drifting traffic."""

import dataclasses

import numpy as np
import pytest

from monolith_tf import data

NUM_EXAMPLES = 40_000


@pytest.fixture(scope="module")
def traffic() -> data.Ratings:
    return data.generate_traffic(NUM_EXAMPLES, seed=1)


def test_equal_seeds_give_equal_ratings_and_others_do_not():
    first = data.generate_traffic(500, seed=3)
    again = data.generate_traffic(500, seed=3)
    other = data.generate_traffic(500, seed=4)
    for field in dataclasses.fields(data.Ratings):
        np.testing.assert_array_equal(
            getattr(first, field.name), getattr(again, field.name)
        )
    assert set(first.movie_id).isdisjoint(other.movie_id)


def test_the_number_of_ratings_is_what_was_asked_for(traffic):
    assert len(traffic) == NUM_EXAMPLES
    assert len(data.generate_traffic(1, seed=1)) == 1


def test_popularity_is_skewed_like_zipf(traffic):
    _, counts = np.unique(traffic.movie_id, return_counts=True)
    counts = np.sort(counts)[::-1]
    assert counts[: len(counts) // 100].sum() > 0.2 * NUM_EXAMPLES
    assert np.median(counts) < counts[0] / 50


def test_movies_and_users_appear_over_the_whole_span(traffic):
    quarters = np.array_split(np.arange(NUM_EXAMPLES), 4)
    for column in (traffic.movie_id, traffic.user_id):
        seen = set(column[quarters[0]])
        for quarter in quarters[1:]:
            new = set(column[quarter]) - seen
            assert len(new) > 100
            seen |= new


def test_popular_movies_change(traffic):
    def top(movies):
        ids, counts = np.unique(movies, return_counts=True)
        return set(ids[np.argsort(counts)[-50:]])

    tenth = NUM_EXAMPLES // 10
    first, last = top(traffic.movie_id[:tenth]), top(traffic.movie_id[-tenth:])
    assert len(first & last) < 35


def test_a_movie_keeps_its_genres(traffic):
    movies, first, inverse = np.unique(
        traffic.movie_id, return_index=True, return_inverse=True
    )
    np.testing.assert_array_equal(
        traffic.genres, traffic.genres[first][inverse]
    )
    genre_counts = np.sum(traffic.genres[first] != 0, axis=1)
    assert set(genre_counts) == {1, 2, 3, 4}
    assert len(movies) > 1000


def test_likes_drift_so_that_old_averages_mislead(traffic):
    """A movie's average of the last weeks says more than an older one."""
    half, tail = NUM_EXAMPLES // 2, NUM_EXAMPLES - NUM_EXAMPLES // 10

    def average(part):
        ids, inverse = np.unique(part.movie_id, return_inverse=True)
        likes = np.bincount(inverse, part.label)
        return dict(
            zip(ids, (likes + 5) / (np.bincount(inverse) + 10), strict=True)
        )

    old, recent = average(traffic[:half]), average(traffic[half:tail])
    known = [movie in old and movie in recent for movie in traffic.movie_id]
    last = np.flatnonzero(known)
    last = last[last >= tail]
    label = traffic.label[last]

    def loss(averages):
        p = np.array([averages[m] for m in traffic.movie_id[last]])
        return -np.mean(np.log(np.where(label == 1, p, 1 - p)))

    assert loss(recent) < loss(old) - 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"num_examples": 0},
            "num_examples of at least 1. Received: num_examples=0",
        ),
        ({"seed": -1}, "seed of at least 0. Received: seed=-1"),
        ({"num_users": 1}, "num_users of at least 2. Received: num_users=1"),
        ({"num_movies": 0}, "num_movies of at least 2. Received: num_movies=0"),
        ({"exponent": 0.0}, "a positive exponent, .* Received: exponent=0.0"),
        (
            {"exponent": float("nan")},
            "a positive exponent, .* Received: exponent=nan",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.generate_traffic(**{"num_examples": 10, **arguments})
