"""Addresses to listen on, and the names by which a browser may call a server there."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from r2p_edge.errors import UsageError

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/@\s]+)(?::\d{1,5})?", re.IGNORECASE)
_EXAMPLE = "127.0.0.1:8080"


@dataclass(frozen=True)
class ListenAddress:
    """An address to listen on.

    Attributes:
        host: name or number as it was given, without brackets.
        port: port; 0 for one that is free.
        address: number that the host stands for.
    """

    host: str
    port: int
    address: str

    @property
    def family(self) -> socket.AddressFamily:
        """Family of the socket."""
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET

    @property
    def loopback(self) -> bool:
        """True if only this machine can connect."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def everywhere(self) -> bool:
        """True if every network of this machine can connect."""
        return ipaddress.ip_address(self.address).is_unspecified

    def url(self, scheme: str, port: int) -> str:
        """Return the address of the first page.

        Args:
            scheme: "http" or "https".
            port: port that was given where `port` is 0.
        """
        host = socket.gethostname() if self.everywhere else self.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"

    def allows(self, host: str) -> bool:
        """Return True if a request may name this host.

        A web site may give its own name the address of this machine, and would then be allowed
        by the browser to read the answers (DNS rebinding). A number in place of the name cannot
        be rebound.

        Args:
            host: header Host of the request.
        """
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]").rstrip(".").lower()
        if name in {"localhost", "127.0.0.1", "::1", self.host.lower(), self.address}:
            return True
        if not self.everywhere:
            return False
        own = socket.gethostname().lower()
        return _is_number(name) or name == own or name.partition(".")[0] == own


def parse_listen(text: str) -> ListenAddress:
    """Return the address that "HOST:PORT" stands for; a host of IPv6 has brackets.

    Raises:
        UsageError: it is no such address, or this machine knows no such host.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not (colon and host and port.isdecimal()) or (":" in host) != bracketed:
        brackets = ", and brackets around a host with colons, as in [::1]:8080"
        raise UsageError(
            f"{text!r} is no address to listen on; give HOST:PORT, such as {_EXAMPLE}"
            f"{brackets if text.count(':') > 1 else ''}"
        )
    if int(port) > 65535:
        raise UsageError(f"the port of {text!r} is above 65535; give a port such as 8080")
    try:
        # IPv4 before IPv6, so that "localhost" is the number that people expect.
        found = sorted(socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"this machine knows no host {host!r} to listen on; give one of its addresses, such "
            f"as {_EXAMPLE}"
        ) from error
    return ListenAddress(host, int(port), str(found[0][4][0]))


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
