"""Sources with names, and the file that lists them."""

import pytest
from requirements import require

from r2p_edge.errors import MissingDependencyError, UsageError
from r2p_edge.live import settings
from r2p_edge.watch.rules import EventRule
from r2p_edge.watch.sources import NamedSource, by_name, parse_source, read_watch_file

SECRET = "S3cret"


@pytest.mark.parametrize(
    ("text", "name", "source"),
    [
        ("door=rtsp://camera/1?a=b", "door", "rtsp://camera/1?a=b"),
        ("yard-2=0", "yard-2", 0),
        ("T\u00fcr=a=b.mp4", "T\u00fcr", "a=b.mp4"),
        (
            "hall=v4l2src device=/dev/video0 ! appsink",
            "hall",
            "v4l2src device=/dev/video0 ! appsink",
        ),
    ],
)
def test_a_source_has_a_name(text, name, source):
    assert parse_source(text) == (name, source, {})


@pytest.mark.parametrize(
    "text", ["0", "rtsp://camera/1", f"rtsp://a:{SECRET}@h/?x=1", "=0", "door="]
)
def test_a_source_without_a_name(text):
    with pytest.raises(UsageError, match="has no name; put one and an equals sign") as caught:
        parse_source(text)
    assert SECRET not in str(caught.value)


def test_two_sources_of_one_name_and_none():
    with pytest.raises(UsageError, match="two sources are named door; give one of them another"):
        by_name([parse_source("door=0"), parse_source("door=1")])
    with pytest.raises(UsageError, match="there is no source to watch"):
        by_name([])


TOML = """
[sources]
door = "rtsp://camera/1"

[sources.yard]
source = "0"
every = 0.5
motion = 15

[sources.hall]
source = 1

[events]
walk = "walk>0.6"

[events.alarm]
when = "fall>0.8"
min_length = 1
cool_down = 30.0
hysteresis = 0.2
"""
YAML = """
sources:
  door: rtsp://camera/1
  yard: {source: "0", every: 0.5, motion: 15}
  hall: 1
events:
  walk: walk>0.6
  alarm: {when: fall>0.8, min_length: 1, cool_down: 30.0, hysteresis: 0.2}
"""


@pytest.mark.parametrize(("suffix", "text"), [("toml", TOML), ("yaml", YAML), ("yml", YAML)])
def test_a_file_of_sources_and_events(tmp_path, suffix, text):
    if suffix != "toml":
        require("yaml")
    path = tmp_path / f"doors.{suffix}"
    path.write_text(text)
    sources, rules = read_watch_file(path)
    assert sources == [
        ("door", "rtsp://camera/1", {}),
        ("yard", 0, {"every": 0.5, "motion": 15}),
        ("hall", 1, {}),
    ]
    assert rules == [
        EventRule("walk", 0.6, "walk"),
        EventRule("fall", 0.8, "alarm", 1, 30.0, 0.2),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[source]\n", "doors.toml: there is no 'source' among the keys; did you mean sources"),
        ("[sources.door]\nsource = 0\nevry = 1\n", "source door: .* 'evry' .* did you mean every"),
        ("[events.a]\nwhen = 'a>1'\ncooldown = 1\n", "event a: .* did you mean cool_down"),
        ("[sources.door]\nevery = 1\n", "source door: there is no source; write an address"),
        ("[sources]\ndoor = 1.5\n", "source door: there is no source"),
        ("[sources]\ndoor = true\n", "source door: there is no source"),
        ("sources = 1\n", "sources is no table"),
        ("[events]\nfall = 0.8\n", "event fall: there is no rule"),
        ("[events]\nfall = 'fall'\n", "'fall' is no event"),
        (f"[sources]\ndoor = 'rtsp://a:{SECRET}@h\n", r"is not TOML \(.*correct it there"),
    ],
)
def test_files_that_are_refused(tmp_path, text, message):
    path = tmp_path / "doors.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_watch_file(path)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", "door ", "a\nb", "\u200b"])
def test_names_that_cannot_be_seen(name):
    with pytest.raises(UsageError, match="is no name of a source; give letters and digits"):
        by_name([NamedSource("door", 0, {}), NamedSource(name, 1, {})])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources:\n  door: 0\n  yard: 1\n  door: 2\n", r"yaml has door twice \(line 4\); take"),
        ("sources: {door: {source: 0, every: 1, every: 2}}", "has every twice"),
        ("- {a: 1, a: 2}", "has a twice"),
        ("a: &a {b: *a, c: [], c: 1}", "has c twice"),
        ("sources: {yes: 0}", "True in sources is no name; write it in quotes"),
        ("? [a]\n: 1", "is not YAML"),
    ],
)
def test_yaml_that_says_something_else_than_it_seems_to(tmp_path, text, message):
    require("yaml")
    (tmp_path / "doors.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_watch_file(tmp_path / "doors.yaml")


def test_yaml_may_take_a_table_from_another(tmp_path):
    require("yaml")
    path = tmp_path / "doors.yaml"
    path.write_text("sources:\n  a: &a {source: 0, every: 1}\n  b: {<<: *a, source: 1}\n")
    assert read_watch_file(path)[0] == [("a", 0, {"every": 1}), ("b", 1, {"every": 1})]


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    for name, message in (
        ("doors.ini", "ends in .ini; write the file in TOML"),
        ("doors", "ends in no suffix"),
        ("none.toml", "No such file"),
    ):
        with pytest.raises(UsageError, match=message):
            read_watch_file(tmp_path / name)
    (tmp_path / "latin.toml").write_bytes(b"\xe4 = 1")
    with pytest.raises(UsageError, match="it is not UTF-8"):
        read_watch_file(tmp_path / "latin.toml")
    (tmp_path / "doors.yaml").write_text("a: [")
    monkeypatch.setitem(settings.sys.modules, "yaml", None)
    with pytest.raises(
        MissingDependencyError, match="pip install pyyaml, or write the file in TOML"
    ):
        read_watch_file(tmp_path / "doors.yaml")


def test_yaml_that_is_broken_is_not_repeated(tmp_path):
    require("yaml")
    (tmp_path / "doors.yaml").write_text(f"a: 1\nb: 'rtsp://a:{SECRET}@h\n")
    with pytest.raises(UsageError, match=r"is not YAML \(line \d\); correct") as caught:
        read_watch_file(tmp_path / "doors.yaml")
    assert SECRET not in str(caught.value)
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(UsageError, match="is a list; expected names"):
        read_watch_file(tmp_path / "list.yaml")
