"""The C++ core bits in stock TensorFlow ops, for exports without custom ops.

Imports `config`, `ops` and below. Start with `initial_rows.py`.
"""
