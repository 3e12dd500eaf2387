"""A defect of ours met by one record must not stop its partition: the record becomes a dead letter with reason INTERNAL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from connector.errors import ConnectorError, InputError

T = TypeVar("T")


def contain(kind: type[InputError], work: Callable[[], T]) -> T:
    """``work()``; what it raises that is none of our errors becomes ``kind`` with reason INTERNAL, telling only the exception's type."""
    try:
        return work()
    except ConnectorError:
        raise
    except Exception as error:
        raise kind("INTERNAL", f"a defect of the connector met this record: {type(error).__name__}") from error
