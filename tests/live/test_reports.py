"""The log of a stream."""

import pytest

from r2p_edge.live.reports import DropReport, without_password


def test_dropped_frames_are_reported_once_a_minute(caplog):
    report = DropReport("door")
    for second in range(150):
        report.add(1, float(second))
    assert [record.args for record in caplog.records] == [("door", 1), ("door", 60), ("door", 60)]
    report.add(0, 500.0)
    assert [record.args[1] for record in caplog.records] == [1, 60, 60, 29]
    report.add(0, 1000.0)
    report.finish()
    assert len(caplog.records) == 4
    assert {record.levelname for record in caplog.records} == {"WARNING"}


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://admin:secret@10.0.0.7:554/one", "rtsp://admin:***@10.0.0.7:554/one"),
        ("rtspsrc location=rtsp://a:b@c ! appsink", "rtspsrc location=rtsp://a:***@c ! appsink"),
        ("http://10.0.0.7:80/a@b", "http://10.0.0.7:80/a@b"),
        ("clip:1@2.mp4", "clip:1@2.mp4"),
        ("a http://me:p@ss@host:1/x b", "a http://me:***@host:1/x b"),
        ("http://host:80/@x", "http://host:80/@x"),
        ("rtsp://me@host/1", "rtsp://me@host/1"),
        ("C://a b:c@d", "C://a b:c@d"),
        ("at 10:30, me@host", "at 10:30, me@host"),
    ],
)
def test_passwords_are_not_shown(source, shown):
    assert without_password(source) == shown
