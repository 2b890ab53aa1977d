"""JSON text to values and back.

orjson reads and writes it if it is installed (extra `speed`), else the standard library. Both write the same bytes, and
read alike what the API sends.
"""

import json
from collections.abc import Callable
from typing import NoReturn

from ..models._converter import DecodeError

__all__ = ["dumps", "loads", "stdlib_dumps", "stdlib_loads"]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def stdlib_loads(body: bytes) -> object:
    """Read JSON as orjson does. Raises `ValueError` or `RecursionError`."""
    text = body.decode()
    value: object
    # The commonest case without `decode`, which looks for white space with two regular expressions.
    value, end = _decoder.raw_decode(text) if text.startswith("{") else (None, -1)
    if end != len(text):
        value = _decoder.decode(text)
    if b"\\ud" in body or b"\\uD" in body:
        stdlib_dumps(value)  # raises if half of a surrogate pair came in; orjson refuses it too
    return value


def stdlib_dumps(value: object) -> bytes:
    """Write JSON as orjson does."""
    return _encoder.encode(value).encode()


try:
    import orjson
except ImportError:
    _loads: Callable[[bytes], object] = stdlib_loads
    dumps: Callable[[object], bytes] = stdlib_dumps
else:
    _loads = orjson.loads
    dumps = orjson.dumps


def loads(body: bytes) -> object:
    """Read JSON. Raises `DecodeError`, whatever the bytes are."""
    try:
        return _loads(body)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"it is not JSON: {error}") from None
