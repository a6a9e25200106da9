"""Results appear whole or not at all."""

import os
import subprocess
import sys

import pytest

from limbeck.errors import OutputError
from limbeck.outputs import new_file, new_folder, working_folder


def test_a_file_appears_when_the_block_ends_well(tmp_path):
    path = tmp_path / "a.txt"
    with new_file(path) as partial:
        partial.write_text("x")
        assert not path.exists() and partial.parent == tmp_path
    assert path.read_text() == "x" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_nothing_appears_when_it_does_not(tmp_path, make):
    with pytest.raises(KeyError), make(tmp_path / "a") as partial:
        (partial / "b" if make is new_folder else partial).write_text("x")
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_an_existing_result_stays_when_the_new_one_fails(tmp_path):
    path = tmp_path / "a"
    for text in ("old", None):
        try:
            with new_folder(path, overwrite=True) as partial:
                if text is None:
                    raise OSError(28, "No space left on device")
                (partial / "f").write_text(text)
        except OutputError as error:
            assert "No space left" in str(error)
    assert (path / "f").read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_cleared_or_put_back(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f".a.{gone.pid}.partial").mkdir()
    replaced = tmp_path / f".a.{gone.pid}.replaced"
    replaced.mkdir()
    (replaced / "f").write_text("old")
    alive = tmp_path / f".a.{os.getppid()}.partial"
    alive.mkdir()
    with pytest.raises(OutputError, match="exists"), new_folder(tmp_path / "a"):
        pass
    assert (tmp_path / "a" / "f").read_text() == "old", "killed between two renames: put back"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["a", alive.name]), "a living process is left alone"


def test_unfinished_work_is_kept_only_where_there_is_some(tmp_path):
    out = tmp_path / "p"
    for content in (False, True):
        with pytest.raises(KeyError), working_folder(out, resume=False) as folder:
            if content:
                (folder / "teacher").write_text("x")
            raise KeyError
        assert folder.exists() == content
    with working_folder(out, resume=True) as folder:
        assert (folder / "teacher").exists()
    assert not folder.exists()
    folder.mkdir()
    (folder / "old").write_text("x")
    with working_folder(out, resume=False) as folder:
        assert not any(folder.iterdir())


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_a_link_stays_a_link(tmp_path, make):
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "link", tmp_path / "there" / "real"
    link.symlink_to(target)
    for text in ("one", "two"):
        with make(link, overwrite=True) as partial:
            (partial / "f" if make is new_folder else partial).write_text(text)
        assert link.is_symlink()
        assert (target / "f" if make is new_folder else target).read_text() == text
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted(
        ["link", "there", "real", "f"] if make is new_folder else ["link", "there", "real"]
    )
