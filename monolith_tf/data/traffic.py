"""A generator of drifting Zipf traffic."""

from __future__ import annotations

import numpy as np

from monolith_tf.data.genres import genre_ids
from monolith_tf.data.ratings import Ratings

_NUM_GENRES = 20
_MAX_GENRES = 4
_TASTE_DIM = 8
_SPAN_SECONDS = 30 * 24 * 3600
_FIRST_SECOND = 1_700_000_000
_PRESENT_AT_START = 0.5
_MAX_BLOCKS = 200


def generate_traffic(
    num_examples: int,
    seed: int = 0,
    num_users: int = 4000,
    num_movies: int = 3000,
    exponent: float = 1.05,
) -> Ratings:
    """Generates ratings whose users, movies and tastes change over time.

    Movies and users are drawn from Zipf distributions. Half of them exist from
    the start and the others arrive one by one over the whole span; a new movie
    is popular for a while. Popularity, the quality of each movie, the trend of
    each genre and the taste of each user drift, so a model that continues to
    train beats a frozen one. Labels are random with the hidden model's
    probability. Ids are random 63-bit numbers.

    Args:
        num_examples: Number of ratings, at least 1.
        seed: Random seed, at least 0; equal arguments return equal ratings.
        num_users: Number of possible users, at least 2.
        num_movies: Number of possible movies, at least 2.
        exponent: Zipf exponent of the popularity, positive.

    Returns:
        `num_examples` ratings over thirty days.

    Raises:
        ValueError: An argument is out of range.

    Example:
    >>> ratings = generate_traffic(num_examples=1000, seed=1)
    >>> len(ratings)
    1000
    """
    for name, value, least in (
        ("num_examples", num_examples, 1),
        ("seed", seed, 0),
        ("num_users", num_users, 2),
        ("num_movies", num_movies, 2),
    ):
        if value < least:
            raise ValueError(
                f"generate_traffic needs {name} of at least {least}. "
                f"Received: {name}={value}."
            )
    if not 0 < exponent < np.inf:
        raise ValueError(
            "generate_traffic needs a positive exponent, such as 1.05. "
            f"Received: exponent={exponent}."
        )
    rng = np.random.default_rng(seed)
    num_blocks = min(_MAX_BLOCKS, num_examples)
    times = np.sort(rng.random(num_examples))
    block = np.minimum((times * num_blocks).astype(np.int64), num_blocks - 1)

    user_arrival = _arrivals(rng, num_users)
    movie_arrival = _arrivals(rng, num_movies)
    user = _draw_users(rng, block, num_blocks, user_arrival, exponent)
    movie = _draw_movies(rng, block, num_blocks, movie_arrival, exponent)
    genre_numbers = [
        rng.choice(_NUM_GENRES, rng.integers(1, _MAX_GENRES + 1), replace=False)
        for _ in range(num_movies)
    ]

    logit = 0.3 + rng.normal(0.0, 0.5, num_users)[user]
    logit += rng.normal(0.0, 0.6, num_movies)[movie]
    logit += _walks(rng, num_blocks, num_movies, deviation=1.2)[block, movie]
    trends = _walks(rng, num_blocks, _NUM_GENRES, deviation=0.8)
    has_genre = np.zeros((num_movies, _NUM_GENRES))
    for row, numbers in enumerate(genre_numbers):
        has_genre[row, numbers] = 1.0 / len(numbers)
    trend_of_movie = trends @ has_genre.T
    logit += trend_of_movie[block, movie]
    logit += _affinity(rng, times, user, movie, num_users, num_movies)
    label = rng.random(num_examples) < 1.0 / (1.0 + np.exp(-logit))

    genres = genre_ids(
        [[f"genre {number}" for number in row] for row in genre_numbers]
    )
    return Ratings(
        user_id=_ids(rng, num_users)[user],
        movie_id=_ids(rng, num_movies)[movie],
        genres=genres[movie],
        label=label.astype(np.float32),
        timestamp=_FIRST_SECOND + (times * _SPAN_SECONDS).astype(np.int64),
    )


def _arrivals(rng: np.random.Generator, count: int) -> np.ndarray:
    """Returns arrival times in [0, 1); half of them, at least one, are 0."""
    arrival = rng.random(count)
    arrival[rng.random(count) < _PRESENT_AT_START] = 0.0
    arrival[rng.integers(count)] = 0.0
    return arrival


def _zipf_log_weights(
    rng: np.random.Generator, count: int, exponent: float
) -> np.ndarray:
    return -exponent * np.log(1.0 + rng.permutation(count))


def _walks(
    rng: np.random.Generator, num_blocks: int, count: int, deviation: float
) -> np.ndarray:
    """Returns random walks `[num_blocks, count]` that end `deviation` wide."""
    steps = rng.normal(
        0.0, deviation / np.sqrt(num_blocks), (num_blocks, count)
    )
    return np.cumsum(steps, axis=0)


def _draw(
    rng: np.random.Generator, log_weights: np.ndarray, count: int
) -> np.ndarray:
    weights = np.exp(log_weights - log_weights.max())
    return rng.choice(len(weights), count, p=weights / weights.sum())


def _draw_users(
    rng: np.random.Generator,
    block: np.ndarray,
    num_blocks: int,
    arrival: np.ndarray,
    exponent: float,
) -> np.ndarray:
    # Flatter than the movies: activity of users varies less than popularity.
    log_weights = _zipf_log_weights(rng, len(arrival), 0.7 * exponent)
    user = np.empty(len(block), np.int64)
    for number, count in enumerate(np.bincount(block, minlength=num_blocks)):
        here = arrival <= number / num_blocks
        user[block == number] = _draw(
            rng, np.where(here, log_weights, -np.inf), count
        )
    return user


def _draw_movies(
    rng: np.random.Generator,
    block: np.ndarray,
    num_blocks: int,
    arrival: np.ndarray,
    exponent: float,
) -> np.ndarray:
    log_weights = _zipf_log_weights(rng, len(arrival), exponent)
    drift = _walks(rng, num_blocks, len(arrival), deviation=1.5)
    movie = np.empty(len(block), np.int64)
    for number, count in enumerate(np.bincount(block, minlength=num_blocks)):
        age = number / num_blocks - arrival
        # A new movie is about twenty times as popular as later.
        release = np.where(arrival > 0, 3.0 * np.exp(-np.abs(age) / 0.05), 0.0)
        log_weight = log_weights + drift[number] + release
        movie[block == number] = _draw(
            rng, np.where(age >= 0, log_weight, -np.inf), count
        )
    return movie


def _affinity(
    rng: np.random.Generator,
    times: np.ndarray,
    user: np.ndarray,
    movie: np.ndarray,
    num_users: int,
    num_movies: int,
) -> np.ndarray:
    """Returns the fit of the movie to the slowly turning taste of the user."""
    first = rng.normal(size=(num_users, _TASTE_DIM))
    second = rng.normal(size=(num_users, _TASTE_DIM))
    style = rng.normal(size=(num_movies, _TASTE_DIM)) / np.sqrt(_TASTE_DIM)
    angle = rng.uniform(0.0, np.pi / 2, num_users)[user] * times
    towards_first = np.sum(first[user] * style[movie], axis=1)
    towards_second = np.sum(second[user] * style[movie], axis=1)
    return 0.8 * (
        np.cos(angle) * towards_first + np.sin(angle) * towards_second
    )


def _ids(rng: np.random.Generator, count: int) -> np.ndarray:
    """Returns distinct random positive ids."""
    ids = np.empty(0, np.int64)
    while len(ids) < count:
        more = rng.integers(1, 2**63, count - len(ids), dtype=np.int64)
        ids = np.unique(np.concatenate([ids, more]))
    return rng.permutation(ids)
