"""Tokens: how one is read or made, and the requests that carry it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from email.message import Message
from pathlib import Path

from r2p_edge.errors import UsageError
from r2p_edge.private_files import warn_of_readers
from r2p_edge.web.listen import ListenAddress

AUTO = "auto"
"""The word, in place of a file, for a token that is made at each start."""

_SHORTEST = 16  # characters of a token; one that is made has 43
_LONGEST = 512
_TOKEN = re.compile(r"[!-~]+")


def read_token(option: str | None) -> str | None:
    """Return the token that `--token-file` gives: that of a file, a new one, or none.

    Args:
        option: path of a file whose first line is the token; "auto" for a random token of 256
            bits; None for none.

    Raises:
        UsageError: the file cannot be read, or its first line is no token. The message does not
            show it.
    """
    if option is None:
        return None
    if option == AUTO:
        return secrets.token_urlsafe(32)
    try:
        with Path(option).open(encoding="utf-8") as file:
            token = file.readline(_LONGEST + 2).strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(
            f"the token file {option or repr(option)} cannot be read ({reason}); give a file whose "
            "first line is the token, or auto"
        ) from error
    if not (_SHORTEST <= len(token) <= _LONGEST and _TOKEN.fullmatch(token)):
        raise UsageError(
            f"the first line of {option} is no token; put {_SHORTEST} to {_LONGEST} letters, "
            "digits or signs there, without spaces, such as openssl rand -hex 32 prints"
        )
    warn_of_readers("the token file", option)
    return token


def check_exposure(listen: ListenAddress, token: str | None) -> None:
    """Raise UsageError where others than this machine could connect without a token."""
    if token is None and not listen.loopback:
        raise UsageError(
            f"{listen.host} can be reached from other machines and there is no token; give "
            "--token-file FILE or --token-file auto, or listen on 127.0.0.1"
        )


class Access:
    """The check of what requests carry against one token.

    Args:
        token: the token; None lets everybody in.
        port: port of the server: browsers send the cookies of all ports of a host to each.
        secure: True if the server speaks TLS.
    """

    def __init__(self, token: str | None, port: int, *, secure: bool) -> None:
        self._token = None if token is None else token.encode()
        self._name = f"r2p_edge_{port}"
        # Not the token itself, which a browser keeps in a file.
        self._cookie = hmac.new(self._token or b"", b"r2p_edge cookie", hashlib.sha256).hexdigest()
        self._secure = secure

    @property
    def asked(self) -> bool:
        """True if a token is needed."""
        return self._token is not None

    def is_token(self, text: str) -> bool:
        """Return True if a text is the token, in a time that does not depend on the text."""
        given = text.encode("utf-8", "replace")
        return self._token is not None and hmac.compare_digest(given, self._token)

    def in_header(self, headers: Message) -> bool:
        """Return True if the header Authorization has the token.

        It is that of a bearer, or the password of any user (Basic), for programs that have fields
        for no more than these two.
        """
        scheme, _, value = headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() == "basic":
            try:
                value = base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace")
            except (binascii.Error, ValueError):
                return False
            return self.is_token(value.partition(":")[2])
        return scheme.lower() == "bearer" and self.is_token(value.strip())

    def in_cookie(self, headers: Message) -> bool:
        """Return True if the header Cookie has the cookie of `set_cookie`."""
        for pair in headers.get("Cookie", "").split(";"):
            name, _, value = pair.strip().partition("=")
            given = value.encode("utf-8", "replace")
            if name == self._name and hmac.compare_digest(given, self._cookie.encode()):
                return True
        return False

    def set_cookie(self) -> str:
        """Return the header Set-Cookie, whose cookie stands for the token until the browser ends.

        Scripts cannot read it, and a browser sends it with no request that another site makes.
        """
        secure = "; Secure" if self._secure else ""
        return f"{self._name}={self._cookie}; Path=/; HttpOnly; SameSite=Strict{secure}"
