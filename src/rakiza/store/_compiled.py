"""A statement compiled once for one engine, ready for the driver's cursor."""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa


class Compiled:
    """Hold the SQL text of a statement and how its parameters are laid out."""

    __slots__ = ("_convert", "_given", "_names", "_positional", "sql")

    def __init__(self, statement: sa.Executable, dialect: sa.Dialect, columns: Sequence[str] | None = None) -> None:
        """Compile; raise ValueError for an IN list whose length is not known yet."""
        if isinstance(statement, sa.Insert) and not statement.exported_columns:
            statement = statement.inline()  # else PostgreSQL is asked for the new key
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)  # type: ignore[attr-defined]
        open_names = {name for name, bind in compiled.binds.items() if bind.required}
        if any(bind.expanding and bind.required for bind in compiled.binds.values()):
            raise ValueError("an IN list must hold its values when it is compiled once; use tx.execute")
        state = compiled.construct_expanded_state(dict.fromkeys(open_names))
        self.sql: str = state.statement
        self._positional: bool = bool(compiled.positional)
        self._names: tuple[str, ...] = tuple(state.positiontup if self._positional else state.parameters)
        found = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items() if not bind.expanding}
        self._convert: dict[str, Callable[[object], object]] = {name: convert for name, convert in found.items() if convert} | dict(state.processors)
        self._given = {name: self._converted(name, value) for name, value in state.parameters.items() if name not in open_names}

    def bind(self, parameters: dict[str, object]) -> tuple[object, ...] | dict[str, object]:
        """Return the driver's parameters; raise ValueError for a missing or an unknown name."""
        if self._convert:
            parameters = {name: self._converted(name, value) for name, value in parameters.items()}
        if self._given:
            parameters = self._given | parameters
        try:
            values = tuple([parameters[name] for name in self._names])
        except KeyError as error:
            raise ValueError(f"the statement needs the parameter {error}") from None
        if len(parameters) > len(values) and not parameters.keys() <= set(self._names):
            raise ValueError(f"the statement knows no parameter {sorted(parameters.keys() - set(self._names))}")
        return values if self._positional else parameters

    def _converted(self, name: str, value: object) -> object:
        convert = self._convert.get(name)
        return value if convert is None else convert(value)
