"""Events as HTTP requests to a server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import string
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from r2p_edge._version import __version__
from r2p_edge.addresses import is_address
from r2p_edge.errors import UsageError, one_line
from r2p_edge.watch.delivery import DeliveryError

_TIMEOUT = 5.0  # seconds that a server may take to answer

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds from one attempt to the next; then an event is given up."""

_TRY_AGAIN = (408, 425, 429)  # answers that do not mean that the request is wrong


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would turn a POST into a GET, and show the event to another."""

    def redirect_request(self, *_: Any) -> None:
        return None


class WebhookSink:
    """A server to which each event is posted as JSON, until it answers 2xx.

    `Idempotency-Key` is the same in each attempt, and for no other event. With a secret,
    `X-Hub-Signature-256` is "sha256=" and the HMAC-SHA256 of the body in hexadecimal digits, as
    GitHub signs its webhooks.

    Args:
        url: address of the server; a user and password in it become HTTP's basic authentication.
        secret: shared with the server.
        wait: waits for an event, so many seconds at most, and returns True once it is set.

    Raises:
        UsageError: it is no address of HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | None = None,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        try:
            parts = urllib.parse.urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            parts, port = urllib.parse.urlsplit(""), ""
        if parts.scheme not in ("http", "https") or not is_address(url, parts.hostname):
            raise UsageError(
                "the address of the webhook is not one of HTTP; expected http://HOST/PATH or "
                "https://HOST/PATH"
            )
        assert parts.hostname is not None
        host = parts.hostname.encode("idna").decode()
        host = f"[{host}]" if ":" in host else host
        # The path of many such addresses is the password to it.
        self.name = f"the webhook {parts.scheme}://{host}{port}"
        address = urllib.parse.urlunsplit(parts._replace(netloc=f"{host}{port}", fragment=""))
        self._url = urllib.parse.quote(address, safe=string.punctuation)
        self._secret, self._wait = secret, wait
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"r2p_edge/{__version__}",
        }
        if parts.username is not None:
            login = f"{parts.username}:{parts.password or ''}"
            encoded = base64.b64encode(urllib.parse.unquote(login).encode()).decode()
            self._headers["Authorization"] = f"Basic {encoded}"
        self._opener = urllib.request.build_opener(_NoRedirect)

    def send(self, message: Mapping[str, Any], stop: threading.Event) -> None:
        """Post a message, again and again if need be; see `Sink`."""
        body = json.dumps(message, ensure_ascii=False).encode()
        headers = {
            **self._headers,
            "Idempotency-Key": f"{message.get('id')}.{message.get('type')}",
            "X-R2P-Event": str(message.get("type")),
        }
        if self._secret is not None:
            digest = hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()
            headers["X-Hub-Signature-256"] = f"sha256={digest}"
        for pause in (*PAUSES, None):
            cause, again = self._post(body, headers)
            if cause is None:
                return
            if not again or pause is None or self._wait(stop, pause):
                raise DeliveryError(cause)

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[str | None, bool]:
        """Post a body once; return why it was not taken, if so, and whether to try again."""
        request = urllib.request.Request(self._url, body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=_TIMEOUT):
                return None, False
        except urllib.error.HTTPError as error:
            with error:
                again = error.code >= 500 or error.code in _TRY_AGAIN
                return f"the server answered {error.code}", again
        except urllib.error.URLError as error:
            reason = error.reason
            return (one_line(reason) if isinstance(reason, Exception) else str(reason)), True
        except (OSError, http.client.HTTPException) as error:
            return one_line(error), True

    def close(self) -> None:
        """Release nothing; see `Sink`."""
