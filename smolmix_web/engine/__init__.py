"""The synchronous core put together, and what it needs to know of time: bytes in, bytes out, `now` is an argument."""

from .engine import Engine

__all__ = ["Engine"]
