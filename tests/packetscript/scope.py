"""Variables and expressions of a running case."""

from __future__ import annotations

import re
from typing import Any

from .language import ScriptError

MASK = 0xFFFFFFFF


class Scope:
    def __init__(self) -> None:
        self.variables: dict[str, int] = {}

    def unbound(self, expression: str) -> str | None:
        match = re.fullmatch(r"\$(\w+)", expression)
        return match[1] if match and match[1] not in self.variables else None

    def value(self, expression: str, **names: Any) -> Any:
        """Evaluate an expression of numbers, `$variables` and the given names."""
        code = re.sub(r"\$(\w+)", r"_variables['\1']", expression)
        try:
            return eval(code, {"__builtins__": {}}, {"_variables": self.variables, **names})
        except KeyError as error:
            raise ScriptError(f"${error.args[0]} was never set") from None

    def differs(self, what: str, expression: str, actual: int) -> str | None:
        if expression == "?":
            return None
        if name := self.unbound(expression):
            self.variables[name] = actual
            return None
        expected = self.value(expression) & MASK
        return None if expected == actual else f"{what} {actual}, not {expected}"

    def compare(self, what: str, operator: str, expression: str, actual: int) -> str | None:
        if operator == "=":
            return self.differs(what, expression, actual)
        limit = self.value(expression)
        holds = {"<": actual < limit, "<=": actual <= limit, ">": actual > limit, ">=": actual >= limit}[operator]
        return None if holds else f"{what} {actual}, not {operator}{limit}"
