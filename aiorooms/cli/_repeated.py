"""Options to repeat in the commands that the output suggests."""

from pathlib import Path
from typing import NamedTuple, Self

from ._command import Context

__all__ = ["Repeated", "keep_repeated"]


class Repeated(NamedTuple):
    """Options that were given, as words of a command line. The commands that the output suggests repeat them."""

    server: tuple[str, ...]
    """`--base-url`, `--allow-insecure-http`, and `--proxy` if it contains no password."""
    policy: tuple[str, ...]

    @classmethod
    def of(
        cls, base_url: str | None, policy: Path | None, *, allow_insecure_http: bool, proxy: str | None = None
    ) -> Self:
        """Return the words for these values of the options; None if an option was not given."""
        return cls(
            (
                *(() if base_url is None else ("--base-url", base_url)),
                *(("--allow-insecure-http",) if allow_insecure_http else ()),
                *(() if proxy is None or "@" in proxy else ("--proxy", proxy)),
            ),
            () if policy is None else ("--policy", str(policy)),
        )


def keep_repeated(ctx: Context) -> None:
    """Set `repeated`. This step comes before those that replace the options."""
    params = ctx.params
    params["repeated"] = Repeated.of(
        params["base_url"],
        params.get("policy"),
        allow_insecure_http=params["allow_insecure_http"],
        proxy=params["proxy"],
    )
