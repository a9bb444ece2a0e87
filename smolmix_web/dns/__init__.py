"""DNS through the tunnel: names, messages, cache, resolver."""

from .resolver import Answer, DnsStatistics, Resolver

__all__ = ["Answer", "DnsStatistics", "Resolver"]
