"""A Confluent-compatible schema registry: writers' schemas by id, our own by subject.

confluent_kafka's client is synchronous, so it runs in a thread; lookups of one id share one request. Only the registry's *own* "not
found" (HTTP 404 with its error code) condemns a record; everything else, a proxy's 404 and refused credentials included, is
``RegistryUnavailable``: wait.
"""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from connector.adapters.avro import Schema
from connector.errors import ConfigError, ConnectorError, Problem, RegistryUnavailable, Undecodable

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema as Document
    from confluent_kafka.schema_registry import SchemaRegistryClient

MISSING_FOR_S = 30.0
"""How long a "not found" is believed: a schema may be registered after its first record."""

_MOST_MISSING = 1000
_DEEPEST_REFERENCE = 16
_NOT_FOUND_CODES = range(40400, 40500)
_REFUSALS = frozenset({401, 403, 409, 422})
_DEFAULTS: Mapping[str, object] = {"timeout": 5, "max.retries": 1, "retries.wait.ms": 200, "retries.max.wait.ms": 1000}
_HINT = "compare the subject's versions and its compatibility level, or let somebody with the right to write register the schema"


class Schemas(Protocol):
    """What decoding and encoding need of a registry."""

    async def writer(self, schema_id: int) -> Schema | None:
        """The schema a record was written with; None: JSON follows (a JSON Schema). Raises Undecodable or RegistryUnavailable."""
        ...

    async def register(self, subject: str, schema: Schema) -> int:
        """The schema's id under the subject, registered if it is not. Raises ConfigError or RegistryUnavailable."""
        ...


class SchemaRegistry:
    """``conf`` are the client's own properties (``url``, ``basic.auth.user.info``, ``ssl.ca.location``, …).

    ``failed`` is called for each lookup that failed (metric); ``now`` is any clock in seconds that never steps.
    """

    def __init__(
        self, conf: Mapping[str, object], *, failed: Callable[[], None] = lambda: None, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises ConfigError for properties the client refuses. No request is made."""
        with warnings.catch_warnings():
            import authlib.deprecate  # noqa: F401, PLC0415 - puts its "always warn" in front of the filters …

            warnings.simplefilter("ignore")  # … so this comes after it: its advice to move to httpx2 is for confluent_kafka, not for users
            from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415 - slow, and not everybody has a registry

        try:
            self._client: SchemaRegistryClient = SchemaRegistryClient({**_DEFAULTS, **conf})
        except (ValueError, TypeError, OSError) as error:  # OSError: certificate files
            raise ConfigError((Problem("schema_registry", f"its client refuses the settings ({type(error).__name__})"),)) from error
        self._failed = failed
        self._now = now
        self._known: dict[int, Schema | None] = {}
        self._missing: dict[int, _Missing] = {}
        self._asking: dict[int, asyncio.Task[Schema | None]] = {}

    async def writer(self, schema_id: int) -> Schema | None:
        """See ``Schemas.writer``."""
        if schema_id in self._known:
            return self._known[schema_id]
        missing = self._missing.get(schema_id)
        if missing is not None and self._now() < missing.until:
            raise Undecodable(missing.reason, missing.detail)
        task = self._asking.get(schema_id)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._fetch, schema_id), name=f"schema-{schema_id}")
            self._asking[schema_id] = task
            task.add_done_callback(lambda done: self._asked(schema_id, done))
        return await asyncio.shield(task)  # one who stops waiting does not take the answer from the others

    async def register(self, subject: str, schema: Schema) -> int:
        """See ``Schemas.register``. Looked up first, so that no right to write is needed where somebody registered it before."""
        try:
            return await asyncio.to_thread(self._register, subject, schema)
        except RegistryUnavailable:
            self._failed()
            raise

    async def close(self) -> None:
        """Let running requests end, then close the connections."""
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        await asyncio.to_thread(self._client.close)

    def _asked(self, schema_id: int, task: asyncio.Task[Schema | None]) -> None:
        del self._asking[schema_id]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._known[schema_id] = task.result()
            self._missing.pop(schema_id, None)
        elif isinstance(error, Undecodable):
            if len(self._missing) >= _MOST_MISSING:
                self._missing.clear()
            self._missing[schema_id] = _Missing(error.reason, error.detail, self._now() + MISSING_FOR_S)
        else:
            self._failed()

    # ------------------------------------------------------------------------------------------------- in a thread

    def _fetch(self, schema_id: int) -> Schema | None:
        try:
            with _mapped():
                document = self._client.get_schema(schema_id)
                if document.schema_type == "JSON":
                    return None
                if document.schema_type not in {None, "AVRO"}:
                    raise Undecodable("UNSUPPORTED_SCHEMA", f"schema {schema_id} is neither Avro nor JSON")
                return self._parse(document, {}, f"schema {schema_id}", 0)
        except _NotFound as error:
            raise Undecodable("SCHEMA_NOT_FOUND", f"the registry does not know schema {schema_id}") from error
        except _Refused as error:
            raise RegistryUnavailable(str(error)) from error

    def _parse(self, document: Document, named: dict[str, Any], what: str, depth: int) -> Schema:
        """The document's schema, what it refers to first (into ``named``, innermost first)."""
        if depth > _DEEPEST_REFERENCE:
            raise Undecodable("UNSUPPORTED_SCHEMA", "references in references without end")
        for reference in document.references or ():
            if reference.name not in named:
                found = self._client.get_version(str(reference.subject), int(reference.version or 0)).schema
                named.update(self._parse(found, named, f"{reference.subject} {reference.version}", depth + 1).named)
        try:
            return Schema(document.schema_str or "", named)
        except ValueError as error:
            raise Undecodable("UNSUPPORTED_SCHEMA", f"{what}: {error}") from error

    def _register(self, subject: str, schema: Schema) -> int:
        from confluent_kafka.schema_registry import Schema as Document  # noqa: PLC0415 - as in __init__

        document = Document(schema.text, "AVRO")
        try:
            try:
                with _mapped():
                    found = self._client.lookup_schema(subject, document).schema_id
            except _NotFound:
                with _mapped():
                    found = self._client.register_schema(subject, document)
        except _NotFound as error:
            raise RegistryUnavailable(str(error)) from error
        except _Refused as error:
            what = f"subject {subject} refuses the connector's schema: {error}"
            raise ConfigError((Problem("schema_registry", what, _HINT),)) from error
        if found is None:
            raise RegistryUnavailable("the registry answered without a schema id")
        return found


class _Missing(NamedTuple):
    reason: str
    detail: str
    until: float


class _NotFound(Exception):
    """The registry's own "not found"."""


class _Refused(Exception):
    """The registry understood and said no."""


@contextmanager
def _mapped() -> Iterator[None]:
    """Foreign exceptions to ours. Texts of the registry are left out: they may repeat credentials of its URL."""
    from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415 - as in SchemaRegistry.__init__

    try:
        yield
    except ConnectorError:
        raise
    except SchemaRegistryError as error:
        said = f"HTTP {error.http_status_code}, code {error.error_code}"
        if error.http_status_code == 404 and error.error_code in _NOT_FOUND_CODES:  # noqa: PLR2004 - HTTP's own number
            raise _NotFound(said) from error
        if error.http_status_code in _REFUSALS:
            raise _Refused(said) from error
        raise RegistryUnavailable(said) from error
    except Exception as error:  # whatever its HTTP library raises: nothing was learnt
        raise RegistryUnavailable(type(error).__name__) from error
