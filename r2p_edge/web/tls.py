"""The certificate and the key of a server that speaks TLS."""

from __future__ import annotations

import contextlib
import logging
import re
import ssl
from pathlib import Path

from r2p_edge.errors import UsageError, one_line
from r2p_edge.private_files import OTHERS, warn_of_readers

_DATES = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_log = logging.getLogger(__name__)


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Return the TLS of a server; None if neither file is given.

    Args:
        certificate: PEM file of the certificate, and of those between it and its root.
        key: PEM file of its private key, without a passphrase; by default in the same file.

    Raises:
        UsageError: a file is missing or holds something else, the key is not that of the
            certificate, or there is a key alone.
    """
    if certificate is None:
        if key is not None:
            raise UsageError("--tls-key is of no use alone; give --tls-cert too")
        return None
    _check_pem("--tls-cert", certificate, "CERTIFICATE", "certificate")
    _check_pem("--tls-key", key or certificate, "PRIVATE KEY", "private key")
    warn_of_readers("the private key", key or certificate, OTHERS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown = f"{certificate}" if key is None else f"{certificate} and {key}"
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UsageError(
                f"the key in {key or certificate} is not that of the certificate in {certificate}; "
                "give the two files that were made together"
            ) from error
        raise UsageError(
            f"{shown} cannot be used for TLS ({one_line(error)}); give a certificate and its "
            "private key in PEM files"
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{shown} cannot be used for TLS ({one_line(error)}); give a certificate and a private "
            "key without a passphrase in PEM files"
        ) from error
    _warn_of_dates(certificate, context)
    return context


def _warn_of_dates(certificate: Path, context: ssl.SSLContext) -> None:
    """Log a warning where browsers will refuse a certificate for its dates.

    It is no error, since a board without a battery starts with a clock that is wrong. OpenSSL looks
    at the dates where a client does, so one shakes hands with the server in memory.
    """
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    asked, answered = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        trusting.load_verify_locations(certificate)
        client = trusting.wrap_bio(answered, asked)
        server = context.wrap_bio(asked, answered, server_side=True)
        for side in (client, server, client):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _DATES:
            _log.warning("%s: %s; browsers will refuse it", certificate, error.verify_message)
    except ssl.SSLError as error:  # of another reason, by which it may still serve
        _log.debug("%s could not be tried: %s", certificate, error)


def _check_pem(option: str, file: Path, kind: str, what: str) -> None:
    """Check that a PEM file has something of a kind in it, of which OpenSSL does not tell."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror}); give {option} an existing PEM file"
        ) from error
    if re.search(rf"-----BEGIN [A-Z0-9 ]*{kind}-----".encode(), content) is None:
        raise UsageError(f"there is no {what} in {file}; give {option} a PEM file that has one")


def _no_passphrase() -> str:
    """Raise ValueError: OpenSSL would ask on the terminal, where a service has nobody."""
    raise ValueError("the key has a passphrase")
