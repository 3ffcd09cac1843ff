"""The two ids whose keys DenseHashTable reserves.

`MutableDenseHashTable` marks empty and removed buckets by one key each, and
rejects inserts and lookups of these keys. All 2^64 ids are valid in this
library, so a variable has the rows of these two ids. The choice is arbitrary;
it is fixed so that it can be specified and tested.
"""

from __future__ import annotations

# "monolith" and "tf-serve" in ASCII: unlike small integers, extremes and powers
# of two, they are unlikely ids.
EMPTY_ID = 0x6D6F6E6F6C697468
DELETED_ID = 0x74662D7365727665

RESERVED_IDS = (EMPTY_ID, DELETED_ID)
