"""`WebhookConfig`: the webhook settings of a room as one value."""

import pytest

from aiorooms import (
    ClientSettingsError,
    InvalidRequestError,
    Room,
    RoomsClient,
    RoomUpdate,
    WebhookConfig,
    WebhookUrlPolicy,
)
from aiorooms.simulator import RoomsSimulator


def test_a_config_becomes_an_update() -> None:
    config = WebhookConfig("https://a.example.com", "https://b.example.com", 5)
    assert config.to_update() == RoomUpdate(
        webhook_event_url="https://a.example.com",
        webhook_event_failover_url="https://b.example.com",
        webhook_timeout_secs=5,
    )
    assert WebhookConfig(url="https://a.example.com").to_update().to_dict() == {
        "webhook_event_url": "https://a.example.com"
    }
    assert WebhookConfig(failover_url=None).to_update().to_dict() == {"webhook_event_failover_url": None}


def test_a_config_is_checked_when_it_becomes_an_update() -> None:
    config = WebhookConfig("http://user:word@a.example.com", "http://user:word@a.example.com", 99)
    with pytest.raises(InvalidRequestError) as caught:
        config.to_update()
    assert {problem.pointer for problem in caught.value.problems} == {
        "/webhook_event_url",
        "/webhook_event_failover_url",
        "/webhook_timeout_secs",
    }
    lax = WebhookUrlPolicy(allow_credentials=True)
    assert WebhookConfig(config.url).to_update(webhook_url_policy=lax).webhook_event_url == config.url


@pytest.mark.parametrize("failover", ["", None])
def test_a_config_can_be_read_from_a_room(failover: str | None) -> None:
    room = Room(id="r", webhook_event_url="https://a.example.com", webhook_event_failover_url=failover)
    config = WebhookConfig.from_room(room)
    assert config == WebhookConfig("https://a.example.com", None, None)
    assert WebhookConfig.from_room(Room(id="r")) == WebhookConfig(failover_url=None, timeout_secs=None)


async def test_settings_are_copied_from_room_to_room() -> None:
    async with RoomsSimulator() as sim, RoomsClient(sim.api_key, base_url=sim.url) as client:
        first = sim.add_room(webhook_event_url="https://a.example.com", webhook_timeout_secs=7)
        second = sim.add_room(webhook_event_failover_url="https://b.example.com", webhook_timeout_secs=3)
        config = WebhookConfig.from_room(await client.rooms.retrieve(first))
        assert WebhookConfig.from_room(await client.rooms.update(second, config.to_update())) == config


def test_a_config_can_be_moved_to_another_host() -> None:
    config = WebhookConfig("http://old.example.com:80/a%2f", "https://other.example.com/b", 5)
    assert config.rewrite("OLD.example.com", "new.example.com") == WebhookConfig(
        "http://new.example.com:80/a%2f", "https://other.example.com/b", 5
    )
    assert config.rewrite("old.example.com", "new.example.com", scheme="https", port=8443) == WebhookConfig(
        "https://new.example.com:8443/a%2f", "https://other.example.com/b", 5
    )
    assert config.rewrite("other.example.com", "new.example.com").failover_url == "https://new.example.com/b"
    assert WebhookConfig().rewrite("old.example.com", "new.example.com") == WebhookConfig()
    assert WebhookConfig(failover_url=None).rewrite("a.io", "b.io") == WebhookConfig(failover_url=None)


def test_moving_to_something_that_is_not_a_host_raises_even_if_there_is_no_url() -> None:
    with pytest.raises(ClientSettingsError, match=r"rewrite_host\(new=\) is 'https://b.io', which is not a host"):
        WebhookConfig().rewrite("a.io", "https://b.io")
