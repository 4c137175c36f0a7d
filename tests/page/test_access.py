"""Who may see the page, judged by the headers of a request alone."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from siame_se3.page.access import Access

LOCAL = Access("127.0.0.1", True, "")
OPEN = Access("0.0.0.0", False, "the-token")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:8080"},
        {"Host": "localhost:8080"},
        {"Host": "[::1]:8080"},
        {"Host": "localhost:9000"},  # a tunnel's other end
        {"Host": "localhost"},
        {"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080"},
    ],
)
def test_this_machine_s_own_page_passes(headers: dict[str, str]) -> None:
    assert LOCAL.refusal("/", headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": ""},
        {"Host": "attacker.example:8080"},  # a name that was made to point here
        {"Host": "127.0.0.1.attacker.example"},
        {"Host": "localhost@attacker.example"},
        {"Host": "[::1"},
        {"Host": "127.0.0.1:8080", "Origin": "http://attacker.example"},
        {"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8081"},  # another program's page
        {"Host": "127.0.0.1:8080", "Origin": "null"},
        {"Host": "127.0.0.1:8080", "Origin": ""},
    ],
)
def test_other_sites_are_refused(headers: dict[str, str]) -> None:
    found = LOCAL.refusal("/", headers)
    assert found is not None
    assert found[0] == HTTPStatus.FORBIDDEN


def test_without_the_token_a_form_asks_for_it() -> None:
    found = OPEN.refusal("/", {"Host": "robot:8080"})
    assert found is not None
    status, _, body = found
    assert status == HTTPStatus.UNAUTHORIZED
    assert '<input name="token"' in body
    assert "not right" not in body
    assert OPEN.token not in body


def test_the_right_token_is_kept_in_a_cookie_that_passes_at_this_port_only() -> None:
    found = OPEN.refusal("/?token=the-token", {"Host": "robot:8080"})
    assert found is not None
    status, headers, _ = found
    assert status == HTTPStatus.FOUND
    assert headers["Location"] == "/", "the token stays in the address"
    cookie = headers["Set-Cookie"]
    # Lax: with Strict the page that a link in a mail leads to would ask for the token again
    assert {"HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
    kept = cookie.split(";")[0]
    assert OPEN.refusal("/", {"Host": "robot:8080", "Cookie": f"other=1; {kept}"}) is None
    assert OPEN.refusal("/", {"Host": "robot:8081", "Cookie": kept}) is not None


@pytest.mark.parametrize(
    "others",
    ['prefs={"a":1,"b":"x y"}; ', "a b=c; ", "k\u00e4se=1; ", "=; ;", 'open="; '],
    ids=["JSON", "space", "umlaut", "empty", "quote"],
)
def test_a_cookie_of_another_program_does_not_hide_ours(others: str) -> None:
    """Cookies are shared among ports, and after one that it could not read `http.cookies` gave none: the form came again and again."""
    for cookie in (f"{others}siame_page_8080=the-token", f"siame_page_8080=the-token; {others}"):
        assert OPEN.refusal("/", {"Host": "robot:8080", "Cookie": cookie}) is None


@pytest.mark.parametrize("wrong", ["the-toke", "the-token ", "THE-TOKEN", "\u00e4", "%00"])
def test_a_wrong_token_is_said_to_be_wrong(wrong: str) -> None:
    found = OPEN.refusal(f"/?token={wrong}", {"Host": "robot:8080"})
    assert found is not None
    assert found[0] == HTTPStatus.UNAUTHORIZED
    assert "not right" in found[2]


@pytest.mark.parametrize(
    "cookie",
    [
        "siame_page_8080=wrong-token",
        "siame_page_8080=",
        "=;;=\x01",
        "siame_page_8080",
        "siame_page_8080=\udcff",
        "siame_page_80800=the-token",
    ],
)
def test_a_wrong_cookie_does_not_pass(cookie: str) -> None:
    found = OPEN.refusal("/", {"Host": "robot:8080", "Cookie": cookie})
    assert found is not None
    assert found[0] == HTTPStatus.UNAUTHORIZED


def test_another_site_is_refused_with_a_cookie_too() -> None:
    headers = {"Host": "robot:8080", "Cookie": "siame_page_8080=the-token", "Origin": "http://attacker.example"}
    found = OPEN.refusal("/", headers)
    assert found is not None
    assert found[0] == HTTPStatus.FORBIDDEN
