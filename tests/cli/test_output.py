"""Progress of long work, where stderr is no terminal."""

from r2p_edge.cli import output


def test_a_line_a_minute_is_told_where_there_is_no_terminal(capsys):
    now = 0.0
    lines = output.ProgressLines(lambda: now)
    for second in range(0, 151, 10):
        now = float(second)
        lines("answering", second, 150)
    assert capsys.readouterr().err.splitlines() == [
        "r2p-edge: progress: answering, 60 of 150",
        "r2p-edge: progress: answering, 120 of 150",
    ]


def test_short_commands_say_nothing(capsys):
    with output.progress_bars() as progress:
        progress("reading", 0, 2)
        progress("reading", 2, 2)
    assert capsys.readouterr() == ("", "")
