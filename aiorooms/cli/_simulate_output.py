"""What `aiorooms simulate` writes: the settings of the simulator, example commands, and changes while it runs."""

import shlex
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

import attrs
from yarl import URL

from .._webhook_url import is_loopback
from ._escaping import command_line
from ._json import JsonValue
from ._output import Output
from ._stderr import print_error

if TYPE_CHECKING:
    from ..simulator import Faults, RateLimit, RoomsSimulator
    from ..simulator._control_json import Changes
    from ..simulator._limit_sets import RateLimits

__all__ = ["Banner", "show_changes", "totals"]

_KINDS: Final = {"fixed": "fixed windows", "sliding": "sliding window", "bucket": "token bucket"}
_RETRY_AFTERS: Final = {
    "seconds": "Retry-After in seconds",
    "date": "Retry-After as a date",
    "ms": "retry-after-ms",
}
_WEBHOOKS: Final = {
    "same": "the same in all rooms",
    "mixed": "mixed, with the mistakes that an audit finds",
    "file": "as in the file",
}
_ALL_ADDRESSES: Final = ("0.0.0.0", "::")  # noqa: S104 - only compared


@attrs.frozen
class Banner:
    """What the command writes when the simulator is ready."""

    simulator: "RoomsSimulator"
    host: str
    """The value of `--host`."""
    webhooks: str
    """The value of `--webhooks`, or `file` if the rooms are from a file."""
    control_url: str

    @property
    def is_reachable(self) -> bool:
        """Whether other machines may be able to connect to the simulator."""
        return not is_loopback(self.host)

    @property
    def remote_url(self) -> str | None:
        """The base URL for other machines, or None if they can't connect."""
        if not self.is_reachable:
            return None
        url = URL(self.simulator.url)
        return str(url.with_host(socket.gethostname()) if self.host in _ALL_ADDRESSES else url)

    def warn(self) -> None:
        """Write a warning to standard error if other machines may be able to connect, or if events are unsigned."""
        if self.is_reachable:
            print_error(
                f"warning: with --host {self.host}, every machine that can connect to this one can use the simulator"
            )
        if self.simulator.public_key is None:
            print_error(
                "warning: webhook events are unsigned, because the package cryptography is not installed; "
                "run `pip install 'aiorooms[webhooks]'`"
            )

    def write(self, out: Output) -> None:
        """Write the settings and example commands, or one JSON object."""
        if out.json:
            out.data(self._data())
            return
        url = self.simulator.url
        out.line(f"Simulating the Telnyx Video Rooms API at {url}")
        out.line("")
        for name, text in self._settings().items():
            out.line(f"  {name:<10}  {text}")
        self._write_requests(out)
        here = "from another shell" if self.remote_url != url else "from another shell or machine"
        self._write_commands(out, url, f"Use the simulator {here} (press Ctrl-C here to stop it):")
        if self.remote_url not in (None, url):
            self._write_commands(out, str(self.remote_url), "Use the simulator from another machine:")

    def _data(self) -> Mapping[str, JsonValue]:
        from ..simulator._control_json import settings_of  # imported here, because most commands don't need it

        simulator = self.simulator
        return {
            "url": simulator.url,
            "remote_url": self.remote_url,
            "control_url": self.control_url,
            "api_key": simulator.api_key,
            "rooms": len(simulator.rooms),
            "room_id": self._room_id,
            "public_key": simulator.public_key,
            "receiver_url": simulator.receiver_url,
            "webhooks": self.webhooks,
            "lively": simulator.lively,
            "deliver_anywhere": simulator.deliveries.deliver_anywhere,
            "odd_events": simulator.deliveries.quirks,
            **cast("dict[str, JsonValue]", settings_of(simulator)),
        }

    def _settings(self) -> dict[str, str]:
        simulator = self.simulator
        return {
            "Rooms": f"{len(simulator.rooms):,}",
            "API key": simulator.api_key,
            "Room id": self._room_id or "-",
            "Webhooks": _WEBHOOKS[self.webhooks],
            "Receiver": f"{simulator.receiver_url} (a webhook URL that accepts every event)",
            "Rate limit": _limits_text(simulator.rate_limit),
            "Faults": _faults_text(simulator.faults),
            "Latency": _latency_text(simulator.latency),
            "Sessions": _lively_text(simulator.lively),
            "Events": self._events_text(),
        }

    def _events_text(self) -> str:
        deliveries = self.simulator.deliveries
        parts = [
            "unsigned" if self.simulator.public_key is None else "signed",
            "delivered to every host" if deliveries.deliver_anywhere else "delivered only to loopback addresses",
        ]
        if deliveries.quirks:
            parts.append(f"{deliveries.quirks * 100:g}% each repeated, reordered and unusual")
        return ", ".join(parts)

    def _write_requests(self, out: Output) -> None:
        url, room_id = self.simulator.url, self._room_id
        header = shlex.quote(f"Authorization: Bearer {self.simulator.api_key}")
        out.line("")
        out.line("Send a request:")
        out.line(f"  curl -H {header} {url}/rooms{'' if room_id is None else '/' + room_id}")
        out.line("")
        out.line("Show the state of the simulator, or change it while it runs (only from this machine):")
        out.line(f"  curl {self.control_url}")
        for change in ('{"rate_limit": "50/1s", "faults": 0.1}', '{"outage": "503"}', '{"outage": null}'):
            out.line(f"  curl -X PATCH -d '{change}' {self.control_url}")

    def _write_commands(self, out: Output, url: str, title: str) -> None:
        room_id = self._room_id
        words = ["list"] if room_id is None else ["update", room_id, "--max-participants", "20"]
        if not is_loopback(URL(url).host or ""):
            words.append("--allow-insecure-http")
        out.line("")
        out.line(title)
        out.line(f"  export TELNYX_API_KEY={shlex.quote(self.simulator.api_key)}")
        out.line(f"  export TELNYX_BASE_URL={shlex.quote(url)}")
        if (public_key := self.simulator.public_key) is not None:
            out.line(f"  export TELNYX_PUBLIC_KEY={shlex.quote(public_key)}")
        out.line(f"  {command_line(*words)}")

    @property
    def _room_id(self) -> str | None:
        return next(iter(self.simulator.room_ids), None)


def show_changes(changes: "Changes") -> None:
    """Write the changes that were made through the control URL to standard error, in one line."""
    texts: list[str] = []
    if "rate_limit" in changes:
        texts.append(f"rate limit: {_limits_text(changes['rate_limit'])}")
    if "faults" in changes:
        texts.append(f"faults: {_faults_text(changes['faults'])}")
    if "latency" in changes:
        texts.append(f"latency: {_latency_text(changes['latency'])}")
    if "outage" in changes:
        texts.append(f"outage: {changes['outage'] or 'none'}")
    if "api_key" in changes:
        texts.append("API key: replaced")
    print_error(f"changed: {'; '.join(texts)}")


def totals(simulator: "RoomsSimulator") -> str:
    """Return a line with the counters. It has those of webhook events only if there were any."""
    stats = simulator.stats
    events = stats.events
    delivered = (
        f", events delivered {events['delivered']:,}, events not delivered {events.total() - events['delivered']:,}"
    )
    return (
        f"Served: requests {stats.requests:,}, connections {stats.connections:,}, "
        f"updates applied {stats.updates_applied.total():,}, rate limited (429) {stats.refused:,}, "
        f"broken by faults {stats.faults.total():,}{delivered if events else ''}"
    )


def _limits_text(limits: "RateLimits | None") -> str:
    if not limits:
        return "none"
    if isinstance(limits, Mapping):
        return "; ".join(f"{key}: {_limits_text(some)}" for key, some in limits.items())
    return "; ".join(map(_limit_text, limits if isinstance(limits, tuple) else (limits,)))


def _limit_text(limit: "RateLimit") -> str:
    retry_after = _RETRY_AFTERS.get(limit.retry_after)
    headers = f"{limit.style} headers" if limit.headers else "no headers"
    parts = (f"{limit.limit:,} requests in {limit.window:g} s", _KINDS[limit.kind], headers, retry_after)
    return ", ".join(part for part in parts if part is not None)


def _faults_text(faults: "Faults | None") -> str:
    from ..simulator import ALL  # imported here, because most commands don't need it

    if faults is None or not faults.rate:
        return "none"
    kinds = "all kinds in `aiorooms simulate --help`" if faults.kinds == ALL else ", ".join(faults.kinds)
    return f"{faults.rate * 100:g}% of the requests, {kinds}"


def _latency_text(latency: float | tuple[float, float]) -> str:
    low, high = latency if isinstance(latency, tuple) else (latency, latency)
    if not high:
        return "none"
    return f"{low:g} s" if low == high else f"{low:g} to {high:g} s"


def _lively_text(rate: float) -> str:
    return f"{rate:g} steps per second, such as a join" if rate else "none by themselves"
