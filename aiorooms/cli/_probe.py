"""`aiorooms webhooks probe`: send a test event to the webhook URLs of a room, or to given ones."""

from collections.abc import Iterator

import click

from .._text import counted
from .._webhook_url import masked_url
from ..client import RoomsClient
from ..webhook_config import EventSigner, ProbeReport, ProbeResult, WebhookConfig, probe
from ._command import Command, Context
from ._escaping import field_text
from ._exit_codes import FAILED, OK
from ._json import JsonValue
from ._key_files import probe_options, read_signer
from ._options import (
    CONNECTION_OPTIONS,
    connection_options,
    json_option,
    make_client,
    value_option,
)
from ._output import Output
from ._run import run
from ._values import SHORTEST, read_duration, read_room_id
from ._words import option_name

__all__ = ["probe_command"]


def _check_urls(ctx: Context) -> None:
    """Check that there is something to probe. Create `client` if `--room` was given, and otherwise set it to None."""
    url, failover, room = (ctx.params[name] for name in ("url", "failover", "room"))
    if room is not None or ctx.is_invalid("--room"):
        if url is not None or failover is not None:
            ctx.add_problem("give either --room, or URL and --failover", "--room")
    else:
        if url is None and failover is None:
            ctx.add_problem("give URL or --room")
        elif url is None:
            ctx.add_problem("give URL too", "--failover")
        for name in CONNECTION_OPTIONS:
            if ctx.params[name]:
                ctx.add_problem("give --room too", option_name(name))
    for name, given in (("URL", url), ("--failover", failover)):
        if given == "":
            ctx.add_problem("is empty; give a URL", name)
    timeout: float | None = ctx.params["timeout"]
    if room is None:
        for name in CONNECTION_OPTIONS:
            del ctx.params[name]
        ctx.params["client"] = None
        return
    ctx.params["timeout"] = None  # of the requests to the API
    make_client(ctx)
    ctx.params["timeout"] = timeout


@click.command("probe", cls=Command, steps=[read_signer, _check_urls])
@click.argument("url", metavar="[URL]", required=False)
@click.option("--failover", metavar="URL", help="Also probe this failover URL.  [default: none]")
@value_option("--room", "ROOM_ID", read_room_id, "Probe the URLs of this room instead of URL.  [default: none]")
@probe_options
@value_option(
    "--timeout",
    "TIME",
    read_duration(SHORTEST),
    "Time limit for each webhook URL, not for the API: 10, 500ms or 1m.  [default: the room's timeout, or 10s]",
)
@connection_options
@json_option
def probe_command(
    url: str | None,
    failover: str | None,
    room: str | None,
    allow_private: bool,
    signer: EventSigner | None,
    timeout: float | None,
    client: RoomsClient | None,
    as_json: bool,
) -> int:
    """Send a test event to webhook URLs.

    The probe sends one small event of the type aiorooms.probe as the API sends its events, without following redirects,
    and reports what happened. The verdict is ok if the receiver answered 2xx, and reachable if it answered 400, 401 or
    403, as receivers that verify signatures do. Otherwise it is failed, and the message says what to do.

    With --json, each URL is one JSON object on its own line, with the keys url, verdict, cause, message, status,
    addresses, tls, dns_seconds, connect_seconds and seconds. A user name and password in the URL are shown as ***.

    The exit code is 0 if no probe failed, and 1 if one did or if the room has no URL, because no event would arrive.

    \b
    Examples:
      aiorooms webhooks probe https://hooks.example.com/rooms
      aiorooms webhooks probe --room 7b61621f-62e0-4aad-ab11-9fd19e272e73
      aiorooms webhooks probe http://127.0.0.1:8000/hook --allow-private
    """  # noqa: D301 - a backspace tells click to keep the line breaks
    out = Output(json=as_json)

    async def send() -> ProbeReport:
        if client is None or room is None:
            config = WebhookConfig(url or "", failover)
        else:
            async with client:
                config = WebhookConfig.from_room(await client.rooms.retrieve(room))
        return await probe(config, signer=signer, allow_private=allow_private, timeout=timeout)

    report = run(send())
    for result in report.results:
        if as_json:
            out.data(_data(result))
        else:
            for line in _lines(result):
                out.line(line)
    if not report.results:
        out.note("The room has no webhook URL and no failover URL.")
    return FAILED if report.has_failed or not report.results else OK


def _lines(result: ProbeResult) -> Iterator[str]:
    yield f"{result.verdict}: {result.message}"
    if result.addresses:
        yield f"  addresses: {', '.join(result.addresses)}"
    if (tls := result.tls) is not None:
        days = tls.days_left()
        expires = f"expires in {counted(days, 'day')}"
        yield f"  TLS: {field_text(tls.version)}, certificate of {' < '.join(map(field_text, tls.chain))}, {expires}"
    times = (("DNS", result.dns_seconds), ("connection", result.connect_seconds), ("total", result.seconds))
    yield f"  time: {', '.join(f'{name} {seconds:.3f} s' for name, seconds in times if seconds is not None)}"


def _data(result: ProbeResult) -> JsonValue:
    tls = result.tls
    return {
        "url": masked_url(result.url),
        "verdict": result.verdict,
        "cause": result.cause,
        "message": result.message,
        "status": result.status,
        "addresses": [*result.addresses],
        "tls": None
        if tls is None
        else {
            "version": tls.version,
            "subject": tls.subject,
            "chain": [*tls.chain],
            "expires_at": tls.expires_at.isoformat(),
            "days_left": tls.days_left(),
        },
        "dns_seconds": result.dns_seconds,
        "connect_seconds": result.connect_seconds,
        "seconds": result.seconds,
    }
