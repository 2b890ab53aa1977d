"""Signals wait while something is created that must be removed again."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from aiorooms._signals import SIGNALS, signals_held


class EndedError(Exception):
    """What the handler of a signal raises."""


def raise_ended(number: int, frame: object) -> None:
    raise EndedError(number)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.signal(number, raise_ended) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_waits_until_the_end_of_the_block(number: int) -> None:
    steps: list[str] = []
    with pytest.raises(EndedError, match=str(int(number))), signals_held():
        os.kill(os.getpid(), number)
        steps.append("the rest of the block")
    assert steps
    assert [signal.getsignal(each) for each in SIGNALS] == [raise_ended] * len(SIGNALS)


def test_the_handler_of_each_signal_is_called_even_if_another_one_raises_an_exception() -> None:
    called: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: called.append(number))
    with pytest.raises(EndedError), signals_held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert called == [signal.SIGTERM]


def test_a_signal_while_the_handlers_are_restored_does_not_disable_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(number: int, handler: Any) -> None:
        raise EndedError(number)

    block = signals_held()
    block.__enter__()
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", interrupted)
        with pytest.raises(EndedError):
            block.__exit__(None, None, None)
    with pytest.raises(EndedError):
        signal.raise_signal(signal.SIGTERM)


def test_an_error_of_the_block_ends_it() -> None:
    with pytest.raises(ZeroDivisionError), signals_held():
        _ = 1 // 0
    assert [signal.getsignal(each) for each in SIGNALS] == [raise_ended] * len(SIGNALS)


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_signal_without_a_handler_is_left_alone(handler: signal.Handlers) -> None:
    signal.signal(signal.SIGTERM, handler)
    with signals_held():
        assert signal.getsignal(signal.SIGTERM) is handler
    assert signal.getsignal(signal.SIGTERM) is handler


def test_in_another_thread_nothing_is_held() -> None:
    seen: list[object] = []

    def work() -> None:
        with signals_held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [raise_ended]
