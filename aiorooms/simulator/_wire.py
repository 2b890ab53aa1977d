"""Convert answers to bytes. Nothing is sent here.

This module formats the head (status line and header) without a web framework. An answer with a fault then differs from
the correct answer only by that fault. Formatting the head here is also several times faster.
"""

import time
from email.utils import formatdate
from http import HTTPStatus

from ._answers import HTML_TYPE, Answer

_REASONS = {status.value: status.phrase for status in HTTPStatus} | {
    422: "Unprocessable Entity",
    520: "Web Server Returns an Unknown Error",
    524: "A Timeout Occurred",
}


_WITHOUT_LENGTH = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class CommonLines:
    """The header lines that all answers of one simulator have."""

    def __init__(self, seed: int) -> None:
        """Start before the first answer. The same seed produces the same request ids."""
        self._suffix = f"5eed-4000-8000-{seed & 0xFFFFFFFFFFFF:012x}"
        self._answers = 0
        self._date_second = 0
        self._date_line = ""

    def of_next_answer(self, limit_lines: str) -> str:
        """Return the lines for the next answer. They include `limit_lines`, which report the rate limit."""
        second = int(time.time())
        if second != self._date_second:  # formatting the date costs more than the rest of the head
            self._date_second = second
            self._date_line = f"Date: {formatdate(second, usegmt=True)}\r\n"
        self._answers += 1
        return f"x-request-id: {self._answers:08x}-{self._suffix}\r\n{limit_lines}{self._date_line}"


def head_of(answer: Answer, common: str, framing: str) -> bytes:
    """Return the status line and the header. `common` and `framing` are header lines that end in CRLF.

    The answer's own headers replace those of `common` that have the same name.
    """
    if answer.headers:
        common = _without(common, {name.lower() for name, _ in answer.headers})
    lines = f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}\r\n{common}"
    if answer.content_type is not None:
        lines += f"Content-Type: {answer.content_type}\r\n"
    for name, value in answer.headers:
        lines += f"{name}: {value}\r\n"
    if answer.close:
        lines += "Connection: close\r\n"
    return f"{lines}{framing}\r\n".encode("latin-1")


def _without(lines: str, names: set[str]) -> str:
    """Return header lines without those that have one of these names, which are in lower case."""
    return "".join(line for line in lines.splitlines(keepends=True) if line.partition(":")[0].lower() not in names)


def serialize(answer: Answer, common: str, *, with_body: bool = True) -> bytes:
    """Return a complete answer as bytes. `with_body` is false for an answer to HEAD."""
    if answer.status in _WITHOUT_LENGTH:
        return head_of(answer, common, "")
    head = head_of(answer, common, f"Content-Length: {len(answer.body)}\r\n")
    return head + answer.body if with_body else head


def proxy_error(status: int, retry_after: str | int | None = None) -> Answer:
    """Return the HTML error page of a proxy."""
    title = f"{status} {_REASONS[status]}"
    html = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><center><h1>{title}</h1></center></body>\r\n</html>"
    headers = () if retry_after is None else (("Retry-After", str(retry_after)),)
    return Answer(status, html.encode(), HTML_TYPE, headers)
