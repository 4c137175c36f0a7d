from __future__ import annotations

from typing import Any

import pytest

from siame_se3.errors import InputError
from siame_se3.page.config import PageConfig


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *(("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.3.4.5", True)),
        *(("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("robot.example", False)),
    ],
)
def test_only_an_address_of_this_machine_asks_for_no_token(host: str, local: bool) -> None:
    config = PageConfig(host=host)
    assert config.local == local
    assert (config.token_asked_for() == "") == local


def test_a_token_that_is_given_is_asked_for_everywhere_and_others_are_new() -> None:
    assert PageConfig(token="a-long-one").token_asked_for() == "a-long-one"
    assert PageConfig(host="0.0.0.0", token="a-long-one").token_asked_for() == "a-long-one"
    first, second = (PageConfig(host="0.0.0.0").token_asked_for() for _ in range(2))
    assert first != second
    assert len(first) >= 16


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"port": 65536}, "port"),
        ({"port": -1}, "port"),
        ({"rate": 0.0}, "rate"),
        ({"rate": 1e9}, "rate"),
        ({"host": ""}, "host"),
        ({"host": "a b"}, "host"),
        ({"host": "http://x"}, "host"),
        ({"token": "short"}, "token"),
        ({"token": "with a blank in it"}, "token"),
        ({"token": 'quote"quote'}, "token"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_setting(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError) as caught:
        PageConfig(**wrong)
    assert caught.value.settings == (name,)
    assert "\n" not in str(caught.value)
