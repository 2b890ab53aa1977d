"""`aiorooms webhooks replay`: send recorded deliveries again."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from .._text import excerpt, quoted
from .._webhook_url import masked_url
from ..webhook_config import EventSigner
from ._command import Command, Context, Value
from ._escaping import escape
from ._event_text import is_success, short_type
from ._exit_codes import FAILED, OK
from ._key_files import read_key_file
from ._options import FILE, delivery_options, json_option, value_option
from ._output import Output, flush
from ._recordings import Damaged, Delivery, Pairs, event_type_of, read_recording
from ._run import run
from ._values import read_speed, read_url

if TYPE_CHECKING:
    from ._sender import Answer

__all__ = ["replay_command"]

_SIGNATURE: Final = ("telnyx-signature-ed25519", "telnyx-timestamp")
_NOT_GENUINE: Final = (400, 401, 403)
"""The statuses with which receivers answer a delivery that they can't verify."""

_HINT: Final = (
    "The target may have rejected old timestamps; --resign KEYFILE signs the deliveries anew, with the present time."
)


def _open_inputs(ctx: Context) -> None:
    """Set `signer` from the file `resign`, and `recording` from the path in `file`."""
    key: Path | None = ctx.params.pop("resign")
    ctx.params["signer"] = None if key is None else read_key_file(ctx, key, "--resign")
    path: Path | None = ctx.params.pop("file")
    ctx.params["recording"] = None
    if path is None or ctx.has_problems:
        return
    try:
        ctx.params["recording"] = path.open("rb")
    except OSError as error:
        ctx.add_problem(f"{str(path)!r} can't be read: {error.strerror or error}", "FILE")


def due_after(first: datetime, this: datetime, speed: float) -> float:
    """Return how many seconds after the first delivery this one is due. 0 is at once."""
    return 0.0 if speed == 0 else max(0.0, (this - first).total_seconds() / speed)


def signed_anew(headers: Pairs, body: bytes, signer: EventSigner, now: float) -> Pairs:
    """Return the headers with a new signature. `now` is in Unix seconds."""
    kept = [(name, value) for name, value in headers if name.lower() not in _SIGNATURE]
    return [*kept, *signer.headers(body, int(now)).items()]


def is_wanted(event_type: str | None, only: tuple[str, ...]) -> bool:
    """Return whether a type is one of `only`, in full or without `video.room.`. Without `only`, all types are."""
    return not only or (event_type is not None and bool({event_type, short_type(event_type)} & {*only}))


@click.command("replay", cls=Command, steps=[_open_inputs])
@click.argument("file", metavar="FILE", type=FILE)
@click.argument("url", metavar="URL", type=Value(read_url))
@click.option(
    "--resign",
    metavar="KEYFILE",
    type=FILE,
    help="Sign anew with the Ed25519 private key in this file (PEM or base64) and the present time.  "
    "[default: send the recorded signatures]",
)
@click.option(
    "--only",
    metavar="EVENT_TYPE",
    multiple=True,
    help="Send only events of this type, such as session.started. Can be given more than once.  [default: all]",
)
@value_option(
    "--speed",
    "N",
    read_speed,
    "How fast to send: 0 at once, 1 as recorded, 2 twice as fast.",
    default="0",
)
@delivery_options
@json_option
def replay_command(
    recording: BinaryIO,
    url: str,
    signer: EventSigner | None,
    only: tuple[str, ...],
    speed: float,
    timeout: float,
    allow_private: bool,
    as_json: bool,
) -> int:
    """Send recorded webhooks to a URL again.

    FILE is a recording of `webhooks listen --record`. Its deliveries are sent in their order, one after another, with
    their body and headers unchanged. Receivers reject old timestamps, so most of them need --resign, and the public key
    that belongs to it. A damaged line of the file is reported with its number, and the others are sent.

    With --json, each delivery is one JSON object on its own line, with the keys line, event_type, status, error and
    seconds.

    The exit code is 0 if all deliveries were answered with 2xx, and 1 if one was not, if a line is damaged, or if
    nothing was sent.

    \b
    Examples:
      aiorooms webhooks replay events.jsonl http://127.0.0.1:8000/hook
      aiorooms webhooks replay events.jsonl http://127.0.0.1:8000/ --resign key
      aiorooms webhooks replay events.jsonl http://127.0.0.1:8000/ --speed 1
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    from ._sender import Sender  # imported here, because most commands don't need it

    out = Output(json=as_json)
    out.load_styles()
    show = _shower(out, masked_url(url))
    statuses: list[int | None] = []
    damaged = 0

    async def send() -> None:
        nonlocal damaged
        first: datetime | None = None
        began = time.monotonic()
        async with Sender(url, timeout=timeout, concurrency=1, allow_private=allow_private) as sender:
            for number, delivery in read_recording(recording):
                if isinstance(delivery, Damaged):
                    damaged += 1
                    out.error(f"line {number:,} of {quoted(recording.name)} {delivery.problem}; it was not sent")
                    continue
                event_type = event_type_of(delivery.body)
                if not is_wanted(event_type, only):
                    continue
                first = first or delivery.received_at
                await asyncio.sleep(began + due_after(first, delivery.received_at, speed) - time.monotonic())
                answer = await sender.send(_headers(delivery, signer), delivery.body)
                statuses.append(answer.status)
                show(number, event_type, answer)

    with recording:
        run(send())
    failed = sum(not is_success(status) for status in statuses)
    out.note(_totals_text(len(statuses), failed, damaged))
    if signer is None and any(status in _NOT_GENUINE for status in statuses):
        out.note(_HINT)
    return OK if statuses and not failed and not damaged else FAILED


def _headers(delivery: Delivery, signer: EventSigner | None) -> Pairs:
    return delivery.headers if signer is None else signed_anew(delivery.headers, delivery.body, signer, time.time())


def _shower(out: Output, target: str) -> "Callable[[int, str | None, Answer], None]":
    """Return a function that writes what became of a delivery."""

    def show(number: int, event_type: str | None, answer: "Answer") -> None:
        if out.json:
            out.data(
                {
                    "line": number,
                    "event_type": event_type,
                    "status": answer.status,
                    "error": answer.error,
                    "seconds": round(answer.seconds, 6),
                }
            )
        else:
            style = "green" if is_success(answer.status) else "red"
            what = "not answered" if answer.status is None else f"answered {answer.status} in {answer.seconds:.3f} s"
            out.styled(f"line {number:,}: {escape(excerpt(short_type(event_type), 200))}: ", (what, style))
        flush()
        if answer.error is not None:
            out.error(f"line {number:,} was not delivered to {target}: {answer.error}")

    return show


def _totals_text(sent: int, failed: int, damaged: int) -> str:
    if not sent and not damaged:
        return "Nothing was sent: the recording has no such delivery."
    return f"Sent: deliveries {sent:,}, not answered with 2xx {failed:,}, damaged lines {damaged:,}"
