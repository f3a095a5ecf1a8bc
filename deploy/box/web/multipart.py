"""multipart/related as it comes (RFC 2046 and 2387): one part after the other, and no more memory than one may take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header


class RefusedError(Exception):
    """A request that is not taken: the status of HTTP, and why in words of our own."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(reason)


@dataclass(frozen=True)
class Part:
    """One part: its media type, in small letters, and its content."""

    media_type: str
    content: bytes


@dataclass(frozen=True)
class Limits:
    """Of one part and of all of them in bytes, and how many parts there may be."""

    part: int
    whole: int
    parts: int


class Parts:
    """Parts of one request; fed with what comes, in pieces of any size."""

    def __init__(self, boundary: bytes, limits: Limits) -> None:
        """Nothing has come.

        Raises:
            RefusedError: 400, this is no boundary.
        """
        self._limits, self._came, self._begun, self._ended = limits, 0, 0, False
        self._whole = list[Part]()
        self._content, self._header, self._value, self._type = bytearray(), bytearray(), bytearray(), ""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._name,
                    "on_part_data": self._take,
                    "on_part_end": self._finish,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise RefusedError(400, "the boundary is none that RFC 2046 allows") from error

    def feed(self, chunk: bytes) -> Iterator[Part]:
        """The parts that ended in this piece.

        Raises:
            RefusedError: 413, a limit was passed; 400, this is not multipart.
        """
        self._came += len(chunk)
        if self._came > self._limits.whole:
            raise RefusedError(413, f"more than {self._limits.whole} bytes in one request")
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise RefusedError(400, "the body is not multipart with this boundary") from error
        whole, self._whole = self._whole, []
        yield from whole

    def end(self) -> None:
        """All has come.

        Raises:
            RefusedError: 400, the last part has no end.
        """
        if not self._ended:
            raise RefusedError(400, "the body ends before its last boundary")

    def _begin(self) -> None:
        self._begun += 1
        if self._begun > self._limits.parts:
            raise RefusedError(413, f"more than {self._limits.parts} parts in one request")
        self._content, self._type = bytearray(), ""

    def _name(self) -> None:
        if self._header.strip().lower() == b"content-type":
            self._type = parse_options_header(bytes(self._value))[0].decode("latin-1").lower()
        self._header.clear()
        self._value.clear()

    def _take(self, data: bytes, start: int, end: int) -> None:
        if len(self._content) + end - start > self._limits.part:
            raise RefusedError(413, f"more than {self._limits.part} bytes in one part")
        self._content += memoryview(data)[start:end]

    def _finish(self) -> None:
        self._whole.append(Part(self._type, bytes(self._content)))
        self._content = bytearray()

    def _end(self) -> None:
        self._ended = True
