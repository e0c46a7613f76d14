"""Where brokers and web services are."""

from __future__ import annotations

import pytest

from headwater.settings.addresses import brokers, is_loopback, web_address
from headwater.settings.failures import Unfit

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("kafka://b", ("b:9092",)),
        ("kafka://b:9093", ("b:9093",)),
        ("kafka://b-1.example.com:1,b_2,127.0.0.1:65535", ("b-1.example.com:1", "b_2:9092", "127.0.0.1:65535")),
        ("kafka://[::1],[2001:db8::2]:9", ("[::1]:9092", "[2001:db8::2]:9")),
        ("kafka://b,b:9092,b:09092", ("b:9092",)),
    ],
)
def test_brokers_have_a_port_and_stand_once(url: str, found: tuple[str, ...]) -> None:
    assert brokers(url) == found


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("kafka://", None),
        ("kafka://a,,b", None),
        ("kafka://a,", None),
        ("kafka://:9092", None),
        ("kafka://a:", None),
        ("kafka://a:0", None),
        ("kafka://a:65536", None),
        ("kafka://a:٣", None),
        ("kafka://a b", None),
        ("kafka://-a", None),
        ("kafka://ä", None),
        ("kafka://a\n", None),
        ("kafka://::1", "brackets"),
        ("kafka://::1:9092", "brackets"),
        ("kafka://[::1", "brackets"),
        ("kafka://[a]", None),
        ("kafka://[127.0.0.1]", None),
        ("kafka://[fe80::1%eth0]", "brackets"),
        ("kafka://a/topic", "nothing follows the last port"),
        ("kafka://a/", "nothing follows the last port"),
        ("kafka://a?acks=1", "nothing follows the last port"),
        ("kafka://a#x", "nothing follows the last port"),
        (f"kafka://u:{SECRET}@a", "belong under `security`"),
        (f"kafka://a,u:{SECRET}@b", "belong under `security`"),
        ("kafka:a:9092", "two slashes"),
        ("redpanda://a", "Redpanda speaks Kafka's protocol"),
        ("KAFKA://a", None),
        ("a:9092", None),
    ],
)
def test_what_names_no_brokers(url: str, hint: str | None) -> None:
    with pytest.raises(Unfit) as caught:
        brokers(url)
    assert (hint or "") in (caught.value.hint or "")
    assert SECRET not in f"{caught.value.expected} {caught.value.hint} {caught.value.got}"


@pytest.mark.parametrize("url", ["http://r", "https://r.example:8081/apis/v7", "http://[::1]:8081", "https://r/"])
def test_web_addresses_stay_as_they_are(url: str) -> None:
    assert web_address(url) == url


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("r:8081", "https:// is missing"),
        ("ftp://r", None),
        ("https://", None),
        ("https:///x", None),
        ("https://r:0", None),
        ("https://r:99999", None),
        ("https://[::1", None),
        ("https://r/ x", None),
        ("https://r/ü", None),
        (f"https://u:{SECRET}@r", "keys of their own"),
        (f"https://r?token={SECRET}", "no ? or #"),
        (f"https://r#{SECRET}", "no ? or #"),
    ],
)
def test_what_is_no_web_address(url: str, hint: str | None) -> None:
    with pytest.raises(Unfit) as caught:
        web_address(url)
    assert (hint or "") in (caught.value.hint or "")
    assert SECRET not in f"{caught.value.expected} {caught.value.hint} {caught.value.got}"


@pytest.mark.parametrize(
    ("place", "is_here"),
    [
        ("localhost:9092", True),
        ("LOCALHOST:1", True),
        ("127.0.0.1:1", True),
        ("127.8.9.1:1", True),
        ("[::1]:1", True),
        ("http://localhost:8081/x", True),
        ("https://[::1]/x", True),
        ("10.0.0.1:1", False),
        ("[::2]:1", False),
        ("localhost.example:1", False),
        ("127.0.0.1.example:1", False),
        ("http://r/localhost", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_else(place: str, is_here: bool) -> None:
    assert is_loopback(place) is is_here
