"""Reading one HTTP/1.1 answer after the other from bytes, without I/O."""

from __future__ import annotations

import httptools

from connector.core.model import Failure, Reply

MAX_HEAD = 64 * 1024
MAX_BODY = 4 * 1024 * 1024

_SWITCHING_PROTOCOLS = 101
_INTERIM = range(100, 200)
_BODILESS = frozenset({204, 304})


class AnswerReader:
    """One connection's answers. ``expect`` begins one; ``feed`` and ``end`` give it once it is whole, or why it never will be.

    After a reply, ``reusable`` says whether the connection may carry another request and ``keep_alive_s`` for how long the
    server promised to keep it (None: it did not say). Bytes behind a whole answer make the connection unusable, not the answer.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.expect()

    def expect(self) -> None:
        """Forget the last answer: the next byte begins a new one."""
        self.reusable = False
        self.begun = False
        self._reply: Reply | None = None
        self._failure: Failure | None = None
        self._head_size = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self._clear_head()

    def feed(self, data: bytes) -> Reply | Failure | None:
        """The answer, once it is whole; None while bytes are missing."""
        self.begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.reusable = False
            if self._reply is None and self._failure is None:
                self._failure = Failure(sent=True, reason="protocol")
        return self._failure or self._reply

    def end(self) -> Reply | Failure:
        """What the end of the stream makes of the bytes so far: a body without a length is whole now, anything else was cut."""
        if not self.begun:
            return Failure(sent=True, reason="closed")
        if self._until_end:
            self._complete()
        return self._failure or self._reply or Failure(sent=True, reason="cut")

    @property
    def keep_alive_s(self) -> float | None:
        """``timeout`` of the answer's Keep-Alive header."""
        for part in self._headers.get("keep-alive", "").split(","):
            name, _, value = part.partition("=")
            if name.strip().lower() == "timeout" and value.strip().isdecimal():
                return float(value)
        return None

    # ------------------------------------------------------------------------------------------- called by the parser

    def on_message_begin(self) -> None:
        """A second message behind a whole one: nobody asked for it."""
        if self._reply is not None:
            self.reusable = False

    def on_status(self, status: bytes) -> None:
        """Count the reason phrase: it is a part of the head that a server could let grow."""
        self._grow_head(len(status))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header; trailers and headers of a second message are dropped."""
        self._grow_head(len(name) + len(value) + 4)
        if self._failure is None and not self._in_body:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            known = self._headers.get(key)
            self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        """Decide how the body ends (RFC 9112 §6.3)."""
        if self._reply is not None or self._failure is not None:
            return
        self._in_body = True
        self._status = self._parser.get_status_code()
        self._keep_alive = self._parser.should_keep_alive()
        coding = self._headers.get("transfer-encoding")
        if self._status in _BODILESS or self._status in _INTERIM:
            return
        if coding is None:
            self._until_end = "content-length" not in self._headers
        else:
            self._until_end = not coding.lower().rstrip().endswith("chunked")

    def on_body(self, chunk: bytes) -> None:
        """Keep one piece of the body, up to the limit."""
        if self._reply is not None or self._failure is not None:
            return
        self._body_size += len(chunk)
        if self._body_size > MAX_BODY:
            self._failure = Failure(sent=True, reason="too_large")
            self._body.clear()
        else:
            self._body.append(chunk)

    def on_message_complete(self) -> None:
        """A whole message: the answer, or an interim one to be skipped."""
        if self._reply is not None or self._failure is not None:
            return
        if self._status == _SWITCHING_PROTOCOLS:
            self._failure = Failure(sent=True, reason="protocol")
        elif self._status in _INTERIM:
            self._clear_head()
        else:
            self._complete()
            self.reusable = self._keep_alive and not self._until_end

    def _clear_head(self) -> None:
        self._status = 0
        self._headers: dict[str, str] = {}
        self._in_body = False
        self._until_end = False
        self._keep_alive = False

    def _grow_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD and self._reply is None:
            self._failure = Failure(sent=True, reason="too_large")

    def _complete(self) -> None:
        if self._failure is None:
            self._reply = Reply(self._status, self._headers, b"".join(self._body))
