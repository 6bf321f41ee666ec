"""Settings that are lists of tables: JSON text in the environment, an array of tables in TOML."""

import json
from collections.abc import Callable
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from proxy.settings.section import Section

Table = TypeVar("Table", bound=Section)


def as_told(fault: ErrorDetails) -> str:
    """Return what pydantic says of a fault."""
    return fault["msg"]


def read_tables(
    given: object, table: type[Table], *, fields: str, wrong_word: Callable[[ErrorDetails], str] = as_told
) -> list[Table]:
    """Return the tables, in their order.

    Args:
        given: Text, or a list of tables.
        table: The model of one.
        fields: What a table has, in words, for who wrote something else.
        wrong_word: What is wrong with a word that is none of those that there are.

    Raises:
        ValueError: One argument for each problem.

    """
    try:
        tables = json.loads(given.strip() or "[]") if isinstance(given, str) else given
        return TypeAdapter(list[table]).validate_python(tables)  # type: ignore[valid-type]  # it is one, at run time
    except json.JSONDecodeError as error:
        problem = f"is not JSON: {error}"
        raise ValueError(problem) from None
    except ValidationError as error:
        texts = (text for fault in error.errors() for text in _in_our_words(fault, fields, wrong_word))
        raise ValueError(*texts) from None


def _in_our_words(fault: ErrorDetails, fields: str, wrong_word: Callable[[ErrorDetails], str]) -> list[str]:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault["loc"] if step != "[key]")
    if fault["type"] == "value_error":
        return [f"{place}={fault['input']} {problem}" for problem in fault["ctx"]["error"].args]
    texts = {
        "missing": "must be given",
        "extra_forbidden": f"is unknown; {fields}",
        "list_type": "must be a list of tables",
        "model_type": "must be a table",
        "dict_type": "must be a table",
    }
    text = wrong_word(fault) if fault["type"] == "literal_error" else texts.get(fault["type"], fault["msg"])
    return [f"{place} {text}".strip()]
