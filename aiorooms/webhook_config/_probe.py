"""Probe webhook URLs, to find out whether an event of the API would arrive.

A probe sends one small event of the type `aiorooms.probe` to a URL, as the API sends its events: a POST with the API's
header names, within the room's timeout, without following redirects. Then it says what the receiver did, or what
prevented the event from arriving.

The addresses of the host are looked up once. They are checked, and only these addresses are connected to. Otherwise a
name could have a public address when it is checked, and a private one when it is connected to.

Example: `https://hooks.example.com/rooms` has the address 203.0.114.1, which is public. The probe connects to it,
checks the certificate of `hooks.example.com`, and sends the event. The receiver rejects it with 401, because the
event is not signed. So the verdict is `reachable`: a signed event of the API would arrive.
"""

import asyncio
import math
import ssl
import time
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from typing import NamedTuple

import aiohttp
import attrs

from .._aio import close, end_tasks
from .._checks import check_at_least, check_positive, setting_error, wrong_type
from .._text import quoted
from .._webhook_url import (
    LENIENT_POLICY,
    check_webhook_url,
    host_of,
    is_public,
    masked_url,
    read_address,
    rewrite_host,
)
from ._dns import Resolve, look_up, resolve_host
from ._probe_attempt import Attempt
from ._receivers import DEFAULT_TIMEOUT, receiver_of, timeout_of
from ._signing import EventSigner
from ._verdicts import ProbeCause, ProbeReport, ProbeResult, judge_answer, judge_failure
from .config import WebhookConfig

__all__ = ["probe", "probe_many"]


class _Options(NamedTuple):
    """What all probes of one call have in common."""

    signer: EventSigner | None
    allow_private: bool
    ssl_context: ssl.SSLContext | None
    resolve: Resolve


async def probe(
    config: WebhookConfig,
    *,
    signer: EventSigner | None = None,
    allow_private: bool = False,
    timeout: float | None = None,
    ssl_context: ssl.SSLContext | None = None,
    resolve: Resolve = resolve_host,
) -> ProbeReport:
    """Probe the webhook URL and the failover URL of `config` at the same time. No network failure raises.

    - `signer`: signs the events, for receivers that verify signatures.
    - `allow_private`: whether to connect to addresses that the public internet can't reach, such as 127.0.0.1.
    - `timeout`: the time limit for each URL in seconds, from connecting to the answer. By default, it is that of
      `config`, or 10 s if that is not set or 0. A DNS lookup has a limit of its own, 10 s.
    - `ssl_context`: for receivers whose certificate no public authority issued.
    - `resolve`: the function that looks up a host.

    Raises `ClientSettingsError` if `timeout` is not above 0, or infinite.
    """
    if timeout is not None:
        _check_timeout("probe(timeout=)", timeout)
    seconds = timeout or timeout_of(config.timeout_secs)
    options = _Options(signer, allow_private, ssl_context, resolve)

    async def one(url: object) -> ProbeResult | None:
        return await _probe_url(url, seconds, options) if isinstance(url, str) and url else None

    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(one(config.url))
        second = tasks.create_task(one(config.failover_url))
    return ProbeReport(url=first.result(), failover_url=second.result())


async def probe_many(
    urls: Iterable[str] | AsyncIterable[str],
    *,
    concurrency: int = 20,
    signer: EventSigner | None = None,
    allow_private: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
    ssl_context: ssl.SSLContext | None = None,
    resolve: Resolve = resolve_host,
) -> AsyncGenerator[ProbeResult]:
    """Probe many URLs concurrently, and yield the results in order of completion.

    Only the first of several URLs with the same scheme, host, port and path is probed, because these reach the same
    receiver. At most `concurrency` probes are in flight. `urls` is read only as fast as the probes end. The other
    arguments are those of `probe`.

    Raises `ClientSettingsError` if `concurrency`, `timeout` or `urls` is invalid, but only when you start to iterate.
    """
    check_at_least(1, "probe_many(concurrency=)", concurrency)
    _check_timeout("probe_many(timeout=)", timeout)
    if isinstance(urls, str):
        raise wrong_type("probe_many(urls=)", urls, "an iterable or async iterable of str")
    options = _Options(signer, allow_private, ssl_context, resolve)
    source = aiter(urls) if isinstance(urls, AsyncIterable) else _as_async(urls)
    seen: set[str] = set()
    running: set[asyncio.Task[ProbeResult]] = set()
    reading: asyncio.Task[str | None] | None = None
    is_complete = False
    try:
        while running or not is_complete:
            if reading is None and not is_complete and len(running) < concurrency:
                reading = asyncio.create_task(_next(source))
            await asyncio.wait({*running, *(() if reading is None else (reading,))}, return_when=FIRST_COMPLETED)
            if reading is not None and reading.done():
                url, reading = reading.result(), None
                if url is None:
                    is_complete = True
                elif (receiver := receiver_of(url)) not in seen:
                    seen.add(receiver)
                    running.add(asyncio.create_task(_probe_url(url, timeout, options)))
            for task in [task for task in running if task.done()]:
                result = task.result()
                running.discard(task)
                yield result
    finally:
        await end_tasks([*running, *(() if reading is None else (reading,))])
        await close(source)


async def _next(source: AsyncIterator[str]) -> str | None:
    """Return the next URL; None at the end."""
    async for url in source:
        return url
    return None


async def _as_async(urls: Iterable[str]) -> AsyncGenerator[str]:
    for url in urls:
        yield url


def _check_timeout(name: str, timeout: float) -> None:
    check_positive(name, timeout)
    if timeout == math.inf:
        raise setting_error(name, "is infinite", "give a number of seconds", timeout)


async def _probe_url(url: str, timeout: float, options: _Options) -> ProbeResult:
    began = time.monotonic()
    result = await _result_of(url, timeout, options)
    return attrs.evolve(result, seconds=time.monotonic() - began)


async def _result_of(url: str, timeout: float, options: _Options) -> ProbeResult:
    """Probe a URL. Return all of the result but its duration."""
    shown = quoted(masked_url(url))
    # This is filled in step by step. A step that fails adds its cause and its message.
    result = ProbeResult(url=url, verdict="failed", message="")
    if problems := check_webhook_url(url, LENIENT_POLICY):
        return attrs.evolve(result, cause="invalid_url", message="; ".join(problem.message for problem in problems))
    host = host_of(url) or ""
    began = time.monotonic()
    looked_up = await look_up(host, options.resolve)
    addresses = looked_up.addresses
    result = attrs.evolve(result, addresses=addresses, dns_seconds=time.monotonic() - began)
    if not addresses:
        text = f"{shown}: DNS gives no address for {host} ({looked_up.error}); check the name and its DNS records"
        return attrs.evolve(result, cause="dns", message=text)
    private = [address for address in addresses if not is_public(address)]
    if private and not options.allow_private:
        has_address = "" if read_address(host) else f" (its address is {private[0]})"
        hint = "use a public host, or allow private addresses"
        text = f"{shown}: the host {host}{has_address} is not on the public internet; {hint}"
        return attrs.evolve(result, cause="private_address", message=text)
    # aiohttp rejects other notations of an IPv4 address, such as 127.1, and writes a Unicode name as it is.
    attempt = Attempt(rewrite_host(url, host, host), addresses, timeout, options.signer, options.ssl_context)
    cause: ProbeCause | None
    try:
        await attempt.send()
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        cause, text = judge_failure(error, host, timeout, connected=attempt.connect_seconds is not None)
    else:
        verdict, cause, text = judge_answer(attempt.status, attempt.location, is_signed=options.signer is not None)
        result = attrs.evolve(result, verdict=verdict, status=attempt.status)
    return attrs.evolve(
        result,
        cause=cause,
        message=f"{shown}: {text}",
        tls=attempt.tls,
        connect_seconds=attempt.connect_seconds,
    )
