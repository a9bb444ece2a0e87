"""A tunnel: its options, its parts put together, what the directory says, its life."""

from .tunnel import PingReply, Tunnel

__all__ = ["PingReply", "Tunnel"]
