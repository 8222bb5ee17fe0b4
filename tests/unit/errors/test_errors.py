"""Errors: their form on the wire, and what is kept of those nobody foresaw."""

import json
import traceback

import msgspec
import pytest

from rakiza.errors import (
    AppError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RateLimitError,
    ServiceUnavailableError,
    TooLargeError,
    UnauthorizedError,
    ValidationError,
    from_validation,
    problem,
    unexpected,
)

TREE = {
    ValidationError: 422,
    UnauthorizedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    TooLargeError: 413,
    ServiceUnavailableError: 503,
}


def test_a_traceback_shows_the_hint() -> None:
    assert traceback.format_exception(ValidationError("no such field", hint="did you mean x?"))[-2:] == [
        "rakiza.errors._tree.ValidationError: no such field\n",
        "hint: did you mean x?\n",
    ]
    assert not hasattr(ValidationError("no such field"), "__notes__")


@pytest.mark.parametrize(("kind", "status"), TREE.items())
def test_the_form_on_the_wire(kind: type[AppError], status: int) -> None:
    body = json.loads(problem(kind("what happened", hint="do this", extra={"current": 1}), "abc"))
    assert (body["status"], body["detail"], body["hint"], body["request_id"], body["current"]) == (status, "what happened", "do this", "abc", 1)
    assert body["message_ar"]
    assert body["code"] == kind.code
    assert body["type"] == "about:blank"


def test_every_kind_has_a_code_of_its_own() -> None:
    assert len({kind.code for kind in TREE}) == len(TREE)


@pytest.mark.parametrize(("seconds", "header"), [(0.01, "1"), (1.0, "1"), (1.2, "2"), (59.0, "59")])
def test_a_limit_says_when_to_come_back(seconds: float, header: str) -> None:
    assert RateLimitError(seconds).headers == {"retry-after": header}


def test_the_unexpected_shows_its_id_only() -> None:
    body = json.loads(problem(unexpected("f00"), "f00"))
    assert body["status"] == 500
    assert "f00" in body["hint"]


class Order(msgspec.Struct):
    lines: list[int]


def test_a_wrong_field_is_named() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(b'{"lines": [1, "two"]}', type=Order)
    error = from_validation(caught.value)
    assert error.status == 422
    assert error.errors == [{"field": "lines[1]", "message_en": "Expected `int`, got `str`", "message_ar": "قيمة غير صحيحة في الحقل lines[1]"}]


def test_what_is_no_json_is_a_bad_request() -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(b"{", type=Order)
    assert from_validation(caught.value).status == 400
