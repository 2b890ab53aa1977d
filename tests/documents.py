"""Helpers that extract and run the examples in the README and the guides."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BULK_GUIDE = ROOT / "aiorooms/bulk/README.md"
WEBHOOKS_GUIDE = ROOT / "aiorooms/webhook_config/README.md"
TELEMETRY_GUIDE = ROOT / "aiorooms/telemetry/README.md"
RECEIVING_GUIDE = ROOT / "aiorooms/webhooks/README.md"
SIMULATOR_GUIDE = ROOT / "aiorooms/simulator/README.md"
DISTRIBUTED_GUIDE = ROOT / "aiorooms/bulk/distributed/README.md"
SHARED_PACING_GUIDE = ROOT / "aiorooms/_pacing/shared/README.md"


def blocks(document: Path, language: str, heading: str | None = None) -> list[str]:
    """Return the code blocks in one language, from the whole document or only from the section under `heading`."""
    text = document.read_text()
    if heading is not None:
        text = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(code: str) -> dict[str, Any]:
    """Run a block of Python code, and return the names that it defines."""
    names: dict[str, Any] = {"__name__": "document"}
    exec(compile(code, "README.md", "exec"), names)
    return names
