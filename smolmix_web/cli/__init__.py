"""The command line (docs/command-line.md)."""
