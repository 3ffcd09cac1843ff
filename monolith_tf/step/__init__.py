"""One training step: lookups, gradients and updates of tables.

Imports `placement` and below. Start with `lookup.py`, then `apply.py`.
"""
