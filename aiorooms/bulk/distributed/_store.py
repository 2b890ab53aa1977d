"""What a distributed run keeps in Redis, and the steps that change it.

All names of a run begin with `{aiorooms:run:RUN}`, so they belong to one slot of a cluster. All expire 30 days after
their last change.

| name | type | content |
|---|---|---|
| `:head` | hash | the plan's header and totals, the settings, the number of rooms by letter, and who leads the run |
| `:batch:N` | hash | compressed lines of the plan, a letter for each room, the epoch, and compressed logs |
| `:log:N` | stream | the log of a batch that has not ended |
| `:log:lead` | stream | what the lead recorded: states of the rate limit, outcomes of rooms that were set aside |

The API key is not stored.
"""

import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import attrs
from redis.exceptions import RedisError

from ...errors import DistributedRunError
from .._plan_records import HEADER, TOTALS, PlanHeader, PlanTotals
from . import _scripts
from ._batches import NOT_BEGUN, unpack

__all__ = [
    "STORE_ERRORS",
    "Change",
    "Fence",
    "Fenced",
    "Head",
    "Opened",
    "RunStore",
    "StoreClient",
    "lost",
    "new_epoch",
    "run_names",
]

StoreClient: TypeAlias = Any
"""A client with the commands of `redis.asyncio`, which have hardly any types."""

STORE_ERRORS: Final = (RedisError, OSError, TimeoutError)
"""What a call of the store raises if the store can't be reached, or does not do what it is asked."""

_TTL: Final = 30 * 24 * 3600
"""Seconds after the last change after which a run is deleted."""

_SUSPECT_BATCHES: Final = 100
"""Number of batches that may have been opened in the seconds that a restarted store may have lost.

The rooms of so many batches are read before they are updated: 25,000 rooms, or 12,500 per second for two seconds.
"""

_SUBMITTING: Final = 60
"""Seconds after which the name of a run can be used again if the process that submits it was killed."""

_INDEX: Final = "aiorooms:runs"
"""A sorted set of the names of all runs, by the time at which they were submitted."""


_TIME_IN_REDIS: Final = "redis.call('TIME')"
_TIME_IN_MEMORY: Final = "{KEYS[#KEYS - 1], KEYS[#KEYS]}"
"""The store in memory has no time in scripts, so it is given to them as two further keys."""


class Fenced(Exception):  # noqa: N818 - it is not an error: another delivery goes on
    """Another delivery has opened the batch, or leads the run."""


@attrs.frozen(kw_only=True)
class Head:
    """The head of a run, at one moment."""

    run: str
    header: PlanHeader
    totals: PlanTotals
    batches: int
    settings: Mapping[str, Any]
    runs: Sequence[Mapping[str, Any]]
    """When the run was submitted and resumed, and how each of these ended."""
    counts: Mapping[str, int]
    """Number of rooms by letter."""
    finished: int
    """Number of batches that have ended."""
    stop: str
    """Why the run was stopped; empty if it was not."""
    ended_at: float | None
    listed_at: float | None
    """When the last list of modified rooms began, by the store's clock; None if there was none."""
    window: float | None
    """See `BulkRun.overwrite_window`."""
    attempts: int
    rate_limited: int
    limit: float | None
    """The sustained rate that the rate limit allows, in requests per second; None if unknown."""
    rate: float | None
    """Rooms per second."""
    phase: str

    @property
    def is_strict(self) -> bool:
        """Whether every modification of a room is a conflict."""
        return bool(self.settings.get("strict")) or self.header.version == 1


class Opened(NamedTuple):
    """A batch as a delivery finds it."""

    is_first: bool
    lines: list[bytes]
    rows: str
    """A letter for each room."""
    aside: frozenset[int]
    """The places of the rooms to set aside."""
    listed_at: str
    """When the last list of modified rooms began, by the store's clock; empty if there was none."""
    wait: float
    """Seconds during which a delivery that the store has forgotten may still send."""


class Fence(NamedTuple):
    """Who makes a change."""

    is_lead: bool
    epoch: str


@attrs.frozen(kw_only=True)
class Change:
    """A change of a batch."""

    letters: Sequence[tuple[int, str]] = ()
    """New letters, by place."""
    body: bytes = b""
    """A text for the log."""
    stop: str = ""
    failures: int = 0
    last_failure: str = ""
    """The error of the last of these failures."""
    attempts: int = 0
    rate_limited: int = 0
    limit: str = ""
    """The sustained rate of the limit, in requests per second; empty if unknown."""
    listed_at: str = ""
    """As in `Opened`; empty if the change has no update that was sent."""


class RunStore:
    """One run in the store. Its methods also raise errors of the store, such as `RedisError`."""

    def __init__(self, client: StoreClient, run: str) -> None:
        self.run = run
        self._client = client
        self._prefix = f"{{aiorooms:run:{run}}}"
        self._head = f"{self._prefix}:head"
        self._reserved = f"{self._prefix}:submitting"
        self._scripts: dict[str, Any] = {}
        self._has_time = hasattr(client, "time")

    # --- submitting ---

    async def reserve(self) -> bool:
        """Reserve the name of the run for a minute. Return False if another submission has reserved it."""
        return bool(await self._client.set(self._reserved, b"1", nx=True, px=_SUBMITTING * 1000))

    async def keep_reserved(self) -> None:
        """Reserve the name for another minute."""
        await self._client.expire(self._reserved, _SUBMITTING)

    async def release(self) -> None:
        """Release the name, because the submission has ended."""
        await self._client.delete(self._reserved)

    async def put_batch(self, number: int, rooms: int, packed: bytes) -> None:
        """Store the lines of a batch."""
        await self._client.hset(self._batch(number), mapping={"plan": packed, "rows": "." * rooms})
        await self._client.expire(self._batch(number), _TTL)

    async def put_head(
        self, header: PlanHeader, totals: PlanTotals, batches: int, settings: Mapping[str, Any], at: float, boot: str
    ) -> None:
        """Store the head, after all batches."""
        mapping = {
            "header": HEADER.line(header),
            "totals": TOTALS.line(totals),
            "batches": str(batches),
            "settings": json.dumps(dict(settings)),
            "runs": json.dumps([{"run": 1, "began_at": at}]),
            "max_failures": str(settings.get("max_failures") or 0),
            "boot": boot,
            "opened": "-1",
            "suspect": "-1",
            "phase": "queued",
            f"count:{NOT_BEGUN}": str(totals.rooms),
        }
        await self._client.hset(self._head, mapping=mapping)
        await self._client.expire(self._head, _TTL)
        await self._client.zadd(_INDEX, {self.run: at})
        await self._client.zremrangebyscore(_INDEX, 0, at - _TTL)
        await self._client.expire(_INDEX, _TTL)

    async def boot(self) -> str:
        """Return a text that changes when the store restarts."""
        if not hasattr(self._client, "info"):
            return ""  # a store in memory ends with its process
        info: dict[str, Any] = await self._client.info("server")
        return str(info.get("run_id", ""))

    # --- reading ---

    async def head(self) -> Head | None:
        """Return the head; None if the store does not have this run."""
        found = {_text(name): value for name, value in (await self._client.hgetall(self._head)).items()}
        if "header" not in found:
            return None
        return _head_of(self.run, found)

    async def lines(self, number: int) -> list[bytes]:
        """Return the lines of a batch. Raises `DistributedRunError` if it is lost or damaged."""
        packed = await self._client.hget(self._batch(number), "plan")
        return self._unpacked(number, packed)

    async def rows(self, number: int) -> str:
        """Return a letter for each room of a batch."""
        return _text(await self._client.hget(self._batch(number), "rows") or b"")

    async def began(self, number: int) -> float | None:
        """Return when a batch was first opened, by the store's clock; None if it was not."""
        value = await self._client.hget(self._batch(number), "began")
        return None if value is None else float(value)

    async def is_opened(self, number: int) -> bool:
        """Return whether a delivery has opened a batch."""
        return bool(await self._client.hexists(self._batch(number), "epoch"))

    async def stop_reason(self) -> str:
        """Return why the run is stopped; empty if it is not."""
        return _text(await self._client.hget(self._head, "stop") or b"")

    async def new_log(self, number: int | None) -> list[bytes]:
        """Return the log of a batch since it was last ended, or of the lead.

        Before the lines of each change is a line with its time, such as `#1764300000123`: the Unix time of the store in
        milliseconds.
        """
        entries = await self._client.xrange(self._log(number))
        texts: list[bytes] = []
        for entry, fields in entries:
            texts += b"#" + _bytes(entry).partition(b"-")[0] + b"\n", _bytes(next(iter(fields.values())))
        return texts

    async def log(self, number: int | None) -> list[bytes]:
        """Return the whole log of a batch, or of the lead, in the form of `new_log`."""
        texts: list[bytes] = []
        if number is not None:
            batch = self._batch(number)
            count = int(await self._client.hget(batch, "logs") or 0)
            for index in range(1, count + 1):
                packed = await self._client.hget(batch, f"log{index}")
                texts += self._unpacked(number, packed)
        return [*texts, *await self.new_log(number)]

    def _unpacked(self, number: int, packed: bytes | str | None) -> list[bytes]:
        if packed is None:
            raise lost(self.run, f"batch {number} is missing")
        try:
            return unpack(_bytes(packed))
        except ValueError:
            raise lost(self.run, f"batch {number} is damaged") from None

    # --- changes ---

    async def open_batch(self, number: int, epoch: str, boot: str, lease: float) -> Opened | str:
        """Open a batch with a new epoch. Return `gone`, `done` or `stopped` if there is nothing to do.

        `lease` is how long a lease lasts, in seconds.
        """
        reply = await self._run(
            _scripts.OPEN_BATCH,
            [self._head, self._batch(number)],
            number,
            epoch,
            boot,
            _SUSPECT_BATCHES,
            _TTL,
            f"{lease:g}",
        )
        word = _text(reply[0])
        if word != "opened":
            return word
        is_first, packed, rows, aside, listed_at, wait = reply[2:8]
        places = frozenset(map(int, _text(aside).split(","))) if aside else frozenset[int]()
        lines = self._unpacked(number, packed)
        return Opened(_text(is_first) == "1", lines, _text(rows), places, _text(listed_at), float(_text(wait)))

    async def append(self, number: int, fence: Fence, change_number: int, change: Change) -> str:
        """Make a change of a batch. Return why the run is stopped; empty if it is not. Raises `Fenced`.

        `change_number` is 1 for the first change of a delivery or a lead, 2 for the next one, and so on. A change with
        the number of an earlier one is not recorded again.
        """
        batch = self._batch(number)
        log = self._log(None if fence.is_lead else number)
        names = ("lead", "lead_change") if fence.is_lead else ("epoch", "change")
        letters = "".join([f"{place}{letter}" for place, letter in change.letters])
        reply = await self._run(
            _scripts.APPEND,
            [self._head, batch, log, self._head if fence.is_lead else batch],
            names[0], fence.epoch, names[1], change_number, _TTL, change.stop, change.failures, change.attempts,
            change.rate_limited, change.limit, change.listed_at, change.last_failure, change.body, letters,
        )  # fmt: skip
        return _stop_or_fenced(reply, self.run)

    async def finish(self, number: int, epoch: str, packed: bytes) -> None:
        """End a batch. `packed` is its log, compressed. Raises `Fenced`."""
        keys = [self._head, self._batch(number), self._log(number)]
        _stop_or_fenced(await self._run(_scripts.FINISH, keys, epoch, packed), self.run)

    async def publish(self, number: int, epoch: str, places: Iterable[int]) -> None:
        """Replace the places of a batch whose rooms must be set aside, unless it was opened. Raises `Fenced`."""
        text = ",".join(map(str, sorted(places)))
        _stop_or_fenced(await self._run(_scripts.PUBLISH, [self._head, self._batch(number)], epoch, text), self.run)

    async def take_lead(self, epoch: str) -> str:
        """Lead the run from now on. Return why the run is stopped; empty if it is not."""
        return _stop_or_fenced(await self._run(_scripts.LEAD, [self._head], epoch, _TTL, 1), self.run)

    async def set_head(self, epoch: str, fields: Mapping[str, str]) -> str:
        """Set fields of the head as the lead. Return why the run is stopped; empty if it is not. Raises `Fenced`."""
        words = [word for pair in fields.items() for word in pair]
        return _stop_or_fenced(await self._run(_scripts.LEAD, [self._head], epoch, _TTL, 0, *words), self.run)

    async def stop(self, why: str, at: float) -> str:
        """Stop the run. Return `ok`, `ended` or `gone`."""
        reply = await self._run(_scripts.STOP, [self._head], why, f"{at:.3f}")
        return _text(reply[0])

    async def reopen(self, number: int, letters: Mapping[str, str]) -> bool:
        """Change letters of a batch for a resumed run. Return whether it must be delivered again."""
        words = [word for pair in letters.items() for word in pair]
        reply = await self._run(_scripts.REOPEN, [self._head, self._batch(number)], _TTL, *words)
        if _text(reply[0]) == "gone":
            raise lost(self.run, f"batch {number} is missing")
        return _text(reply[0]) == "open"

    async def begin_again(self, runs: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> None:
        """Prepare the head for a resumed run. A lead of the earlier run is fenced."""
        client = self._client
        await client.hdel(self._head, "lead", "stop", "ended_at", "failures", "rate_limited", "attempts", "window")
        mapping = {
            "runs": json.dumps([dict(run) for run in runs]),
            "settings": json.dumps(dict(settings)),
            "max_failures": str(settings.get("max_failures") or 0),
            "phase": "queued",
        }
        await client.hset(self._head, mapping=mapping)

    async def time(self) -> float:
        """Return the store's time, as Unix time in seconds."""
        seconds, microseconds = await self._run(_scripts.TIME, [])
        return int(seconds) + int(microseconds) / 1e6

    # --- helpers ---

    def _batch(self, number: int) -> str:
        return f"{self._prefix}:batch:{number}"

    def _log(self, number: int | None) -> str:
        return f"{self._prefix}:log:{'lead' if number is None else number}"

    async def _run(self, script: str, keys: list[str], *words: str | bytes | float) -> list[Any]:
        call = self._scripts.get(script)
        if call is None:
            text = script if self._has_time else script.replace(_TIME_IN_REDIS, _TIME_IN_MEMORY)
            call = self._scripts[script] = self._client.register_script(text)
        if not self._has_time:
            seconds, nanoseconds = divmod(time.time_ns(), 10**9)
            keys = [*keys, str(seconds), str(nanoseconds // 1000)]
        reply: list[Any] = await call(keys=keys, args=[*words])
        return reply


async def run_names(client: StoreClient) -> list[str]:
    """Return the names of the runs in the store, the newest first."""
    return [_text(name) for name in await client.zrange(_INDEX, -100, -1)][::-1]


def new_epoch() -> str:
    """Return a new epoch."""
    return secrets.token_hex(6)


def lost(run: str, what: str) -> DistributedRunError:
    """Return the error for a run whose data is not complete."""
    hint = "submit the plan again; rooms that are as wanted are found, and not updated again"
    return DistributedRunError(f"the store has lost data of the run {run}: {what}", hint=hint, reason="lost_run")


def _stop_or_fenced(reply: Sequence[Any], run: str) -> str:
    word = _text(reply[0])
    if word == "fenced":
        raise Fenced
    if word == "gone":
        raise lost(run, "its head is missing")
    return _text(reply[1])


def _head_of(run: str, found: Mapping[str, Any]) -> Head:
    text = {name: _text(value) for name, value in found.items()}
    try:
        return Head(
            run=run,
            header=HEADER.read(_bytes(found["header"])),
            totals=TOTALS.read(_bytes(found["totals"])),
            batches=int(text["batches"]),
            settings=json.loads(text["settings"]),
            runs=json.loads(text["runs"]),
            counts={name[6:]: int(value) for name, value in text.items() if name.startswith("count:")},
            finished=int(text.get("finished", "0")),
            stop=text.get("stop", ""),
            ended_at=_number(text, "ended_at"),
            listed_at=_number(text, "listed_at"),
            window=_number(text, "window"),
            attempts=int(text.get("attempts", "0")),
            rate_limited=int(text.get("rate_limited", "0")),
            limit=_number(text, "limit"),
            rate=_number(text, "rate"),
            phase=text.get("phase", ""),
        )
    except (KeyError, ValueError):
        raise lost(run, "its head is damaged") from None


def _number(text: Mapping[str, str], name: str) -> float | None:
    return float(text[name]) if text.get(name) else None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
