"""Encode and decode JSON, with orjson if it is installed (extra `speed`), otherwise with the standard library.

Both libraries encode to the same bytes, and decode the API's answers to the same values.
"""

import codecs
import json
import json.encoder
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

from ..models._values import DecodeError

__all__ = ["dumps", "loads", "make_encode", "stdlib_dumps", "stdlib_loads"]


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_reject_constant)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def make_encode() -> Callable[[object], str]:
    """Return the function that encodes a value as `_encoder` does.

    `JSONEncoder.encode` creates an encoder written in C anew for each value, which takes half of the time to encode an
    update. This function creates it once. Other implementations of Python have no such encoder.
    """
    make: Callable[..., Callable[[object, int], Iterable[str]]] | None = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _encoder.encode
    quote = json.encoder.encode_basestring
    encode = make(None, _encoder.default, quote, None, ":", ",", False, False, False)
    return lambda value: "".join(encode(value, 0))


_encode: Final = make_encode()


_WHITESPACE: Final = " \t\n\r"  # RFC 8259, 2


def stdlib_loads(body: bytes) -> object:
    """Decode JSON as orjson does. Raises `ValueError` or `RecursionError`."""
    text = body.decode()
    value: object
    # In the most common case, avoid `decode`, which also searches for whitespace with two regular expressions.
    value, end = _decoder.raw_decode(text) if text.startswith("{") else (None, -1)
    if end < 0 or text[end:].strip(_WHITESPACE):
        value = _decoder.decode(text)
    if b"\\ud" in body or b"\\uD" in body:
        stdlib_dumps(value)  # raises for an unpaired surrogate, as orjson does
    return value


def stdlib_dumps(value: object) -> bytes:
    """Encode JSON as orjson does."""
    return _encode(value).encode()


try:
    import orjson
except ImportError:
    _loads: Callable[[bytes], object] = stdlib_loads
    dumps: Callable[[object], bytes] = stdlib_dumps
else:
    _loads = orjson.loads
    dumps = orjson.dumps


def loads(body: bytes) -> object:
    """Decode JSON. Raises `DecodeError` if the body is not JSON."""
    try:
        return _loads(body)
    except (ValueError, RecursionError) as error:
        if not body.startswith(codecs.BOM_UTF8):
            raise DecodeError(f"is not JSON: {error}") from None
    try:
        return _loads(body.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"is not JSON: {error}") from None
