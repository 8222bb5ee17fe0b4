"""Times, names, envelopes and ETags."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import Request, RequestContext, Response, json_response
from rakiza.caching import conditional, etag
from rakiza.caching._core import FORMAT, Stored, lifetime, pack, schema_of, unpack, valid, verdict


@given(ttl=st.floats(0.001, 1e6), stale=st.floats(0, 1e6), chance=st.floats(0, 1, exclude_max=True))
def test_a_life_is_never_longer_than_was_asked(ttl: float, stale: float, chance: float) -> None:
    life = lifetime(ttl, stale, 0.8, chance)
    assert ttl * 0.9 <= life.fresh <= ttl
    assert life.eager == life.fresh * 0.8
    assert life.stale == stale


def stored(**more: object) -> Stored:
    times = {"created": 1, "fresh": 2, "stale": 3}
    fields: dict[str, object] = {"format": FORMAT, "schema": "", **times, "tags": ("مشروع:1",), "tokens": (b"a", b"b")}
    return Stored(**{**fields, **more}, value=msgspec.Raw(msgspec.msgpack.encode({"اسم": 1})))  # type: ignore[arg-type]


def test_what_is_packed_is_unpacked() -> None:
    found = unpack(pack(stored()))
    assert found is not None
    assert (found.tags, found.tokens, msgspec.msgpack.decode(found.value)) == (("مشروع:1",), (b"a", b"b"), {"اسم": 1})
    assert unpack(None) is None
    assert unpack(pack(stored(format=FORMAT + 1))) is None


@given(st.binary(max_size=200))
def test_foreign_bytes_are_nothing(raw: bytes) -> None:
    found = unpack(raw)
    assert found is None or isinstance(found, Stored)


@given(st.data())
def test_damaged_bytes_never_raise(data: st.DataObject) -> None:
    raw = bytearray(pack(stored()))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 255))
    unpack(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    unpack(bytes(raw))


def test_a_value_is_worth_something_while_all_its_tokens_are_the_same() -> None:
    assert valid(stored(), [b"a", b"b"])
    for tokens in ([b"a", b"c"], [b"a"], [b"a", None], [None, b"b"], [b"b", b"a"], []):
        assert not valid(stored(), tokens)


def test_a_changed_type_has_another_schema() -> None:
    def kind(**fields: type) -> type:
        return msgspec.defstruct("View", list(fields.items()))

    assert schema_of(kind(a=int)) == schema_of(kind(a=int))
    assert len({schema_of(kind(a=int)), schema_of(kind(a=str)), schema_of(kind(b=int)), schema_of(kind(a=int, b=int))}) == 4
    assert schema_of(list[int]) != schema_of(dict[str, int])


def test_hit_rates_are_judged_as_specified() -> None:
    judged = {rate: verdict(rate) for rate in (0, 69.9, 70, 79.9, 80, 89.9, 90, 100)}
    assert list(judged.values()) == ["low", "low", "fair", "fair", "good", "good", "excellent", "excellent"]


def asked(tag: str = "", method: str = "GET") -> Request:
    headers = {b"if-none-match": tag.encode()} if tag else {}
    return Request(method, "/", headers, RequestContext("r", "t", "s"))


def answer(request: Request) -> tuple[int, bytes, dict[bytes, bytes]]:
    response = conditional(request, json_response({"المشروع": "فيلا"}))
    return response.status, response.body, dict(response.headers)


def test_a_client_that_has_the_body_is_not_sent_it_again() -> None:
    status, body, headers = answer(asked())
    assert (status, headers[b"cache-control"]) == (200, b"private, no-cache")
    tag = headers[b"etag"].decode()
    assert tag == etag(body)
    for said in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        status, body, headers = answer(asked(said))
        assert (status, body, headers[b"etag"].decode()) == (304, b"", tag)
    assert answer(asked('"other"'))[0] == 200
    assert b"etag" not in answer(asked(tag, "POST"))[2]


@pytest.mark.parametrize("response", [Response(b"x", 404), Response(stream=[b"x"])], ids=["404", "stream"])
def test_what_has_no_lasting_body_gets_no_tag(response: Response) -> None:
    assert b"etag" not in dict(conditional(asked(), response).headers)
