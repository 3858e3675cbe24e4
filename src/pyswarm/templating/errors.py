"""What is wrong with a template, and where."""

from __future__ import annotations

from pyswarm.errors import InvalidArgument


class TemplateError(InvalidArgument):
    """A template that cannot be read, or cannot be filled in; the sentences are Go's.

    ``line`` counts from 1, ``column`` is the number of bytes before the place in its line, as Go
    counts them. Both are 0 where there is no one place (output or work beyond the limit).
    """

    def __init__(self, message: str, *, line: int = 0, column: int = 0, hint: str = "") -> None:
        if line and not hint:
            hint = f"look at line {line}, after {column} bytes"
        super().__init__(message, hint=hint, details={"line": line, "column": column})
        self.line = line
        self.column = column

    def within(self, what: str) -> TemplateError:
        """The same error, saying in which text it was found."""
        return TemplateError(
            f"{what}: {self.message}", line=self.line, column=self.column, hint=self.hint
        )


def place(text: str, position: int) -> tuple[int, int]:
    """Line (from 1) and bytes before it in the line, of a position in ``text``."""
    before = text[:position]
    start = before.rfind("\n") + 1
    column = len(before[start:].encode("utf-8", "surrogateescape"))
    return before.count("\n") + 1, column
