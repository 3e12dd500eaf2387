"""Callback tokens: whoever did not get one from us cannot make one."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from connector.core.capability import LONGEST_TOKEN, CallbackClaim, callback_url, key_id, mint, verify

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
KEYS = (b"a" * 32, b"b" * 32)
TOPIC = st.text(alphabet="abcXYZ019._-", min_size=1, max_size=249)
CLAIMS = st.builds(
    CallbackClaim,
    topic=TOPIC,
    partition=st.integers(0, 2**31 - 1),
    flow_id=st.uuids().map(str),
    attempt=st.integers(1, 2**31),
    event_digest=st.binary(min_size=16, max_size=16),
)
CLAIM = CallbackClaim("notifications", 3, str(uuid.uuid5(uuid.NAMESPACE_URL, "x")), 1, bytes(range(16)))


@settings(deadline=None)
@given(CLAIMS)
def test_what_was_minted_is_verified(claim: CallbackClaim) -> None:
    """A token gives back exactly the claim it was minted for, and fits into a URL."""
    kid, token = mint(KEYS, claim)
    assert verify(KEYS, kid, token) == claim
    assert len(token) <= LONGEST_TOKEN
    assert set(token) <= set(ALPHABET)


@settings(deadline=None)
@given(CLAIMS, st.data())
def test_one_changed_character_is_refused(claim: CallbackClaim, data: st.DataObject) -> None:
    """No other text than the minted one is a token."""
    kid, token = mint(KEYS, claim)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters())
    assume(token[place] != other)
    assert verify(KEYS, kid, token[:place] + other + token[place + 1 :]) is None


@pytest.mark.parametrize("topic", ["a", "ab", "abc"])
def test_a_token_has_one_spelling(topic: str) -> None:
    """Base64's spare bits make no second text for the same bytes."""
    kid, token = mint(KEYS, replace(CLAIM, topic=topic))
    ends = [end for end in ALPHABET if verify(KEYS, kid, token[:-1] + end)]
    assert ends == [token[-1]]


@settings(deadline=None)
@given(st.text(), st.text(max_size=700))
def test_nonsense_is_refused(kid: str, token: str) -> None:
    """Any texts at all: refused, never an error."""
    assert verify(KEYS, kid, token) is None
    assert verify(KEYS, key_id(KEYS[0]), token) is None
    assert verify((), kid, token) is None


def test_every_refusal_costs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown key, wrong signature, no token at all: each takes one MAC and the same comparisons, all in constant time."""
    work: list[str] = []

    def counted(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            work.append(name)
            return function(*arguments)

        return call

    kid, token = mint(KEYS, CLAIM)
    _, foreign = mint((b"x" * 32,), CLAIM)
    monkeypatch.setattr(hmac, "digest", counted("mac", hmac.digest))
    monkeypatch.setattr(hmac, "compare_digest", counted("compare", hmac.compare_digest))
    costs = set()
    for call in ((kid, foreign), ("unknown", token), (key_id(KEYS[1]), token), (kid, token[:-1]), (kid, "x" * 600), ("", "")):
        work.clear()
        assert verify(KEYS, *call) is None
        costs.add(tuple(work))
    assert costs == {("compare", "compare", "mac", "compare")}
    work.clear()
    assert verify(KEYS, kid, token) == CLAIM
    assert tuple(work) in costs


def test_keys_rotate() -> None:
    """The newest key mints; an older one still verifies; one that is gone does not."""
    old_kid, old = mint((KEYS[1],), CLAIM)
    kid, token = mint(KEYS, CLAIM)
    assert kid == key_id(KEYS[0]) != old_kid
    assert verify(KEYS, old_kid, old) == verify(KEYS, kid, token) == CLAIM
    assert verify((KEYS[0],), old_kid, old) is None
    assert verify(KEYS, old_kid, token) is None


def test_a_long_text_is_refused_unread() -> None:
    """Nobody can make us decode a megabyte: one character more than the longest token is nonsense."""
    kid, token = mint(KEYS, replace(CLAIM, topic="x" * 249))
    assert verify(KEYS, kid, token) is not None
    assert verify(KEYS, kid, token + "A" * (LONGEST_TOKEN + 1 - len(token))) is None


def test_without_a_key_nothing_is_genuine() -> None:
    """The key that stands in for an unknown one signs nothing: a token made with it is refused."""
    nothing = bytes(32)
    kid, token = mint((nothing,), CLAIM)
    assert verify((), kid, token) is None
    assert verify(KEYS, kid, token) is None


@pytest.mark.parametrize(
    "claim",
    [
        CallbackClaim("t", -1, CLAIM.flow_id, 1, bytes(16)),
        CallbackClaim("t", 0, "not a uuid", 1, bytes(16)),
        CallbackClaim("t", 0, CLAIM.flow_id, 2**33, bytes(16)),
        CallbackClaim("t", 0, CLAIM.flow_id, 1, bytes(15)),
    ],
)
def test_an_impossible_claim_is_not_minted(claim: CallbackClaim) -> None:
    """A claim that the token could not say truly is refused at once."""
    with pytest.raises(ValueError, match=r"bounds|UUID|16 bytes"):
        mint(KEYS, claim)


def test_minting_needs_a_key() -> None:
    """Without a key there are no callbacks."""
    with pytest.raises(ValueError, match="no callback key"):
        mint((), CLAIM)


def test_the_url_is_public_url_and_path() -> None:
    """A path under the public URL stays; its trailing slash does not double."""
    assert callback_url("https://hooks.example.com/r/", "k", "t") == "https://hooks.example.com/r/callbacks/v1/k/t"
