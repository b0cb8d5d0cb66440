"""Addresses and pipelines as they may be shown: with `***` in place of what must stay secret."""

from __future__ import annotations

import re
from typing import Any

_HIDDEN = "***"
_UNPRINTED = re.compile(r"[\x00-\x20\x7f]")
_LONGEST = 2000  # of a password; it bounds the time that a text takes which is made to be slow

# "rtsp:/" and "rtsp//" are typing errors, and their messages are read by others too.
_SCHEME = r"(?:://|\b(?:rtsps?|rtmp[st]?|https?|s?ftp|srt|rtp|udp|tcp|tls|mms[ht]?)(?::/{0,2}|//))"
_ADDRESS = re.compile(_SCHEME, re.IGNORECASE)
_USER = rf"(?!\[)[^\s/?#:@\"']{{0,{_LONGEST}}}(?::|%3A)"  # "[" begins an address of IPv6
_PORT = r"\d{1,5}(?=[/?#\s\"']|$)"  # in place of a password
_LOGINS = [
    # As FFmpeg reads it, the last "@" before the path ends the password. One that has "/", "?" or
    # "#" in it, which FFmpeg does not understand, ends at the last "@" of all.
    rf"({_SCHEME}){_USER}(?!{_PORT})(?:[^\s/?#]{{0,{_LONGEST}}}|\S{{0,{_LONGEST}}})(@)",
    # With spaces in it, where the address begins a text or a quotation.
    rf"((?:^|[\"'])[\w+.-]*{_SCHEME}){_USER}(?!{_PORT})[^/?#\"'\n]*(@)",
    # In an address that is a parameter of another.
    rf"(%3A%2F%2F)(?:(?!%3A|%2F|%40)[^\s&/@:]){{0,{_LONGEST}}}(?:%3A|:)"
    rf"(?:(?!%2F)[^\s&]){{0,{_LONGEST}}}(%40|@)",
    # A user alone; a multicast address has none before its "@".
    rf"(://)[^\s/?#:@\"'*]{{1,{_LONGEST}}}(@)",
]
_WORD = r"(?:passw(?:or)?d|passphrase|passcode|pwd|pswd?|secret|token|signature|credentials?)"
_USER_NAME = r"(?:user(?:[-_]?(?:name|id))?|usr|login(?:use)?)"
_SHORT = rf"(?:{_USER_NAME}|pass?|pw|auth(?:orization)?|sig|key|jwt|hmac|streamid)"
_NAME = (
    rf"(?:[\w.-]*{_WORD}[\w-]*|(?:[\w.-]*[-_.])?(?:login|user|api|access|secret|stream)?{_SHORT})"
)
_VALUE = (
    r"(?:\(\w+\)\s*)?"  # GStreamer's name of a type
    r"(?:\\\"[^\"\\]*\\\"|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
    r"|(?:[^\s&\"'\\]|\\.|[\"'](?![\s&]|$))+)"
)
# The values of parameters of addresses, and of properties of GStreamer's elements.
_SETTING = rf"(?<![\w.-])({_NAME}(?:\s*=\s*|%3D)){_VALUE}()"
_SECRETS = [re.compile(pattern, re.IGNORECASE) for pattern in [*_LOGINS, _SETTING]]


def without_password(text: str) -> str:
    """Return a text with `***` for users and passwords of the addresses and pipelines in it.

    So are the values of parameters that by their name hold a user, a password, a key or a token. A
    text without an address or pipeline stays as it is.
    """
    if _ADDRESS.search(text) or " ! " in text or "%3a%2f%2f" in text.lower():
        for secret in _SECRETS:
            text = secret.sub(rf"\1{_HIDDEN}\2", text)
    return text


def is_address(text: str, host: str | None) -> bool:
    """Return True if a text may be the address of a server, as far as its letters tell.

    Libraries raise errors of many kinds where a host has an empty part, or an address a space.

    Args:
        text: the address.
        host: its host, as `urllib.parse` finds it.
    """
    if not host or _UNPRINTED.search(text):
        return False
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def shortened(value: object, length: int = 80) -> str:
    """Return the beginning of a value's `repr`; a password that it would cut is not shown."""
    return without_password(repr(value))[:length]


def json_without_password(data: Any) -> Any:
    """Return plain JSON types after `without_password` of each text."""
    if isinstance(data, str):
        return without_password(data)
    if isinstance(data, dict):
        return {name: json_without_password(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [json_without_password(value) for value in data]
    return data


def hide_password(error: Exception) -> None:
    """Take the passwords out of the arguments of FFmpeg's exception, which tracebacks show."""
    error.args = tuple(map(json_without_password, error.args))
