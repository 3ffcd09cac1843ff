"""The bits of the C++ core in stock TensorFlow ops, for exports.

Imports `ops`, `config` and below. Start with `initial_rows.py`.
"""
