"""The control URL of `aiorooms simulate`: read and change a running simulator with HTTP requests.

A GET returns the state. A PATCH changes the settings in its JSON object, and returns the new state:

    curl http://127.0.0.1:8081/control
    curl -X PATCH -d '{"rate_limit": "50/1s", "faults": 0.1, "outage": null}' http://127.0.0.1:8081/control

If anything in the object is invalid, nothing is changed, and the answer is a 422 with all problems. `_control_json`
defines the JSON.

The control URL has a port of its own on 127.0.0.1, whatever host the simulator listens on. So only this machine can use
it, and it stays reachable while an outage has closed the simulator's port. Its requests are not counted, limited or
broken. It needs no API key. A web page can't use it through a browser: `Host` must name this machine (see `_access`),
and a browser sends a preflight request (OPTIONS) before a cross-origin PATCH, and the preflight gets a 405.
"""

import json
from collections.abc import Callable, Mapping

from aiohttp import web

from ._access import names_loopback
from ._answers import JsonObject
from ._control_json import Changes, InvalidChangesError, apply_changes, read_changes, state_of
from ._listener import Listener
from ._simulator import RoomsSimulator
from ._waits import Waits

HOST = "127.0.0.1"
PATH = "/control"

_METHODS = "GET, HEAD, PATCH"


class Control:
    """Receives the requests to the control URL of one simulator."""

    def __init__(self, simulator: RoomsSimulator, on_change: Callable[[Changes], None]) -> None:
        """Start closed. `on_change` is called after each change."""
        self._simulator = simulator
        self._on_change = on_change
        self._port: int | None = None
        self._listener = Listener(self._handle, _ignore, Waits())

    @property
    def url(self) -> str:
        """The control URL. Raise RuntimeError before the first start."""
        if self._port is None:
            raise RuntimeError("the control URL has no port before it is started; use `start()`")
        return f"http://{HOST}:{self._port}{PATH}"

    async def start(self, port: int) -> None:
        """Open the port; 0 chooses a free one. Raise OSError, which names the address, if that fails."""
        self._port = await self._listener.start(HOST, port)

    async def stop(self) -> None:
        """Close the port and all connections. Do nothing if the port is not open."""
        await self._listener.stop()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not names_loopback(request.headers.get("Host")):
            return _problems(421, "the control URL answers only requests to localhost or a loopback address")
        if request.raw_path.partition("?")[0] != PATH:
            return _problems(404, f"the path is not {PATH}")
        if request.method == "PATCH":
            return await self._change(request)
        if request.method not in ("GET", "HEAD"):
            return _problems(405, f"the method is not one of {_METHODS}", headers={"Allow": _METHODS})
        return _answer(200, state_of(self._simulator))

    async def _change(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            changes = read_changes(await request.read())
        except InvalidChangesError as error:
            return _problems(422, *error.problems)
        except web.HTTPRequestEntityTooLarge:
            await request.release()
            return _problems(413, "the body is too large")
        except (web.RequestPayloadError, ConnectionError):
            return _problems(400, "the body can't be read")
        apply_changes(self._simulator, changes)
        if changes:
            self._on_change(changes)
        return _answer(200, state_of(self._simulator))


def _problems(status: int, *problems: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return _answer(status, {"problems": [*problems]}, headers)


def _answer(status: int, data: JsonObject, headers: Mapping[str, str] | None = None) -> web.Response:
    text = json.dumps(data, indent=2) + "\n"
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")


def _ignore(_connection: web.RequestHandler) -> None:
    """Do nothing. A lost connection has no waits to end."""
