"""`load_rtls` in the shape Pyodide gives it: a stub `ssl` already imported."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import asyncio, sys, types
stub = types.ModuleType("ssl")  # Pyodide's has no classes to inherit from
sys.modules["ssl"] = stub
sys.modules["_ssl"] = inner = types.ModuleType("_ssl")
import smolmix_web.edge.tls as tls
tls._PLATFORM = "emscripten"
module = tls.load_rtls()
assert sys.modules["ssl"] is stub and sys.modules["_ssl"] is inner, "the stub must stand again"
assert tls.load_rtls() is module
import rtls
assert not hasattr(rtls.SSLContext.__mro__[1], "wrap_socket"), "rtls must use its own bases"
builder = module.RustlsConfigBuilder()
builder.add_root_certs_from_pem(__import__("certifi").contents().encode())
builder.build_client_connection("origin.test")
print("loaded")
"""


def test_the_stub_is_hidden_only_during_the_import() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "loaded"), done.stderr
