"""DNS through the tunnel: names, records, messages, cache, resolver."""

from .resolver import Answer, DnsAnswer, DnsStatistics, HttpsExchange, Resolver
from .servers import ServerAddress, parse_server

__all__ = ["Answer", "DnsAnswer", "DnsStatistics", "HttpsExchange", "Resolver", "ServerAddress", "parse_server"]
