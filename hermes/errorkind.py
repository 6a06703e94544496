"""What every error of Hermes is: its fields, from which its text is built. The whole tree is in `hermes.errors`."""

from __future__ import annotations

from typing import Any, ClassVar

from hermes.wording import own_lines, portable


class HermesError(Exception):
    """Anything Hermes raises on purpose."""

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 1
    text: ClassVar[str] = "{message}"

    def __init__(self, message: str | None = None, **fields: Any) -> None:
        self.fields = fields if message is None else {"message": message, **fields}
        super().__init__(self.fields)

    def __str__(self) -> str:
        return self.text.format_map({"message": self.code, **self.fields})

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.fields)

    @classmethod
    def rebuilt(cls, fields: dict[str, Any]) -> HermesError:
        """Return the error of this kind that has these fields."""
        return cls(**fields)

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows instead of a traceback: the sentence, and the user's own line, not our inside.

        IPython asks for this method by its name.
        """
        return [f"{type(self).__name__}: {portable(str(self))}", *own_lines(self.__traceback__)]


def _rebuilt(kind: type[HermesError], fields: dict[str, Any]) -> HermesError:
    return kind.rebuilt(fields)
