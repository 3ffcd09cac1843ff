"""Subcommands of `monolith-tf`, one noun per file.

Imports every room. Start with `main.py`.
"""
