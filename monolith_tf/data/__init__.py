"""Training data of the examples: MovieLens files and drifting traffic.

Imports `stock_ops` and below. Start with `ratings.py`.
"""

from monolith_tf.data.movielens import read_movielens
from monolith_tf.data.ratings import GENRE_PADDING_ID
from monolith_tf.data.ratings import Ratings
from monolith_tf.data.traffic import generate_traffic

__all__ = [
    "GENRE_PADDING_ID",
    "Ratings",
    "generate_traffic",
    "read_movielens",
]
