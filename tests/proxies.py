"""A real HTTP proxy on loopback, in a process of its own, for tests."""

import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import attrs

__all__ = ["RealProxy", "real_proxy"]


@attrs.frozen
class RealProxy:
    """A running proxy."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def has_served(self, text: str) -> bool:
        """Return whether the access log contains a text. A line is written when a connection is closed."""
        deadline = time.monotonic() + 20
        while text not in self.log.read_text():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


@contextmanager
def real_proxy(folder: Path, *options: str) -> Generator[RealProxy]:
    """Run `python -m proxy` until the block ends."""
    port_file, log = folder / "port", folder / "log"
    words = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0", "--port-file", str(port_file)]
    words += ["--num-workers", "1", "--num-acceptors", "1", "--log-file", str(log), *options]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 50
            while not (port_file.exists() and port_file.read_text().strip()):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, "the proxy did not start"
                time.sleep(0.02)
            yield RealProxy(int(port_file.read_text()), log)
        finally:
            process.terminate()
