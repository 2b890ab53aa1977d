"""`aiorooms webhooks listen`: show webhooks as they arrive, until Ctrl-C."""

import errno
import os
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from .._webhook_url import is_loopback, masked_url
from ..errors import ClientSettingsError
from ._command import Command, Context, InvalidInputError
from ._escaping import escape
from ._event_text import Seen, data_of, parts_of
from ._exit_codes import FAILED, OK
from ._options import FILE, delivery_options, json_option, value_option
from ._output import Output, flush
from ._run import Interrupted, run
from ._simulate import OTHER_HOST, OTHER_PORT
from ._stderr import end_ctrl_c_line, print_error
from ._values import read_host, read_url, whole_number

if TYPE_CHECKING:
    from ..webhooks import WebhookVerifier
    from ._listener import Listener, Totals
    from ._recordings import Recorder

__all__ = ["listen_command"]

_VARIABLE: Final = "TELNYX_PUBLIC_KEY"

_FORWARDS: Final = 10
"""Maximum number of deliveries that are forwarded at a time."""


def _read_keys(ctx: Context) -> None:
    """Set `verifier` from the public keys, or to None if there is none."""
    given: tuple[str, ...] = ctx.params.pop("public_key")
    ctx.params["verifier"] = None
    name = "--public-key" if given else _VARIABLE
    try:
        from ..webhooks import WebhookVerifier  # imported here, because it needs an extra
    except ImportError:
        ctx.add_problem("needs the package cryptography; run `pip install 'aiorooms[webhooks]'`", "webhooks listen")
        return
    if not (given or os.environ.get(_VARIABLE, "").strip(" \t\n,")):
        return
    try:
        ctx.params["verifier"] = WebhookVerifier(given or None)
    except ClientSettingsError as error:
        ctx.add_problem(f"{error.wrong}; give the base64 text of its 32 bytes, as the portal shows it", name)


def _open_recording(ctx: Context) -> None:
    """Set `recorder` from the path in `record`, or to None. This is the last step, so nothing is left open."""
    path: Path | None = ctx.params.pop("record")
    ctx.params["recorder"] = None
    if path is None or ctx.has_problems:
        return
    from ._recordings import Recorder  # imported here, because most commands don't need it

    try:
        ctx.params["recorder"] = Recorder.open(path)
    except OSError as error:
        ctx.add_problem(f"{str(path)!r} can't be opened: {error.strerror or error}", "--record")
    except ValueError as error:
        ctx.add_problem(f"{str(path)!r} {error}", "--record")


@click.command("listen", cls=Command, steps=[_read_keys, _open_recording])
@value_option("--port", "N", whole_number(0, 65535), "TCP port to listen on; 0 chooses a free port.", default="8787")
@value_option(
    "--host",
    "HOST",
    read_host,
    "Address or name of this machine to listen on; 0.0.0.0 also accepts deliveries from other machines.",
    default="127.0.0.1",
)
@click.option(
    "--public-key",
    metavar="KEY",
    multiple=True,
    help="Public key of the account in base64. Can be given more than once: then one of them must fit.  "
    "[default: TELNYX_PUBLIC_KEY, or verify nothing]",
)
@value_option("--forward", "URL", read_url, "Send each delivery on to this URL.  [default: don't]")
@delivery_options
@click.option(
    "--record",
    metavar="FILE",
    type=FILE,
    help="Append each delivery to this file, for `webhooks replay`.  [default: don't]",
)
@json_option
def listen_command(
    port: int,
    host: str,
    verifier: "WebhookVerifier | None",
    forward: str | None,
    timeout: float,
    allow_private: bool,
    recorder: "Recorder | None",
    as_json: bool,
) -> int:
    """Show webhooks as they arrive, and verify them.

    The listener accepts deliveries at any path, and answers 200. It answers 400 if the signature is wrong or the body
    is not an event, and says why on standard error. A delivery whose body is not read (not a POST, compressed, over 256
    KiB, incomplete after 10 s) or that arrives while 100 are in progress gets another error status, and is neither
    recorded nor forwarded. Without a public key, nothing is verified. An event that has arrived before is marked as
    repeated. Ctrl-C or SIGTERM stops the listener. The command then writes the totals, and exits with code 0, or with 1
    if it could not record a delivery.

    With --forward, each delivery is sent on with its body and headers, so that the signature stays valid, even if the
    listener rejects it. Headers of the connection, such as Host, are replaced. The sender gets the status that the
    target has answered, or 502 if there was none. At most 10 deliveries are forwarded at a time.

    With --record, a new file can be read only by its owner. An existing recording is continued.

    With --json, each delivery is one JSON object on its own line, with the keys received_at, path, verified (true,
    false, or null without a key), reason (why it was rejected, or null), repeated, event (null if it was rejected),
    forward_status and forward_error.

    \b
    Examples:
      aiorooms webhooks listen
      aiorooms webhooks listen --port 8787 --forward http://127.0.0.1:8000/hook
      aiorooms webhooks listen --record events.jsonl --json
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    from ._listener import Listener  # imported here, because most commands don't need a server
    from ._sender import Sender

    out = Output(json=as_json)
    out.load_styles()
    sender = None
    if forward is not None:
        sender = Sender(forward, timeout=timeout, concurrency=_FORWARDS, allow_private=allow_private)
    listener = Listener(verifier, _shower(out, forward), sender=sender, recorder=recorder)

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            if sender is not None:
                await stack.enter_async_context(sender)
            try:
                await stack.enter_async_context(listener.running(host, port))
            except OSError as error:
                raise InvalidInputError([_port_problem(host, port, error)]) from None
            _write_banner(out, listener, host, is_verifying=verifier is not None, forward=forward)
            await listener.wait()

    try:
        with suppress(Interrupted):  # a signal is the normal way to stop the listener
            run(serve(), on_stop=listener.stopped.set)
    finally:
        if recorder is not None:
            recorder.close()
    end_ctrl_c_line()
    out.note(_totals_text(listener.totals))
    return FAILED if listener.totals.not_recorded else OK


def _port_problem(host: str, port: int, error: OSError) -> str:
    hint = OTHER_PORT if error.errno in (errno.EADDRINUSE, errno.EACCES) else OTHER_HOST
    return f"can't listen on {host} port {port}: {error.strerror or error}; {hint}"


def _write_banner(out: Output, listener: "Listener", host: str, *, is_verifying: bool, forward: str | None) -> None:
    if not is_loopback(host):
        print_error(f"warning: with --host {host}, every machine that can connect to this one can send deliveries")
    if not is_verifying:
        print_error(f"warning: nothing is verified; give --public-key, or set {_VARIABLE}")
    to = "" if forward is None else f", forwarding to {masked_url(forward)}"
    out.note(f"Listening at {listener.url}{to} (press Ctrl-C to stop)")
    flush()


def _shower(out: Output, forward: str | None) -> Callable[[Seen], None]:
    """Return a function that writes a delivery."""
    target = "" if forward is None else masked_url(forward)

    def show(seen: Seen) -> None:
        if out.json:
            out.data(data_of(seen))
        elif seen.why is None:
            out.styled(*parts_of(seen))
        flush()
        if seen.why is not None:
            answered = "" if seen.forward_status is None else f"; {target} answered {seen.forward_status}"
            out.error(f"rejected: {seen.why}{answered}")
        if seen.forward_error is not None:
            out.error(f"not forwarded to {target}: {seen.forward_error}")

    return show


def _totals_text(totals: "Totals") -> str:
    parts = [f"Received: deliveries {totals.received:,}", f"verified {totals.verified:,}"]
    parts += [f"not verified {totals.not_verified:,}", f"rejected {totals.rejected:,}", f"repeated {totals.repeated:,}"]
    if totals.forwarded:
        parts.append(f"forwarded {totals.forwarded:,} ({totals.not_forwarded:,} not answered with 2xx)")
    if totals.recorded or totals.not_recorded:
        parts.append(f"recorded {totals.recorded:,}")
    if totals.not_recorded:
        parts.append(f"not recorded {totals.not_recorded:,}")
    return escape(", ".join(parts))
