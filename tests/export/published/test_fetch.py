"""Downloads from a server that cuts, lies and redirects."""

from __future__ import annotations

import hashlib
import random

import pytest
from weights_server import PATH, break_off, digest_of, reply, serving_weights, weights_bytes

from r2p_edge.errors import DownloadError, ModelNotFoundError, OutputError, UsageError
from r2p_edge.export.published.fetch import get_weights


def names(store):
    """Return the names of the files in a store."""
    return sorted(file.name for file in store.folder.iterdir()) if store.folder.exists() else []


WHOLE = ["net.pth", "net.pth.json"]


def test_a_file_is_fetched_once(server, store_of, get):
    store = store_of(server)
    shown = []
    first = get(store, progress=lambda done, total: shown.append((done, total)))
    assert digest_of(first.path.read_bytes()) == digest_of(server.content)
    assert first.fetched == len(server.content)
    assert shown[-1] == (len(server.content), len(server.content))
    assert get(store).fetched == 0
    assert len(server.requests) == 1
    assert names(store) == WHOLE


@pytest.mark.slow
def test_ten_cuts(store_of, get):
    content = weights_bytes(50 << 20)
    with serving_weights(content) as server:
        server.cuts = sorted(random.Random(1).sample(range(100_000, len(content)), 10))
        found = get(store_of(server))
        assert digest_of(found.path.read_bytes()) == digest_of(content)
        assert server.sent <= 1.02 * len(content)
        assert found.fetched <= 1.02 * len(content)
        assert len(server.requests) == 11
    assert names(store_of(server)) == WHOLE


def test_a_connection_that_is_reset(server, store_of, get):
    server.reset, server.cuts = True, [100_000, 100_001, 200_000]
    assert digest_of(get(store_of(server)).path.read_bytes()) == digest_of(server.content)


def test_the_next_run_goes_on(server, store_of, get):
    store = store_of(server)
    server.cuts = [70_000] * 6  # and no more than this each time
    with pytest.raises(DownloadError, match=r"5 attempts .* 70000 bytes are kept"):
        get(store)
    assert names(store) == ["net.pth.part", "net.pth.part.json"]
    server.cuts, server.sent = [], 0
    assert digest_of(get(store).path.read_bytes()) == digest_of(server.content)
    assert server.sent == len(server.content) - 70_000
    assert names(store) == WHOLE


def kept(server, store, get, size=70_000):
    """Leave a partial file."""
    server.cuts = [size] * 6
    with pytest.raises(DownloadError):
        get(store)
    server.cuts, server.sent, server.requests[:] = [], 0, []


def test_a_server_without_ranges(server, store_of, get):
    store = store_of(server)
    server.ranges, server.cuts = False, [100_000, 200_000]
    assert digest_of(get(store).path.read_bytes()) == digest_of(server.content)
    assert [asked for _, asked in server.requests] == [None, "bytes=100000-", "bytes=200000-"]


@pytest.mark.slow
def test_a_changed_etag_begins_anew(server, store_of, get):
    store = store_of(server)
    kept(server, store, get)
    server.etag = '"second"'
    assert digest_of(get(store).path.read_bytes()) == digest_of(server.content)
    assert server.sent == len(server.content)


@pytest.mark.slow
def test_an_answer_of_another_version_is_not_appended(server, store_of, get):
    """A server may take no notice of If-Range."""
    store = store_of(server)
    kept(server, store, get)
    body, part = server.content, f"bytes 70000-{len(server.content) - 1}/{len(server.content)}"

    def heedless(handler):
        if handler.headers.get("Range"):
            reply(handler, 206, body[70_000:], ETag='"second"', Content_Range=part)
        else:
            reply(handler, 200, body, ETag='"second"')

    server.answers[PATH] = heedless
    assert digest_of(get(store).path.read_bytes()) == digest_of(server.content)
    assert [asked for _, asked in server.requests] == ["bytes=70000-", None]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["bytes 0-9/10", "bytes 70001-299999/300000", "bytes */3", ""])
def test_another_part_than_was_asked_for(server, store_of, get, part):
    store = store_of(server)
    kept(server, store, get)

    def lying(handler):
        if handler.headers.get("Range"):
            reply(handler, 206, server.content[:-70_000], ETag='"first"', Content_Range=part)
        else:
            reply(handler, 200, server.content, ETag='"first"')

    server.answers[PATH] = lying
    assert digest_of(get(store).path.read_bytes()) == digest_of(server.content)


@pytest.mark.slow
def test_a_part_that_is_not_there_begins_anew(server, store_of, get):
    store = store_of(server)
    kept(server, store, get)
    server.content = server.content[:60_000]  # 416
    store = store_of(server)
    assert digest_of(get(store).path.read_bytes()) == digest_of(server.content)


@pytest.mark.slow
def test_a_server_that_never_has_the_same_file_is_given_up(server, store_of, get):
    store = store_of(server)
    kept(server, store, get)
    server.answers[PATH] = lambda handler: reply(handler, 416)
    with pytest.raises(DownloadError, match=r"416|another file"):
        get(store)


@pytest.mark.parametrize("kind", ["sha256", "sha256-prefix", "sha1"])
def test_a_wrong_byte_is_refused_with_both_digests(server, store_of, get, kind):
    right = hashlib.new(kind.partition("-")[0], server.content).hexdigest()
    right = right[:8] if kind.endswith("prefix") else right
    store = store_of(server, digest=f"{kind}:{right}")
    assert get(store).record.sha256 == hashlib.sha256(server.content).hexdigest()
    for file in store.folder.iterdir():
        file.unlink()
    wrong = bytearray(server.content)
    wrong[150_000] ^= 1
    server.content = bytes(wrong)
    with pytest.raises(DownloadError) as refused:
        get(store)
    assert right in str(refused.value)
    assert hashlib.new(kind.partition("-")[0], wrong).hexdigest() in str(refused.value)
    assert names(store) == ["net.pth.bad"]
    assert digest_of((store.folder / "net.pth.bad").read_bytes()) == digest_of(wrong)


def test_a_short_body_with_its_own_length(server, store_of, get):
    whole = server.content
    store = store_of(server)
    server.content = whole[:-1]
    with pytest.raises(DownloadError, match="sha256"):
        get(store)
    assert "net.pth" not in names(store)


def test_a_short_body_with_the_right_length(server, store_of, get):
    store = store_of(server)

    def short(handler):
        reply(handler, 200, server.content[:-9], length=len(server.content), ETag='"x"')
        break_off(handler)

    server.answers[PATH] = short
    with pytest.raises(DownloadError, match="brought nothing new"):
        get(store)
    assert "net.pth" not in names(store)


def test_a_known_size_is_compared_before_anything_is_fetched(server, store_of, get):
    store = store_of(server, size=7)
    with pytest.raises(DownloadError, match="300000 bytes where 7 were published"):
        get(store)
    assert names(store) == []


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_nothing_is_gone_on_with_that_the_server_does_not_vouch_for(server, store_of, get, etag):
    server.etag, server.cuts = etag, [100_000]
    assert digest_of(get(store_of(server)).path.read_bytes()) == digest_of(server.content)
    assert [asked for _, asked in server.requests] == [None, None]


def test_an_answer_without_a_length(server, store_of, get):
    server.answers[PATH] = lambda handler: reply(handler, 200, server.content, length=-1)
    assert digest_of(get(store_of(server)).path.read_bytes()) == digest_of(server.content)


def test_an_answer_in_chunks_that_is_cut(server, store_of, get):
    parts = [server.content[:100_000], server.content[100_000:]]

    def chunked(handler):
        reply(handler, 200, length=-1, Transfer_Encoding="chunked", ETag='"c"')
        for part in parts[: 1 + (len(server.requests) > 1)]:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        if len(server.requests) > 1:
            handler.wfile.write(b"0\r\n\r\n")

    server.answers[PATH] = chunked
    assert digest_of(get(store_of(server)).path.read_bytes()) == digest_of(server.content)
    assert len(server.requests) == 2


PAGES = {
    "a web page": b"  <!DOCTYPE html><title>Quota exceeded</title>" + b" " * 100,
    "a message in JSON": b'{"error": "rate limit"}' + b" " * 100,
    "a message in XML": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>" * 2,
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "nothing at all": b"",
    'text that begins with "Not today': b"Not today.",
    "a gzip archive": b"\x1f\x8b\x08" + bytes(100),
}


@pytest.mark.parametrize("words", PAGES)
def test_a_page_in_place_of_the_file(server, store_of, get, words):
    store = store_of(server)
    server.answers[PATH] = lambda handler: reply(handler, 200, PAGES[words])
    with pytest.raises(DownloadError, match=rf"sends {words}.* in a browser") as refused:
        get(store)
    assert refused.value.exit_code == 3
    assert names(store) == []


@pytest.mark.slow
def test_a_page_does_not_cost_what_is_there(server, store_of, get):
    """The page of a network that wants a login comes in the middle of a download too."""
    store = store_of(server)
    kept(server, store, get)
    server.answers[PATH] = lambda handler: reply(handler, 200, PAGES["a web page"])
    with pytest.raises(DownloadError, match="a web page"):
        get(store)
    del server.answers[PATH]
    get(store)
    assert server.sent == len(server.content) - 70_000


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "answers 404"),
        (403, "answers 403"),
        (204, "status 204"),
        (500, "answers 500 .*later"),
        (304, "answers 304"),
    ],
)
def test_a_refusal(server, store_of, get, status, words):
    store = store_of(server)
    server.answers[PATH] = lambda handler: reply(handler, status)
    with pytest.raises(DownloadError, match=words):
        get(store)
    assert len(server.requests) == 1
    assert names(store) == []


def redirect(target, status=302):
    """Return an answer that redirects."""
    return lambda handler: reply(handler, status, Location=target)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_with_their_range(server, store_of, get, status):
    store = store_of(server, url=server.url("/moved"))
    server.answers["/moved"] = redirect("/again", status)
    server.answers["/again"] = redirect(server.url(), status)
    server.cuts = [100_000]
    assert digest_of(get(store).path.read_bytes()) == digest_of(server.content)
    assert server.requests[-1] == (PATH, "bytes=100000-")
    assert server.sent == len(server.content)


def test_redirects_in_a_circle(server, store_of, get):
    store = store_of(server, url=server.url("/a"))
    server.answers["/a"] = redirect("/a")
    with pytest.raises(DownloadError, match="redirects more than 5 times"):
        get(store)
    assert len(server.requests) == 6


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "//[x/"])
def test_redirects_to_what_is_no_server(server, store_of, get, target):
    server.answers[PATH] = redirect(target)
    with pytest.raises(DownloadError, match="redirects to"):
        get(store_of(server))


def test_a_certificate_that_nobody_vouches_for(content, certificate, store_of, get):
    with (
        serving_weights(content, certificate) as server,
        pytest.raises(DownloadError, match=r"certificate .* is not right .*SSL_CERT_FILE"),
    ):
        get(store_of(server))


def test_https_never_becomes_http(content, server, certificate, store_of, get, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving_weights(content, certificate) as safe:
        store = store_of(safe)
        safe.answers["/moved"] = redirect(safe.url())
        assert digest_of(get(store).path.read_bytes()) == digest_of(content)
        other = store_of(safe, url=safe.url("/to-http"))
        safe.answers["/to-http"] = redirect(server.url())
        for file in other.folder.iterdir():
            file.unlink()
        with pytest.raises(DownloadError, match="from https only https is followed"):
            get(other)
    assert server.requests == []


def test_a_server_that_is_not_there(server, store_of, get):
    store = store_of(server, url=f"http://127.0.0.1:{server.server_port}/weights.pth")
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"is not there or broke off .*try again"):
        get(store)
    assert names(store) == []


def test_a_server_that_says_nothing(server, store_of, get):
    server.answers[PATH] = lambda handler: handler.rfile.read(1)
    with pytest.raises(DownloadError, match="timed out"):
        get(store_of(server), timeout=0.05)


def test_an_answer_that_is_no_http(server, store_of, get):
    def noise(handler):
        handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")
        break_off(handler)

    server.answers[PATH] = noise
    with pytest.raises(DownloadError, match="broke off"):
        get(store_of(server))


def test_more_bytes_than_the_file_has(server, store_of, get):
    store = store_of(server, size=1000)
    server.answers[PATH] = lambda handler: reply(handler, 200, server.content, length=-1)
    with pytest.raises(DownloadError, match="more than the 1000 bytes"):
        get(store)


def test_a_compressed_answer(server, store_of, get):
    server.answers[PATH] = lambda handler: reply(
        handler, 200, server.content, Content_Encoding="gzip"
    )
    with pytest.raises(DownloadError, match="another encoding"):
        get(store_of(server))


def test_the_first_download_pins_the_next(server, store_of, get):
    store = store_of(server, digest=None)
    found = get(store)
    found.path.unlink()
    server.content = weights_bytes(len(server.content), seed=2)
    with pytest.raises(DownloadError, match=f"file that came before had {found.record.sha256}"):
        get(store)
    (store.folder / "net.pth.json").unlink()
    assert digest_of(get(store).path.read_bytes()) == digest_of(server.content)


def test_a_sha256_from_another_machine(server, store_of, get):
    store = store_of(server, digest=None)
    with pytest.raises(DownloadError, match="was asked for"):
        get(store, sha256="0" * 64)
    found = get(store)
    assert get(store, sha256=found.record.sha256).fetched == 0
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        get(store, sha256="abc")


def test_damaged_weights_are_replaced_and_kept(server, store_of, get, caplog):
    store = store_of(server)
    path = get(store).path
    path.write_bytes(b"PK\x03\x04damaged")
    assert digest_of(get(store).path.read_bytes()) == digest_of(server.content)
    assert "is damaged" in caplog.text
    assert names(store) == ["net.pth", "net.pth.bad", "net.pth.json"]


def test_offline(server, store_of, get):
    store = store_of(server)
    with pytest.raises(ModelNotFoundError, match="without --offline"):
        get(store, offline=True)
    assert names(store) == []
    get(store)
    assert get(store, offline=True).fetched == 0
    assert len(server.requests) == 1


def test_by_hand(server, store_of, get):
    with pytest.raises(UsageError, match=r"a person: fetch weights.pth at .* weights add net"):
        get(store_of(server, status="by-hand"))
    assert server.requests == []


def test_an_unknown_id(server, store_of):
    with pytest.raises(UsageError, match="did you mean net"):
        get_weights("nett", store=store_of(server))


def test_a_folder_that_cannot_be_made(server, store_of, get, tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(OutputError):
        get(store_of(server))
    assert server.requests == []
