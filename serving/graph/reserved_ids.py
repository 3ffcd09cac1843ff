"""The two ids whose keys DenseHashTable keeps for itself.

`MutableDenseHashTable` marks an empty and a removed bucket by a key each, and
fails a request that inserts or looks up one of the two. All 2^64 ids are valid
here, so the rows of these two live in a variable beside the hash table. Which
two ids does not matter; they are fixed so that they can be written down and
tested.
"""

from __future__ import annotations

# "monolith" and "tf-serve" in ASCII: far from the small integers, the extremes
# and the powers of two that people give as ids.
EMPTY_ID = 0x6D6F6E6F6C697468
DELETED_ID = 0x74662D7365727665

RESERVED_IDS = (EMPTY_ID, DELETED_ID)
