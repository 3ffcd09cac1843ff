"""Table sets of several shards."""

from __future__ import annotations

import pytest

import monolith_tf as mt


@pytest.fixture(params=[1, 2, 3])
def shards(request):
    """Number of shards; tables of the test belong to a set of so many."""
    with mt.TableSet(num_shards=request.param):
        yield request.param
