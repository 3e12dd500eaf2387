"""A small schema registry over HTTP: the part of Confluent's API that the connector uses, and its ways to fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Answer = tuple[int, object]


class Registry:
    """Documents by id and subject. ``fault`` answers instead; ``gate`` holds answers back while it is not set."""

    def __init__(self) -> None:
        self.documents: dict[int, dict[str, Any]] = {}
        self.subjects: dict[str, list[int]] = {}
        self.requests: list[str] = []
        self.fault: Answer | None = None
        self.read_only = False
        self.incompatible = False
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""

    def add(self, subject: str, schema: object, kind: str = "AVRO", references: tuple[tuple[str, str, int], ...] = ()) -> int:
        """Register from outside; gives the id."""
        names = [{"name": name, "subject": where, "version": version} for name, where, version in references]
        document = {"schema": schema if isinstance(schema, str) else json.dumps(schema), "schemaType": kind, "references": names}
        return self._store(subject, document)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        """What the registry says."""
        self.requests.append(f"{method} {path}")
        self.gate.wait(10)
        if self.fault is not None:
            return self.fault
        match [unquote(part) for part in path.strip("/").split("/")]:
            case ["schemas", "ids", number]:
                return self._one(int(number), 40403)
            case ["subjects", subject, "versions", version]:
                versions = self.subjects.get(subject, [])
                return self._one(versions[int(version) - 1] if int(version) <= len(versions) else 0, 40402)
            case ["subjects", subject, "versions"]:
                return self._register(subject, body)
            case ["subjects", subject]:
                known = [number for number in self.subjects.get(subject, []) if self.documents[number]["schema"] == body["schema"]]
                return self._one(known[0], 40403) if known else (404, {"error_code": 40401, "message": "Subject not found"})
            case _:
                return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _one(self, number: int, error: int) -> Answer:
        if number not in self.documents:
            return 404, {"error_code": error, "message": "not found"}
        return 200, {**self.documents[number], "id": number, "subject": "s", "version": 1}

    def _register(self, subject: str, body: dict[str, Any]) -> Answer:
        if self.read_only:
            return 403, {"error_code": 40301, "message": "forbidden"}
        if self.incompatible:
            return 409, {"error_code": 409, "message": "incompatible"}
        return 200, {"id": self._store(subject, body)}

    def _store(self, subject: str, document: dict[str, Any]) -> int:
        number = len(self.documents) + 1
        self.documents[number] = document
        self.subjects.setdefault(subject, []).append(number)
        return number


@contextmanager
def serving() -> Iterator[Registry]:
    """The registry on a free port of this machine."""
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve({})

        def do_POST(self) -> None:
            self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _serve(self, body: dict[str, Any]) -> None:
            status, said = registry.answer(self.command, urlsplit(self.path).path, body)
            raw = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        registry.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
