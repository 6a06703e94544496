from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes.errors import ServerExposed
from hermes.server.access import (
    Admission,
    Handshake,
    Refusal,
    Throttle,
    host_name,
    is_loopback,
    refuse_exposure,
    session_token,
)

OURS = "127.0.0.1:8765"
PAGE = "http://localhost:8888"
HOST = Refusal(403, "this Host is not served; add it to server.allowed_hosts if it is yours")
ORIGIN = Refusal(403, "this Origin is not served; add it to server.allowed_origins if it is yours")
HEADERS = Refusal(400, "one Host header and at most one Origin header are accepted")
TOKEN = Refusal(401, "a token is needed: as 'Authorization: Bearer TOKEN' or '?ht=TOKEN'")

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
    (["[::]:8765"], [], HOST),
    (["lab.example."], [], HOST),
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
def test_who_may_connect(hosts: list[str], origins: list[str], refused: Refusal | None) -> None:
    admission = Admission(["0.0.0.0", "::", "Lab.Example"], [PAGE])
    assert admission.refusal(Handshake("/", hosts, origins)) == refused


def test_web_pages_get_nothing_by_default() -> None:
    assert Admission().refusal(Handshake("/", [OURS], [PAGE])) == ORIGIN
    assert Admission().refusal(Handshake("/", ["lab.example"])) == HOST


def test_the_address_that_is_listened_on_may_be_called_by() -> None:
    assert Admission(["192.168.0.1"]).refusal(Handshake("/", ["192.168.0.1:8765"])) is None
    assert Admission(["fd00::1"]).refusal(Handshake("/", ["[FD00::1]:8765"], ["ws://[fd00::1]:8765"])) is None


SECRET = "Abc-123._~def456"
LOCKED = Admission(token=SECRET)
SHOWN = [
    # as a header
    ("/", [f"Bearer {SECRET}"], True),
    ("/", [f"bearer {SECRET}"], True),
    ("/", [f"BEARER {SECRET}"], True),
    ("/", ["Basic dTpw", f"Bearer {SECRET}"], True),
    ("/", [], False),
    ("/", [""], False),
    ("/", ["Bearer"], False),
    ("/", ["Bearer "], False),
    ("/", [SECRET], False),
    ("/", [f"Bearer{SECRET}"], False),
    ("/", [f"Bearer  {SECRET}"], False),
    ("/", [f"Bearer {SECRET} "], False),
    ("/", [f"Bearer {SECRET[:-1]}"], False),
    ("/", [f"Bearer {SECRET}x"], False),
    ("/", [f"Bearer {SECRET.lower()}"], False),
    ("/", [f"Bearer {SECRET}, Bearer {SECRET}"], False),
    ("/", [f"Basic {SECRET}"], False),
    ("/", [f"Token {SECRET}"], False),
    ("/", ["Bearer \udcff\udc80"], False),
    ("/", ["Bearer None"], False),
    # in the query
    (f"/?ht={SECRET}", [], True),
    (f"/any/path?x=1&ht={SECRET}&y=2", [], True),
    (f"/?ht=wrong&ht={SECRET}", [], True),
    (f"/?ht={SECRET}", ["Bearer wrong"], True),
    ("/?ht=Abc%2D123._~def456", [], True),
    (f"?ht={SECRET}", [], True),
    ("/?ht=", [], False),
    ("/?ht", [], False),
    ("/?", [], False),
    (f"/?token={SECRET}", [], False),
    (f"/?HT={SECRET}", [], False),
    (f"/?ht={SECRET}+", [], False),
    (f"/?ht={SECRET[:-1]}", [], False),
    (f"/?ht={SECRET}%00", [], False),
    (f"/?xht={SECRET}", [], False),
    (f"/ht={SECRET}", [], False),
    (f"/{SECRET}", [], False),
    (f"/#ht={SECRET}", [], False),
    ("/?ht=%ff%fe", [], False),
    ("/?ht=None", [], False),
]


@pytest.mark.parametrize(("target", "authorizations", "shown"), SHOWN)
def test_the_token_is_shown_in_one_of_two_ways_or_refused(target: str, authorizations: list[str], shown: bool) -> None:
    found = LOCKED.refusal(Handshake(target, [OURS], [], authorizations))
    assert found == (None if shown else TOKEN)


def test_without_a_token_none_is_looked_at() -> None:
    assert Admission().refusal(Handshake("/?ht=x", [OURS], [], ["Bearer x", "Basic y"])) is None


def test_a_token_opens_neither_another_host_nor_another_origin() -> None:
    assert LOCKED.refusal(Handshake(f"/?ht={SECRET}", ["evil.example"])) == HOST
    assert LOCKED.refusal(Handshake(f"/?ht={SECRET}", [OURS], [PAGE])) == ORIGIN
    assert LOCKED.refusal(Handshake("/", ["evil.example"])) == HOST  # and nobody else learns that there is one


def test_no_refusal_repeats_what_was_shown() -> None:
    for reason in (HOST, ORIGIN, HEADERS, TOKEN):
        assert SECRET not in reason.reason


HOSTS = st.text() | st.from_regex(r"[a-z0-9.:\[\]@/?#%\\ \t-]{0,30}", fullmatch=True)


@settings(deadline=None)
@given(HOSTS, st.lists(st.text() | st.just(PAGE), max_size=2), st.text(), st.lists(st.text(), max_size=2))
def test_any_headers_are_judged_without_a_crash(
    host: str, origins: list[str], target: str, authorizations: list[str]
) -> None:
    asked = Handshake(target, [host], origins, authorizations)
    refused = Admission().refusal(asked)
    name = host_name(host)
    if refused is None:
        assert name is not None
        assert is_loopback(name)
        assert not origins or origins[0].lower().endswith(f"://{host}".lower())
    assert LOCKED.refusal(asked) is not None


@pytest.mark.parametrize(
    ("setting", "environment", "token"),
    [
        (None, {}, None),
        (None, {"JUPYTER_TOKEN": "x", "PATH": "/bin"}, None),
        ("none", {"JUPYTERHUB_USER": "ada"}, None),
        ("a-text-of-my-own", {"JUPYTERHUB_USER": "ada"}, "a-text-of-my-own"),
        ("a-text-of-my-own", {}, "a-text-of-my-own"),
    ],
)
def test_the_token_of_a_setting(setting: str | None, environment: dict[str, str], token: str | None) -> None:
    assert session_token(setting, environment) == token


@pytest.mark.parametrize(
    ("setting", "environment"),
    [
        ("auto", {}),
        ("auto", {"JUPYTERHUB_USER": "ada"}),
        (None, {"JUPYTERHUB_USER": "ada"}),
        (None, {"JUPYTERHUB_API_TOKEN": "x"}),
        (None, {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/"}),
    ],
)
def test_a_new_token_each_time_where_others_share_the_machine(setting: str | None, environment: dict[str, str]) -> None:
    tokens = {session_token(setting, environment) for _ in range(20)}
    assert len(tokens) == 20
    for token in tokens:
        assert token is not None
        assert len(token) >= 43  # 32 random bytes
        assert set(token) <= set(string.ascii_letters + string.digits + "-_")
        assert Admission(token=token).refusal(Handshake(f"/?ht={token}", [OURS])) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    refuse_exposure(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "fd00::1", "lab.example"])
def test_other_machines_need_one_and_both_remedies_are_named(host: str) -> None:
    refuse_exposure(host, SECRET)
    with pytest.raises(ServerExposed) as caught:
        refuse_exposure(host, None)
    assert str(caught.value).startswith(f"host {host} is reachable from other machines, and the server has no token")
    assert "server.token: auto" in str(caught.value)
    assert "127.0.0.1" in str(caught.value)
    assert "SSH tunnel" in str(caught.value)


def test_a_key_passes_once_in_a_while() -> None:
    throttle = Throttle(60.0)
    assert [throttle.passes("a", now) for now in (0.0, 0.1, 59.9, 60.0, 61.0, 119.9, 120.0)] == [
        True,
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    assert throttle.passes("b", 120.0)


def test_so_many_keys_that_they_would_fill_a_log_or_the_memory_do_not_pass() -> None:
    throttle = Throttle(60.0)
    assert sum(throttle.passes(f"key {number}", number / 1e6) for number in range(10_000)) == 256
    assert not throttle.passes("late", 59.0)
    assert throttle.passes("later", 61.0)
