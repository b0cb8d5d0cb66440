"""The log of a stream."""

from r2p_edge.live.reports import DropReport


def test_dropped_frames_are_reported_once_a_minute(caplog):
    report = DropReport("door")
    for second in range(150):
        report.add(1, float(second))
    assert [record.args for record in caplog.records] == [
        ("door", "1 frame"),
        ("door", "60 frames"),
        ("door", "60 frames"),
    ]
    report.add(0, 500.0)
    assert caplog.records[3].args[1] == "29 frames"
    report.add(0, 1000.0)
    report.finish()
    assert len(caplog.records) == 4
    assert {record.levelname for record in caplog.records} == {"WARNING"}
