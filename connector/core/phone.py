"""Phone numbers: what events hold, to E.164. No number ever appears in an error."""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult

from connector.errors import Unbuildable

_WRITTEN = re.compile(r"(?![\-\u2010-\u2015])[+\uff0b]?[\d\s().\-/\u00a0\u2010-\u2015]+")
_NOT_DIGITS = re.compile(r"\D", re.ASCII)

# National numbers of ten digits and fewer (Greece, the United States, the United Kingdom …) read as valid numbers of other countries
# when a "+" is put before them; a message to a stranger is worse than a dead letter.
_FEWEST_BARE_DIGITS = 11
_LONGEST = 64


def digits(phone: str) -> str:
    """Only the ASCII digits of a number: the form in which numbers from different sources are compared."""
    return _NOT_DIGITS.sub("", phone)


def e164(phone: str | None, default_region: str | None = None) -> str:
    """``+`` and digits of ``+30 691…``, ``0030691…``, ``30691…`` (eleven digits or more), or a national number of ``default_region``.

    A number is taken when its length is possible in its country; whether it is in use, the network says (number plans move faster than
    libraries). Digits without a prefix must be valid by the plan. Raises Unbuildable: PHONE_MISSING, PHONE_UNPARSABLE, PHONE_INVALID,
    PHONE_NO_COUNTRY.
    """
    if phone is None or not phone.strip():
        raise Unbuildable("PHONE_MISSING", "there is no phone number")
    return _normalised(phone.strip(), default_region)


@lru_cache(maxsize=16_384)
def _normalised(phone: str, region: str | None) -> str:
    if len(phone) > _LONGEST or not _WRITTEN.fullmatch(phone):
        raise Unbuildable("PHONE_UNPARSABLE", "the phone number holds something else than digits, spaces, dashes, dots, brackets")
    international, bare = _international(phone, region)
    try:
        number = phonenumbers.parse(international, region)
    except NumberParseException as error:
        reason = "PHONE_NO_COUNTRY" if error.error_type == NumberParseException.INVALID_COUNTRY_CODE else "PHONE_UNPARSABLE"
        raise Unbuildable(reason, "the phone number has no country code that exists, or is no number") from None
    if bare and not phonenumbers.is_valid_number(number):
        raise Unbuildable("PHONE_NO_COUNTRY", "the phone number has no country code: write + or 00 before it")
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        raise Unbuildable("PHONE_INVALID", "the phone number is too short or too long for its country")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _international(phone: str, region: str | None) -> tuple[str, bool]:
    """The number with + where that is how it must be read, and whether the + was only supposed."""
    if phone[0] in "+\uff0b":
        return phone, False
    only = digits(phone)
    if only.startswith("00"):
        return "+" + only[2:], False
    if region is not None:
        return phone, False
    if len(only) < _FEWEST_BARE_DIGITS or only.startswith("0"):
        raise Unbuildable("PHONE_NO_COUNTRY", "the phone number has no country code: write + or 00 before it")
    return "+" + only, True
