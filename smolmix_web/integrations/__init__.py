"""Other libraries over a tunnel. Each is one module, which imports its library; none is imported here.

blocking.py    a tunnel on a thread of its own, for code that blocks: `fetch`, and real sockets
httpx_transport.py    urllib3_pools.py (urllib3, requests)    urllib_opener.py    aiohttp_connector.py
dnspython_backend.py
everywhere.py  all of them at once: `patch` and `unpatch`, with replacing.py

In Pyodide: httpx_transport.py, dnspython_backend.py, and smolmix_web/pyodide for code that blocks and for `patch`.
"""
