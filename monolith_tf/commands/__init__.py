"""Subcommands of `monolith-tf`, one noun a file."""
