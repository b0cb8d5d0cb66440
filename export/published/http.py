"""Requests over HTTP by the standard library: one answer or one sentence."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from r2p_edge._version import __version__
from r2p_edge.errors import DownloadError, one_line

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # a server that is busy, or has just been restarted
_BLOCK = 1 << 20  # bytes


class ConnectionLostError(DownloadError):
    """The server cannot be reached, or was lost; it may be there again in a while."""


class RangeError(Exception):
    """The server says that a file does not reach as far as was asked for (416)."""


class Answer:
    """The answer of a server.

    Args:
        response: the answer whose body was not read yet.
        url: where it came from, after all redirects.
    """

    def __init__(self, response: http.client.HTTPResponse, url: str) -> None:
        self._response, self.url, self.status = response, url, response.status

    @property
    def host(self) -> str:
        """The server, for messages."""
        return _host(self.url)

    def header(self, name: str) -> str:
        """Return a header; "" if there is none."""
        return str(self._response.headers.get(name, "")).strip()

    def read(self, most: int = _BLOCK) -> bytes:
        """Return what has come, at most so many bytes; nothing at the end.

        Raises:
            ConnectionLostError: the connection broke off.
        """
        with _lost(self.url):
            return self._response.read1(most)

    def close(self) -> None:
        """Close the connection, whatever is still to come."""
        with contextlib.suppress(OSError):
            self._response.close()


class Extent(NamedTuple):
    """The part of a file that an answer has.

    Attributes:
        start: its first byte.
        total: bytes of the whole file; None if the server does not say.
    """

    start: int
    total: int | None


def extent_of(answer: Answer) -> Extent | None:
    """Return which part of the file an answer has; None if it says so in no way that is known."""
    if answer.status == 206:
        found = re.fullmatch(
            r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", answer.header("Content-Range")
        )
        return None if found is None else Extent(int(found[1]), int(found[2]))
    length = answer.header("Content-Length")
    return Extent(0, int(length) if re.fullmatch(r"\d{1,18}", length) else None)


def open_url(url: str, headers: Mapping[str, str], *, timeout: float) -> Answer:
    """Ask for a file; follow at most five redirects, and none from https to http.

    Proxies are those of the environment (`https_proxy`, `no_proxy`), certificates those of the
    system, or of `SSL_CERT_FILE`.

    Args:
        url: the address.
        headers: more of them.
        timeout: seconds that a server may be silent.

    Raises:
        DownloadError: the server refuses, its certificate is not right, or redirects do not end.
        ConnectionLostError: it cannot be reached, or is busy.
        RangeError: the part that the headers ask for is not in the file.
    """
    opener = _opener()
    for _ in range(_MAX_REDIRECTS + 1):
        request = urllib.request.Request(url, headers={**_HEADERS, **headers})
        try:
            with _lost(url):
                return Answer(opener.open(request, timeout=timeout), url)
        except urllib.error.HTTPError as error:
            with contextlib.closing(error):
                url = _redirected(url, error)
    raise DownloadError(
        f"{_host(url)} redirects more than {_MAX_REDIRECTS} times; fetch the file with a browser, "
        "and give it to r2p-edge weights add"
    )


_HEADERS = {"User-Agent": f"r2p-edge/{__version__}", "Accept-Encoding": "identity"}


def _opener() -> urllib.request.OpenerDirector:
    """Return what speaks HTTP and HTTPS alone, and follows no redirect by itself."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _redirected(url: str, error: urllib.error.HTTPError) -> str:
    """Return where an answer that is no success sends the request."""
    location = error.headers.get("Location")
    if error.code not in _REDIRECTS or not location:
        raise _refusal(url, error)
    try:
        target = urljoin(url, location)
        scheme, host = urlsplit(target).scheme, urlsplit(target).hostname
    except ValueError:
        scheme, host = "", None
    wrong = not host or scheme not in ("http", "https") or not re.fullmatch(r"[\x21-\x7e]+", target)
    if wrong or (scheme == "http" and urlsplit(url).scheme == "https"):
        raise DownloadError(
            f"{_host(url)} redirects to {location!r:.80}, and from https only https is followed; "
            "fetch the file with a browser, and give it to r2p-edge weights add"
        )
    return target


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    """Return the error to raise of a status that is no success."""
    if error.code == 416:
        return RangeError()
    says = f"{_host(url)} answers {error.code} {one_line(Exception(error.reason or ''))[:80]}"
    if error.code in _AGAIN:
        return ConnectionLostError(f"{says}; try again later")
    return DownloadError(
        f"{says} for {urlsplit(url).path[-100:]}; if the file has moved, fetch it with a browser, "
        "and give it to r2p-edge weights add"
    )


@contextlib.contextmanager
def _lost(url: str) -> Iterator[None]:
    """Turn what the libraries raise of a connection into errors of ours."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    # The last two: addresses that no host can have.
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, ssl.SSLError):
            raise DownloadError(
                f"the certificate or the encryption of {_host(url)} is not right "
                f"({one_line(cause)[:200]}); check the date, the proxy and SSL_CERT_FILE of this "
                "machine, or fetch the file elsewhere and give it to r2p-edge weights add"
            ) from error
        said = one_line(cause) if isinstance(cause, BaseException) else str(cause)
        raise ConnectionLostError(
            f"the connection to {_host(url)} is not there or broke off ({said[:200]}); check the "
            "network and the proxy, and try again"
        ) from error


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or url[:80]
    except ValueError:
        return url[:80]
