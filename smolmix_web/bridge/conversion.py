"""Messages as JavaScript has them and as Python has them; both ends of the bridge, and borrowers of a tunnel, use it.

Everything is copied at the border, so no proxy of either language outlives the call it came with. The bytes of a
message (`data`) are copied once, between the memories of the two languages, and given away on the other side of it.
Imported under Pyodide only.
"""

from __future__ import annotations

from typing import Any

import js
from pyodide.ffi import JsBuffer, jsnull, to_js


def post(port: Any, message: dict[str, Any]) -> None:
    """`port`: the function `postMessage`. Bytes are given away."""
    converted = to_js(_from_python(message), dict_converter=js.Object.fromEntries)
    if isinstance(message.get("data"), bytes):
        port(converted, to_js([converted.data.buffer]))
    else:
        port(converted)


def message_to_python(message: Any) -> Any:
    """`to_py` would make a memoryview of `data`, from which bytes are one copy more."""
    data = getattr(message, "data", None)
    if not isinstance(data, JsBuffer):
        return to_python(message.to_py())
    message.data = jsnull
    return {**to_python(message.to_py()), "data": data.to_bytes()}


def to_python(value: Any) -> Any:
    """Typed arrays arrive as memoryviews, plain objects as dictionaries, null as a value of its own."""
    if value is jsnull:
        return None
    if isinstance(value, memoryview):
        return value.tobytes()
    if isinstance(value, dict):
        return {name: to_python(item) for name, item in value.items()}
    if isinstance(value, list):
        return [to_python(item) for item in value]
    return value


def _from_python(value: Any) -> Any:
    """None becomes null, not undefined; the types of `javascript/shared/messages.js` say null."""
    if value is None:
        return jsnull
    if isinstance(value, dict):
        return {str(name): _from_python(item) for name, item in value.items()}  # JavaScript has no other keys
    if isinstance(value, (list, tuple)):
        return [_from_python(item) for item in value]
    return value
