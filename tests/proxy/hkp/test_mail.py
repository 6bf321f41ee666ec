"""Requests for mail: whoever is to get one is found, however the request is written."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.hkp.bodies import BadBody
from proxy.hkp.mail import ADDRESS_FIELDS, MOST_ADDRESSES, MOST_BYTES, MOST_FIELDS, MailReader
from tests.certs_for_tests import cut

JSON, FORM, PLAIN = b"application/json", b"application/x-www-form-urlencoded", b"text/plain"
ALICE, BOB = "alice@example.org", "bob@example.org"


def read(body: bytes, content_type: bytes | None = None, *, places: tuple[int, ...] = ()) -> tuple[str, ...] | int:
    """Return who is to get mail, or the status of the refusal; `places`: where the body is cut."""
    reader = MailReader(content_type)
    try:
        for piece in cut(body, places):
            reader.feed(piece)
        return reader.finish().addresses
    except BadBody as bad:
        return bad.status


# Body, its content type, who is to get mail.
REQUESTS = {
    "VKS": (b'{"token": "t", "addresses": ["alice@example.org", "bob@example.org"]}', JSON, (ALICE, BOB)),
    "VKS, one": (b'{"addresses": "alice@example.org", "token": "t", "locale": ["de_DE"]}', JSON, (ALICE,)),
    "VKS, with a charset": (b'{"addresses": ["alice@example.org"]}', b"Application/JSON; charset=utf-8", (ALICE,)),
    "Hagrid's page": (b"token=t&address=alice%40example.org", FORM, (ALICE,)),
    "Hagrid's page of mails": (b"search_term=alice%40example.org", FORM, (ALICE,)),
    "sendtoken, plain": (b"alice@example.org\n", PLAIN, (ALICE,)),
    "sendtoken, untyped": (b"alice@example.org", None, (ALICE,)),
    "sendtoken, JSON text": (b'"alice@example.org"', JSON, (ALICE,)),
    "sendtoken, JSON list": (b'["alice@example.org", "bob@example.org"]', JSON, (ALICE, BOB)),
    "sendtoken, form": (b"email=alice%40example.org", FORM, (ALICE,)),
    "untyped form": (b"address=alice%40example.org", None, (ALICE,)),
    "untyped JSON": (b'{"addresses": ["alice@example.org"]}', None, (ALICE,)),
    "an equals sign in an address": (b"a=b@example.org", PLAIN, ("a=b@example.org",)),
    "a plus in an address": (b"address=alice%2Bpgp%40example.org", FORM, ("alice+pgp@example.org",)),
}


@pytest.mark.parametrize(("body", "content_type", "addresses"), REQUESTS.values(), ids=REQUESTS)
def test_requests(body: bytes, content_type: bytes | None, addresses: tuple[str, ...]) -> None:
    """Each keyserver has its own way to be asked; all are read, whole and byte by byte."""
    assert read(body, content_type) == addresses
    assert read(body, content_type, places=tuple(range(len(body)))) == addresses


@pytest.mark.parametrize(
    "text",
    [
        "ALICE@Example.ORG",
        " alice@example.org\t",
        "<alice@example.org>",
        "Alice <alice@example.org>",
        "Other Name < Alice@example.org >",
        '"<bob@example.org>" <alice@example.org>',
    ],
)
@pytest.mark.parametrize("kind", ["json", "form", "plain"])
def test_spellings_of_one_address(text: str, kind: str) -> None:
    """Case, spaces and a name around it make no other address of one: it gets one mail, not one for each spelling."""
    bodies = {
        "json": (json.dumps({"addresses": [text, ALICE]}).encode(), JSON),
        "form": (urlencode({"address": text}).encode(), FORM),
        "plain": (text.encode(), PLAIN),
    }
    assert read(*bodies[kind]) == (ALICE,)


# What somebody might write so that we read one address and the keyserver another.
HIDDEN = {
    "form in a JSON text": (b'"x&address=alice@example.org&y"', FORM),
    "form in a JSON text, untyped": (b'"x&address=alice@example.org&y"', None),
    "JSON in a form": (b'{"addresses": ["alice@example.org"], "token": "&address=bob@example.org"}', JSON),
    "equal names in JSON": (b'{"addresses": ["alice@example.org"], "addresses": ["bob@example.org"]}', JSON),
    "names in capitals": (b'{"Addresses": ["alice@example.org"], "addresses": ["bob@example.org"]}', JSON),
    "escaped name in JSON": (b'{"\\u0061ddresses": ["alice@example.org"]}', JSON),
    "equal names in a form": (b"address=alice@example.org&address=bob@example.org", FORM),
    "escaped name in a form": (b"%61ddress=alice@example.org", FORM),
    "part of a field": (b"address.x=alice@example.org&address=bob@example.org", FORM),
    "member of a field": (b"address[0]=alice@example.org&address=bob@example.org", FORM),
    "both fields": (b"email=bob@example.org&address=alice@example.org", FORM),
}


@pytest.mark.parametrize(("body", "content_type"), HIDDEN.values(), ids=HIDDEN)
def test_nobody_is_hidden(body: bytes, content_type: bytes | None) -> None:
    """Whichever of two readings a server takes, the address in it was counted."""
    found = read(body, content_type)
    assert isinstance(found, tuple)
    assert ALICE in found


# Body, its content type, status.
REFUSED = {
    "nothing": (b"", None, 422),
    "no address": (b'{"token": "t", "addresses": []}', JSON, 422),
    "an object that is a number": (b'{"addresses": 7}', JSON, 422),
    "broken JSON": (b'{"addresses": ["alice@example.org"]', JSON, 422),
    "two objects": (b'{"addresses": ["alice@example.org"]}{}', JSON, 422),
    "a long number": (b'{"a": ' + b"9" * 5000 + b', "addresses": ["alice@example.org"]}', JSON, 422),
    "deep JSON": (b"[" * 8000 + b"]" * 8000, JSON, 422),
    "a form with another field": (b"keytext=alice@example.org", FORM, 422),
    "form that says it is JSON": (b"address=alice@example.org", JSON, 422),
    "a form of many fields": (b"&".join([b"address=alice@example.org"] * (MOST_FIELDS + 1)), FORM, 413),
    "many fields, untyped": (b"&".join([b"a=b"] * (MOST_FIELDS + 1)), None, 413),
    "long": (b"a" * (MOST_BYTES + 1), PLAIN, 413),
    "many": (json.dumps([f"{each}@example.org" for each in range(MOST_ADDRESSES + 1)]).encode(), JSON, 413),
}


@pytest.mark.parametrize(("body", "content_type", "status"), REFUSED.values(), ids=REFUSED)
def test_refused(body: bytes, content_type: bytes | None, status: int) -> None:
    """A request in which nobody is found, or a crowd, does not reach the keyserver."""
    assert read(body, content_type) == status
    assert read(body, content_type, places=(1, 2, len(body) // 2)) == status


def test_what_is_just_allowed() -> None:
    """The bounds themselves may be reached; equal addresses count once."""
    many = [f"{each}@example.org" for each in range(MOST_ADDRESSES)]
    assert read(json.dumps(many * 2).encode(), JSON) == tuple(many)
    assert read(b"&".join([b"x=y"] * (MOST_FIELDS - 1) + [b"address=alice@example.org"]), FORM) == (ALICE,)
    assert read(b"a" * MOST_BYTES, PLAIN) == ("a" * MOST_BYTES,)


def test_texts_of_refusals() -> None:
    """What a client is told is one plain line without the words that clients look for."""
    for body, content_type, _ in REFUSED.values():
        reader = MailReader(content_type)
        with pytest.raises(BadBody) as refused:  # noqa: PT012 - some at once, some at the end
            reader.feed(body)
            reader.finish()
        assert refused.value.text.isascii()
        assert refused.value.text.isprintable()
        assert not any(word in refused.value.text.lower() for word in ("too many", "insufficient", "no keys found"))


bodies = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet='{}[]",:&=%.\\u0dD8<>@ abE', max_size=60).map(str.encode),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(alphabet=st.characters(), max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(st.sampled_from(sorted(ADDRESS_FIELDS)), inner, max_size=3),
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@given(bodies, st.sampled_from([None, JSON, FORM, PLAIN]), st.integers(0, 200))
@example(b'["\\ud800@example.org"]', JSON, 0)
@example(b'["\\udc80@example.org"]', JSON, 0)
@example(b"address=%ED%A0%80", FORM, 0)
def test_any_body(body: bytes, content_type: bytes | None, place: int) -> None:
    """Whatever comes, there is an answer, the same wherever it is cut: texts that can be counted, each once."""
    found = read(body, content_type)
    assert read(body, content_type, places=(place,)) == found
    if isinstance(found, int):
        assert found in {413, 422}
        return
    assert 0 < len(found) <= MOST_ADDRESSES
    assert len(set(found)) == len(found)
    for each in found:
        assert each == each.strip()
        assert "<" not in each
        each.encode()  # half a character could not be hashed


@given(st.lists(st.emails(), min_size=1, max_size=MOST_ADDRESSES), st.sampled_from(sorted(ADDRESS_FIELDS)))
def test_every_address_is_found(addresses: list[str], field: str) -> None:
    """All that are asked for are found, in JSON and in a form."""
    wanted = tuple(dict.fromkeys(each.lower() for each in addresses))
    assert read(json.dumps({field: addresses}).encode(), JSON) == wanted
    assert read(urlencode([(field, each) for each in addresses]).encode(), FORM) == wanted
