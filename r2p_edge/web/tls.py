"""The certificate and the key of a server that speaks TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from r2p_edge.errors import UsageError, one_line


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
    for option, file in (("--tls-cert", certificate), ("--tls-key", key)):
        if file is not None:
            _check_readable(option, file)
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
    return context


def _check_readable(option: str, file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror}); give {option} an existing PEM file"
        ) from error


def _no_passphrase() -> str:
    """Raise ValueError: OpenSSL would ask on the terminal, where a service has nobody."""
    raise ValueError("the key has a passphrase")
