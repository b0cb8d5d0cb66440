import base64
import os
from email.message import Message

import pytest

from r2p_edge.errors import UsageError
from r2p_edge.web.access import Access, check_exposure, read_token
from r2p_edge.web.listen import parse_listen

TOKEN = "correct-horse-battery-staple"


def headers(**values):
    message = Message()
    for name, value in values.items():
        message[name] = value
    return message


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_token_is_the_first_line_of_its_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"  {TOKEN}  \na second line\n")
    assert read_token(str(file)) == TOKEN


@pytest.mark.skipif(os.name != "posix", reason="needs the modes of files")
def test_a_file_that_others_may_read_is_warned_of(tmp_path, caplog):
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    read_token(str(file))
    assert not caplog.records
    file.chmod(0o644)
    assert read_token(str(file)) == TOKEN
    (record,) = caplog.records
    assert f"others may read the token file {file}" in record.getMessage()
    assert TOKEN not in record.getMessage()


def test_a_made_token_is_another_each_time():
    tokens = {read_token("auto") for _ in range(20)}
    assert len(tokens) == 20
    assert all(len(token) == 43 for token in tokens)  # 256 bits in base64
    assert read_token(None) is None


@pytest.mark.parametrize(
    "content", [b"", b"short", b"has a space in it, though it is long", b"\xff" * 40, b"x" * 600]
)
def test_a_file_without_a_token_is_refused_and_not_shown(tmp_path, content):
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(UsageError) as raised:
        read_token(str(file))
    assert str(file) in str(raised.value)
    assert content.decode("latin-1") not in str(raised.value) or not content


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_token(str(tmp_path / "absent"))


@pytest.mark.parametrize("text", ["0.0.0.0:80", "[::]:80", "192.0.2.7:80"])
def test_others_may_not_connect_without_a_token(text):
    with pytest.raises(UsageError, match="--token-file"):
        check_exposure(parse_listen(text), None)
    check_exposure(parse_listen(text), TOKEN)
    check_exposure(parse_listen("127.0.0.1:80"), None)


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer   {TOKEN} ", True),
        (basic("anybody", TOKEN), True),
        (basic("", TOKEN), True),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        ("Bearer", False),
        ("Bearer \xff\xfe", False),
        (TOKEN, False),
        (basic(TOKEN, "x"), False),
        ("Basic ???", False),
        ("Basic YQ", False),
        (f"Digest {TOKEN}", False),
        ("", False),
    ],
)
def test_the_header_is_that_of_a_bearer_or_a_password(value, right):
    access = Access(TOKEN, 80, secure=False)
    assert access.in_header(headers(Authorization=value)) is right


def test_a_cookie_stands_for_the_token_and_is_not_the_token():
    access = Access(TOKEN, 80, secure=False)
    cookie = access.set_cookie()
    assert TOKEN not in cookie
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    pair = cookie.split("; ")[0]
    assert access.in_cookie(headers(Cookie=f"other=1; {pair}"))
    assert not access.in_cookie(headers(Cookie=pair[:-1]))
    assert not access.in_cookie(headers())
    assert not Access(TOKEN[1:], 80, secure=False).in_cookie(headers(Cookie=pair))
    # Two programs on one machine get each other's cookies.
    assert not Access(TOKEN, 81, secure=False).in_cookie(headers(Cookie=pair))
    assert "Secure" in Access(TOKEN, 80, secure=True).set_cookie().split("; ")


def test_without_a_token_nothing_is_one():
    access = Access(None, 80, secure=False)
    assert not access.asked
    assert not access.is_token("")
    assert not access.is_token("None")
