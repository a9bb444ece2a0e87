"""What a client keeps between two starts, when `clientId` asks for it: one small sealed record (docs/storage.md).

identity.py   the secrets themselves and their plain encoding
envelope.py   the record around them: version, kind of key, checksum
store.py      from start to end: read, open or set aside, keep up to date

Where a record is kept is the host's (`host/vault.py`): `files.py` under CPython, `indexeddb.py` in a browser.
"""
