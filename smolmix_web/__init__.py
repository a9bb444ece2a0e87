"""Network access through the Nym mixnet, for web pages and for CPython."""
