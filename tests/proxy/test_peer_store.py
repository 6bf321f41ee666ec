"""What was learnt of peers, on disk: it is read again as it was written, and a bad file costs no more than itself."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from proxy import peer_store
from proxy.peer_store import FILE, Learnt, PeerStore, Resolved

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000
LEARNT = Learnt(
    NOW,
    {"127.0.0.1:11372": ("keys.example.net", "192.0.2.9"), "[::1]:11372": ()},
    {
        "keys.example.net": Resolved(("192.0.2.7", "2001:db8::7"), NOW),
        "192.0.2.9": Resolved(("192.0.2.9",), NOW - 5),
    },
)
NOTHING = Learnt(0, {}, {})


def written(**changes: Any) -> dict[str, Any]:
    """Return the content of a good file, with changes."""
    hosts = {"keys.example.net": {"addresses": ["192.0.2.7"], "seen": NOW}}
    return {"version": 1, "answered": NOW, "upstreams": {"a:1": ["keys.example.net"]}, "hosts": hosts} | changes


@pytest.mark.parametrize("learnt", [LEARNT, NOTHING])
def test_what_is_written_is_read(tmp_path: Path, learnt: Learnt) -> None:
    """By the next one, and the last writing counts."""
    store = PeerStore(str(tmp_path / "state"))
    with capture_logs() as log:
        assert store.load() is None
        assert store.save(NOTHING)
        assert store.save(learnt)
        assert PeerStore(str(tmp_path / "state")).load() == learnt
    assert log == []


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """The folder is made with mode 0700, the file with 0600, whatever the umask and whoever made one before."""
    folder = tmp_path / "state"
    before = os.umask(0)
    try:
        PeerStore(str(folder)).save(LEARNT)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / FILE).chmod(0o644)
        (folder / f"{FILE}.new").touch(0o666)
        os.umask(0o777)
        PeerStore(str(folder)).save(LEARNT)
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert [each.name for each in folder.iterdir()] == [FILE]


def test_the_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is killed before all is on disk leaves the file as it was; the next one does not mind the rest."""
    store = PeerStore(str(tmp_path))
    store.save(LEARNT)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            store.save(NOTHING)
    assert (tmp_path / f"{FILE}.new").exists()
    assert PeerStore(str(tmp_path)).load() == LEARNT
    assert PeerStore(str(tmp_path)).save(NOTHING)
    assert PeerStore(str(tmp_path)).load() == NOTHING


def killed(_fd: int) -> None:
    """End here."""
    raise KeyboardInterrupt


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """What somebody put in the place of the file or of the one beside it is replaced, and not written through."""
    (tmp_path / "other").write_text("precious")
    for name in (FILE, f"{FILE}.new"):
        (tmp_path / name).symlink_to(tmp_path / "other")
    assert PeerStore(str(tmp_path)).save(LEARNT)
    assert (tmp_path / "other").read_text() == "precious"
    assert not (tmp_path / FILE).is_symlink()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        "[" * 100_000,
        '{"version": 1}',
        written(version=2),
        written(version="1"),
        written(answered="now"),
        written(answered=-1),
        written(answered=1.5),
        written(answered=True),
        written(answered=10**30),
        written(upstreams=[]),
        written(upstreams={"a:1": "keys.example.net"}),
        written(upstreams={"a:1": [7]}),
        written(upstreams={"a:1": [""]}),
        written(upstreams={"a:1": ["192.0.2.0/24"]}),
        written(upstreams={"a:1": ["Keys.example.net"]}),
        written(hosts=[]),
        written(hosts={"a b": {"addresses": [], "seen": NOW}}),
        written(hosts={"a": {"addresses": ["192.0.2.0/24"], "seen": NOW}}),
        written(hosts={"a": {"addresses": ["a"], "seen": NOW}}),
        written(hosts={"a": {"addresses": [3221225985], "seen": NOW}}),
        written(hosts={"a": {"addresses": "192.0.2.7", "seen": NOW}}),
        written(hosts={"a": {"addresses": ["192.0.2.7"]}}),
        written(hosts={"a": {"addresses": ["192.0.2.7"], "seen": None}}),
        written(hosts={"a": ["192.0.2.7"]}),
    ],
)
def test_damage(tmp_path: Path, content: str | dict[str, Any]) -> None:
    """A file that is not as it was written is not read at all; the log says so, and the next writing replaces it."""
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / FILE).write_text(text)
    store = PeerStore(str(tmp_path))
    with capture_logs() as log:
        assert store.load() is None
    assert [each["event"] for each in log] == ["peers could not be read, starting without"]
    assert store.save(LEARNT)
    assert store.load() == LEARNT


def test_the_good_file_of_these_tests(tmp_path: Path) -> None:
    """Without a change it is read."""
    (tmp_path / FILE).write_text(json.dumps(written()))
    assert PeerStore(str(tmp_path)).load() == Learnt(
        NOW, {"a:1": ("keys.example.net",)}, {"keys.example.net": Resolved(("192.0.2.7",), NOW)}
    )


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read, not even if there is nothing else wrong with it."""
    text = json.dumps(written())
    (tmp_path / FILE).write_text(text)
    for most, read in ((len(text), True), (len(text) - 1, False)):
        monkeypatch.setattr(peer_store, "MOST_BYTES", most)
        assert (PeerStore(str(tmp_path)).load() is not None) is read


def test_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """One line in the log, however often it is tried, and a text that says why; when it can be used, all is well."""
    blocker = tmp_path / "state"
    blocker.touch()
    with capture_logs() as log:
        store = PeerStore(str(blocker))
        assert store.load() is None
        assert not store.save(LEARNT)
        assert not store.save(LEARNT)
        assert "Not a directory" in store.problem or "File exists" in store.problem
        blocker.unlink()
        assert store.save(LEARNT)
        assert store.save(LEARNT)
    assert [each["event"] for each in log] == [
        "peers could not be read, starting without",
        "peers are not written down",
        "peers are written down again",
    ]
    assert store.problem == ""
    assert store.load() == LEARNT
