"""What stands in for the password of an account that is not there."""

import argon2

from rakiza.security import SecuritySettings
from rakiza.security._passwords import Passwords

PASSWORD = "سبعة جمال تعبر الوادي"


def test_an_unknown_account_costs_what_a_known_one_does_and_lets_nobody_in() -> None:
    settings = SecuritySettings(argon2_memory_kib=1024, argon2_time=2, argon2_parallelism=3)
    passwords = Passwords(settings)
    real, stand_in = passwords.hash(PASSWORD), passwords._stand_in
    assert argon2.extract_parameters(stand_in) == argon2.extract_parameters(real)
    assert passwords.verify(PASSWORD, real) == (True, None)
    assert passwords.verify(PASSWORD, None) == passwords.verify(PASSWORD, stand_in) == (False, None)
    assert Passwords(settings)._stand_in != stand_in
