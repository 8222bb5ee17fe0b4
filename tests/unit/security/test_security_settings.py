"""Settings of the room, above all the operator's key."""

import secrets

import pytest

from rakiza._kernel import SettingsError, SettingsReader
from rakiza.security import SecuritySettings


def read(**environ: str) -> SecuritySettings:
    return SettingsReader(environ=environ, dotenv={}).read(SecuritySettings)


WEAK = ["changeme", "abcdefghijklmnopqrs", "a" * 40, "abcd" * 10]
WEAK += ["مفتاح سري طويل جدا للمشغل الوحيد", "has a space in it 1234567890"]


@pytest.mark.parametrize("key", WEAK)
def test_a_weak_operator_key_stops_the_start_and_is_not_shown(key: str) -> None:
    with pytest.raises(SettingsError, match="OPS_API_KEY") as caught:
        read(OPS_API_KEY=key)
    assert key not in str(caught.value)


def test_a_strong_key_is_taken_and_never_shown() -> None:
    key = secrets.token_urlsafe(32)
    settings = read(OPS_API_KEY=key, APP_ENV="development")
    assert (settings.ops_api_key, settings.environment) == (key, "development")
    assert key not in repr(settings)


def test_the_environment_names_are_the_documented_ones() -> None:
    assert read(RAKIZA_SECURITY_SESSION_IDLE_MINUTES="15").session_idle_minutes == 15
    assert read().environment == "production"


OPEN = [("SESSION_IDLE_MINUTES", "0"), ("PASSWORD_MIN_LENGTH", "4")]
OPEN += [("HASHING_THREADS", "-1"), ("ARGON2_PARALLELISM", "9999")]


@pytest.mark.parametrize(("name", "value"), OPEN)
def test_values_that_open_the_house_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError):
        read(**{f"RAKIZA_SECURITY_{name}": value})
