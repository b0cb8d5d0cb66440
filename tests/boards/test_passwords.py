"""Passwords of cameras in what the boards' scripts print, which systemd keeps."""

import subprocess

import pytest
from paths import EXAMPLES

SAY = 'show r2p-edge stream m "$1"; run true "$1"; {} "$1 is lost"; die "no frame of $1"'
WARNS = {"jetson": "warn", "atlas": "note", "rockchip": "warn"}  # the name of their function


@pytest.mark.parametrize("board", WARNS)
@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://admin:S3cret@10.0.0.7:554/x", "rtsp://***@10.0.0.7:554/x"),
        ("rtsp://admin:p@ss:/S3cret@h/x", "rtsp://***@h/x"),
        ("rtsp://admin%3AS3cret@h/x", "rtsp://***@h/x"),
        ("RTSPS://admin:S3cret@[fe80::1]:554/x", "RTSPS://***@[fe80::1]:554/x"),
        ("rtsp://S3cret@h/x", "rtsp://***@h/x"),
        ("http://h/x?user=S3cret&pwd=S3cret&n=1", "user=***&pwd=***&n=1"),
        ("http://h/x?access_token=S3cret", "access_token=***"),
        ("rtspsrc location=rtsp://h/x user-pw=S3cret ! appsink", "user-pw=*** ! appsink"),
        ('rtspsrc location="rtsp://a:S3cret@h/x" latency=200 ! x', "rtsp://***@h/x"),
        ("rtsp://10.0.0.7:554/x", "rtsp://10.0.0.7:554/x"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_no_password_is_printed(board, source, shown):
    script = f'source "{EXAMPLES / board / "common.sh"}"; {SAY.format(WARNS[board])}'
    done = subprocess.run(
        ["bash", "-c", script, "run_camera.sh", source], capture_output=True, text=True
    )
    lines = (done.stdout + done.stderr).replace("\\", "").splitlines()
    assert len(lines) == 4
    assert all(shown in line for line in lines)
    assert "S3cret" not in "".join(lines)
