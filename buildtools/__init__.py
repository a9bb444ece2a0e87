"""The machinery behind build.py: set-up, distribution, checks. Standard library only, so it runs on a bare python3."""
