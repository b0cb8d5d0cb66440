"""Users and passwords: where they come from, where they go, and that nothing shows them."""

import pytest

from r2p_edge.errors import UsageError
from r2p_edge.live.credentials import Credentials, Login, read_credentials

SECRET = 'p@ss/w\u00f6rd"'
QUOTED = "p%40ss%2Fw%C3%B6rd%22"
LOGIN = Login("admin", SECRET)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("rtsp://10.0.0.7/one", f"rtsp://admin:{QUOTED}@10.0.0.7/one"),
        ("rtsp://old:other@10.0.0.7/@", f"rtsp://admin:{QUOTED}@10.0.0.7/@"),
        ("HTTP://[fe80::1]:80", f"HTTP://admin:{QUOTED}@[fe80::1]:80"),
        (0, 0),
        ("clip.mp4", "clip.mp4"),
        ("v4l2src ! appsink", "v4l2src ! appsink"),
    ],
)
def test_an_address_gets_the_login_of_all(source, expected):
    assert Credentials(LOGIN).applied(None, source) == expected
    assert Credentials(LOGIN).applied("door", source) == expected
    assert Credentials().applied("door", source) == source


def test_a_pipeline_gets_it_as_properties():
    pipeline = 'rtspsrc location="rtsp://h/x" latency=0 ! appsink'
    found = Credentials(LOGIN).applied("door", pipeline)
    assert found == (
        'rtspsrc user-id="admin" user-pw="p@ss/w\u00f6rd\\"" '
        'location="rtsp://h/x" latency=0 ! appsink'
    )


def test_a_source_has_its_own():
    found = Credentials(LOGIN, {"door": Login("me", "x")})
    assert found.applied("door", "rtsp://h") == "rtsp://me:x@h"
    assert found.applied("yard", "rtsp://h") == f"rtsp://admin:{QUOTED}@h"
    with pytest.raises(UsageError, match="a password for door, which is no address"):
        found.applied("door", 0)


FILE = """
user = "admin"
password = "one"
[sources.door]
user = "me"
password = "two"
[webhook]
secret = "three"
url = "https://host/four"
[mqtt]
user = "broker"
password = "five"
"""


def test_a_file_has_them_all(tmp_path, caplog):
    path = tmp_path / "secrets.toml"
    path.write_text(FILE)
    path.chmod(0o600)
    environment = {"R2P_CREDENTIALS": "a:b", "R2P_WEBHOOK_SECRET": "c"}
    found = read_credentials(path, names=("door", "yard"), environment=environment)
    assert found == Credentials(
        Login("admin", "one"),
        {"door": Login("me", "two")},
        "three",
        "https://host/four",
        Login("broker", "five"),
    )
    assert caplog.records == []
    shown = f"{found} {found!r} {found.default!r} {found.sources}"
    assert not {"admin", "one", "two", "three", "five"} & set(shown.replace("'", " ").split())


def test_the_environment_has_what_the_file_has_not(tmp_path):
    environment = {
        "R2P_CREDENTIALS": "admin:a:b",
        "R2P_WEBHOOK_SECRET": "c",
        "R2P_MQTT_CREDENTIALS": "d:",
    }
    assert read_credentials(environment=environment) == Credentials(
        Login("admin", "a:b"), {}, "c", None, Login("d", "")
    )
    assert read_credentials(environment={}) == Credentials()
    with pytest.raises(UsageError, match="R2P_CREDENTIALS has no colon") as caught:
        read_credentials(environment={"R2P_CREDENTIALS": SECRET})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        ("pasword = 'S3cret'", (), "no 'pasword' among the keys; did you mean password"),
        ("password = 'S3cret'", (), "there must be a user and a password; write both"),
        ("user = 'a'\npassword = 3", (), "password is no text"),
        ("[sources.dor]\nuser='a'\npassword='S3cret'", ("door",), "did you mean door"),
        ("[sources.door]\nuser='a'\npassword='S3cret'", None, "this one has no name"),
        ("[webhook]\nsecrets='S3cret'", (), "did you mean secret"),
        ("mqtt = 'S3cret'", (), "mqtt is no table"),
    ],
)
def test_files_that_are_refused(tmp_path, text, names, message):
    path = tmp_path / "secrets.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_credentials(path, names=names, environment={})
    assert "S3cret" not in str(caught.value)


def test_a_file_that_others_may_read_is_told(tmp_path, caplog):
    path = tmp_path / "secrets.toml"
    path.write_text("")
    path.chmod(0o640)
    read_credentials(path, environment={})
    (record,) = caplog.records
    assert "others may read the credentials" in record.getMessage()
