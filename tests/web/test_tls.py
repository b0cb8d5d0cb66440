import contextlib
import os
import shutil
import socket
import ssl
import subprocess

import pytest
from web import ask, say, serving_routes
from weights_server import self_signed

from r2p_edge.errors import UsageError
from r2p_edge.web.tls import tls_context

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A certificate and its key."""
    folder = tmp_path_factory.mktemp("tls")
    self_signed(folder)
    return folder / "certificate.pem", folder / "key.pem"


def client(certificate):
    return ssl.create_default_context(cafile=certificate)


def test_an_answer_comes_over_tls(pair):
    with serving_routes(tls=tls_context(*pair), root="hello") as server:
        assert server.url.startswith("https://127.0.0.1:")
        status, _, body = ask(server, tls=client(pair[0]))
    assert (status, body) == (200, b"hello")


def test_the_cookie_is_for_tls_alone(pair):
    token = "0123456789abcdef"
    with serving_routes(tls=tls_context(*pair), token=token, root="hello") as server:
        status, headers, _ = ask(server, f"/?token={token}", tls=client(pair[0]))
    assert status == 303
    assert "; Secure" in headers["Set-Cookie"]


def test_a_client_without_tls_harms_nobody(pair):
    """Nor does one that connects and then says nothing: the handshake is in its own thread."""
    with serving_routes(tls=tls_context(*pair), root="hello") as server:
        with contextlib.suppress(ConnectionResetError):
            assert b"hello" not in say(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with socket.create_connection(("127.0.0.1", server.port)):
            assert ask(server, tls=client(pair[0]))[0] == 200


def test_both_in_one_file(pair, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(file.read_bytes() for file in pair))
    assert tls_context(both, None) is not None
    assert tls_context(None, None) is None


def test_a_certificate_that_does_not_fit_is_refused(pair, tmp_path):
    certificate, key = pair
    self_signed(tmp_path)
    with pytest.raises(UsageError, match=r"key\.pem is not that of the certificate in .*certif"):
        tls_context(certificate, tmp_path / "key.pem")
    with pytest.raises(UsageError, match=r"no private key in .*certificate\.pem; give --tls-key a"):
        tls_context(certificate, None)
    with pytest.raises(UsageError, match=r"no certificate in .*key\.pem; give --tls-cert a PEM"):
        tls_context(key, certificate)
    text = tmp_path / "text.pem"
    text.write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    with pytest.raises(UsageError, match="certificate and its private key"):
        tls_context(text, key)
    with pytest.raises(UsageError, match=r"absent\.pem cannot be read"):
        tls_context(tmp_path / "absent.pem", key)
    with pytest.raises(UsageError, match="--tls-key is of no use alone"):
        tls_context(None, key)


def test_a_certificate_that_browsers_refuse_for_its_dates(pair, tmp_path, caplog):
    """It is used all the same: at the start of a board without a battery every date is wrong."""
    assert tls_context(*pair) is not None
    assert not caplog.records
    old = tmp_path / "old.pem"
    request = ["openssl", "req", "-new", "-key", pair[1], "-subj", "/CN=box"]
    signed = subprocess.run(request, check=True, capture_output=True).stdout
    command = ["openssl", "x509", "-req", "-signkey", pair[1], "-days", "-1", "-out", old]
    subprocess.run(command, input=signed, check=True, capture_output=True)
    with serving_routes(tls=tls_context(old, pair[1]), root="hello") as server:
        unchecked = ssl._create_unverified_context()
        assert ask(server, tls=unchecked)[0] == 200
    (record,) = caplog.records
    assert record.getMessage() == f"{old}: certificate has expired; browsers will refuse it"


@pytest.mark.skipif(os.name != "posix", reason="needs the modes of files")
def test_a_key_that_everybody_may_read(pair, tmp_path, caplog):
    key = tmp_path / "key.pem"
    key.write_bytes(pair[1].read_bytes())
    key.chmod(0o640)
    tls_context(pair[0], key)
    assert not caplog.records
    key.chmod(0o644)
    tls_context(pair[0], key)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"others may read the private key {key}; chmod 600 makes it yours alone"
    )


def test_a_passphrase_is_not_asked_for(pair, tmp_path):
    certificate, key = pair
    locked = tmp_path / "locked.pem"
    command = ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", key, "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(UsageError, match="without a passphrase"):
        tls_context(certificate, locked)
