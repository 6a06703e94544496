from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.server.access import host_name, is_loopback, refusal

OURS = "127.0.0.1:8765"
PAGE = "http://localhost:8888"
HOST = (403, "this Host is not served; add it to server.allowed_hosts if it is yours")
ORIGIN = (403, "this Origin is not served; add it to server.allowed_origins if it is yours")
HEADERS = (400, "one Host header and at most one Origin header are accepted")

CASES = [
    # a script or another program: no Origin
    ([OURS], [], None),
    (["127.0.0.1"], [], None),
    (["127.9.9.9:1"], [], None),
    (["localhost:8765"], [], None),
    (["LOCALHOST:8765"], [], None),
    (["[::1]:8765"], [], None),
    (["[::1]"], [], None),
    (["lab.example:8765"], [], None),
    (["Lab.Example"], [], None),
    # DNS rebinding and names that only look like this machine
    (["evil.example:8765"], [], HOST),
    (["localhost.evil.example"], [], HOST),
    (["127.0.0.1.evil.example:8765"], [], HOST),
    (["evil.example#127.0.0.1"], [], HOST),
    (["127.0.0.1#evil.example"], [], HOST),
    (["127.0.0.1?evil.example"], [], HOST),
    (["127.0.0.1/evil"], [], HOST),
    (["evil@127.0.0.1"], [], HOST),
    ([":@127.0.0.1"], [], HOST),
    (["local\thost"], [], HOST),
    (["127.0.0.1:port"], [], HOST),
    (["127.0.0.1:99999"], [], HOST),
    (["[::1"], [], HOST),
    (["[::2]:8765"], [], HOST),
    (["0.0.0.0:8765"], [], HOST),
    (["192.168.0.1:8765"], [], HOST),
    (["2130706433"], [], HOST),
    ([""], [], HOST),
    ([":8765"], [], HOST),
    (["sub.lab.example"], [], HOST),
    # native clients send the address they connect to
    ([OURS], ["ws://127.0.0.1:8765"], None),
    ([OURS], ["wss://127.0.0.1:8765"], None),
    (["LocalHost:8765"], ["ws://localhost:8765"], None),
    (["[::1]:8765"], ["ws://[::1]:8765"], None),
    (["lab.example:8765"], ["ws://lab.example:8765"], None),
    ([OURS], ["ws://127.0.0.1:8766"], ORIGIN),
    ([OURS], ["ws://localhost:8765"], ORIGIN),
    ([OURS], ["ws://127.0.0.1"], ORIGIN),
    ([OURS], ["ws://127.0.0.1:8765/"], ORIGIN),
    ([OURS], ["ws://127.0.0.1:8765.evil.example"], ORIGIN),
    ([OURS], ["ws://evil.example"], ORIGIN),
    (["evil.example"], ["ws://evil.example"], HOST),
    # web pages: the listed one, exactly
    ([OURS], [PAGE], None),
    ([OURS], ["https://evil.example"], ORIGIN),
    ([OURS], ["null"], ORIGIN),
    ([OURS], [""], ORIGIN),
    ([OURS], ["http://127.0.0.1:8765"], ORIGIN),
    ([OURS], ["http://localhost:8889"], ORIGIN),
    ([OURS], ["http://localhost"], ORIGIN),
    ([OURS], ["https://localhost:8888"], ORIGIN),
    ([OURS], ["http://localhost:8888/"], ORIGIN),
    ([OURS], ["http://LOCALHOST:8888"], ORIGIN),
    ([OURS], ["http://localhost:8888.evil.example"], ORIGIN),
    ([OURS], ["http://evil.example/http://localhost:8888"], ORIGIN),
    ([OURS], [f"{PAGE}, https://evil.example"], ORIGIN),
    ([OURS], ["*"], ORIGIN),
    # headers that come twice or not at all
    ([OURS], [PAGE, PAGE], HEADERS),
    ([OURS], [PAGE, "https://evil.example"], HEADERS),
    ([OURS, OURS], [], HEADERS),
    ([], [], HEADERS),
]


@pytest.mark.parametrize(("hosts", "origins", "refused"), CASES)
def test_who_may_connect(hosts: list[str], origins: list[str], refused: tuple[int, str] | None) -> None:
    assert refusal(hosts, origins, ["lab.example"], [PAGE]) == refused


def test_web_pages_get_nothing_by_default() -> None:
    assert refusal([OURS], [PAGE], [], []) == ORIGIN
    assert refusal(["lab.example"], [], [], []) == HOST


HOSTS = st.text() | st.from_regex(r"[a-z0-9.:\[\]@/?#%\\ \t-]{0,30}", fullmatch=True)


@given(HOSTS, st.lists(st.text() | st.just(PAGE), max_size=2))
def test_any_headers_are_judged_without_a_crash(host: str, origins: list[str]) -> None:
    refused = refusal([host], origins, [], [])
    name = host_name(host)
    if refused is None:
        assert name is not None
        assert is_loopback(name)
        assert not origins or origins[0].lower().endswith(f"://{host}".lower())
