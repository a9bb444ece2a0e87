"""TCP (RFC 9293): codec, state table, the sending and the receiving half of a connection."""
