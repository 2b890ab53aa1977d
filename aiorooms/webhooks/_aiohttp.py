"""Receive webhooks with aiohttp.web."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Unpack

from aiohttp import web

from ._inbox import InboxSettings, WebhookInbox
from ._router import OnEvent
from ._verifier import WEBHOOK_HEADERS, WebhookVerifier

__all__ = ["WebhookHandler", "webhook_handler"]

_BODY_TIMEOUT: Final = 10.0
"""Seconds in which a whole body must arrive."""


class WebhookHandler:
    """Receives webhooks in an application of aiohttp.web. `add_to` does all that is needed."""

    def __init__(self, inbox: WebhookInbox) -> None:
        self._inbox = inbox

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one delivery: `app.router.add_post("/webhooks", handler.handle)`."""
        if (request.content_length or 0) > self._inbox.max_body:
            return web.Response(status=413)
        # Picking the few headers that count saves 10 us (5 %) for each delivery.
        headers = [(name, value) for name in WEBHOOK_HEADERS for value in request.headers.getall(name, ())]
        content = request.content
        if content.is_eof():  # usually, the body arrives together with the headers
            return web.Response(status=await self._inbox.receive(headers, content.read_nowait()))
        try:
            async with asyncio.timeout(_BODY_TIMEOUT):
                body = await self._inbox.read(content.iter_any())
        except TimeoutError:
            return web.Response(status=408)
        except (ConnectionError, web.RequestPayloadError):  # the sender has gone, or its body is malformed
            return web.Response(status=400)
        return web.Response(status=413 if body is None else await self._inbox.receive(headers, body))

    async def running(self, app: web.Application) -> AsyncIterator[None]:
        """Run the inbox as long as the application runs: `app.cleanup_ctx.append(handler.running)`."""
        async with self._inbox:
            yield

    def add_to(self, app: web.Application, path: str) -> None:
        """Add the route, and run the inbox as long as the application runs. Several routes share one inbox."""
        app.router.add_post(path, self.handle)
        if self.running not in app.cleanup_ctx:
            app.cleanup_ctx.append(self.running)


def webhook_handler(verifier: WebhookVerifier, on_event: OnEvent, **settings: Unpack[InboxSettings]) -> WebhookHandler:
    """Return a handler of aiohttp.web that verifies webhooks and calls `on_event` for each event.

        webhook_handler(WebhookVerifier(), on_event).add_to(app, "/webhooks")

    `settings` are those of `WebhookInbox`.
    """
    return WebhookHandler(WebhookInbox(verifier, on_event, **settings))
