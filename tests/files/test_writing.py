"""Writing: whole or not at all, what is no file is not replaced, one job a path."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from siame_se3.errors import InputError
from siame_se3.files import atomically, exclusive, write_text, writing


def one_line(error: BaseException) -> str:
    assert len(str(error).splitlines()) == 1
    return str(error)


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process grows beyond 4 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_text_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    for text in ("first, long", "naïve"):
        write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(path.parent.iterdir()) == [path]


def test_the_partial_file_lies_beside_and_ends_alike(tmp_path: Path) -> None:
    seen: list[Path] = []
    atomically(tmp_path / "figure.svg", lambda partial: (seen.append(partial), partial.write_text("x")))
    assert seen[0].parent == tmp_path
    assert seen[0].suffix == ".svg"
    assert seen[0].name.startswith(".figure.svg.")


def test_the_mode_is_the_umasks_even_if_a_writer_made_the_file_private(tmp_path: Path, umask: None) -> None:
    def private(partial: Path) -> None:
        other = partial.with_name("private")
        other.touch(0o600)
        other.replace(partial)

    atomically(tmp_path / "file", private)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_the_mode_of_the_file_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    path.chmod(0o604)
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "model"
    link.symlink_to(tmp_path / "disk" / "real")
    for text in ("through a link that points nowhere yet", "and again"):
        write_text(link, text)
        assert link.is_symlink()
        assert (tmp_path / "disk" / "real").read_text() == text
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["disk", "model", "real"]


def test_a_device_is_written_to() -> None:
    before = os.stat(os.devnull)
    write_text(os.devnull, "nothing")
    after = os.stat(os.devnull)
    assert stat.S_ISCHR(after.st_mode)
    assert after.st_ino == before.st_ino


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_a_full_device_is_one_line() -> None:
    with pytest.raises(InputError, match="/dev/full: cannot be written") as caught:
        write_text("/dev/full", "x")
    assert "no space left" in one_line(caught.value)


def test_a_fifo_is_written_to(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.txt"
    os.mkfifo(fifo)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(fifo.read_text()))
    reader.start()
    write_text(fifo, "x" * 200_000)
    reader.join(10)
    assert heard == ["x" * 200_000]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_standard_output_is_written_to_also_where_it_is_a_file(tmp_path: Path) -> None:
    code = (
        "from siame_se3.files import write_text; print('a', flush=True); write_text('/dev/stdout', 'b\\n'); print('c')"
    )
    with (tmp_path / "out").open("w") as stream:
        subprocess.run(
            [sys.executable, "-c", code], stdout=stream, check=True, env=os.environ | {"PYTHONPATH": _source()}
        )
    assert (tmp_path / "out").read_text() == "a\nb\nc\n"


def _source() -> str:
    return str(Path(writing.__file__).parents[2])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_errors_of_the_system_are_one_line_and_leave_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "state"
    write_text(path, "old")

    def refuse(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InputError) as caught:
        write_text(path, "new")
    assert one_line(caught.value).startswith(f"{path}: cannot be written ({os.strerror(code).lower()}); ")
    assert one_line(caught.value).endswith("the file that was there is kept")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_while_safetensors_writes_is_one_line(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "model.safetensors"
    save = lambda n: atomically(path, lambda partial: save_file({"x": torch.zeros(n)}, partial))  # noqa: E731
    save(10)
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        save(10_000)
    assert one_line(caught.value).startswith(f"{path}: cannot be written (")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["folder", "file/below", "x" * 300])
def test_places_that_cannot_be_written_are_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as caught:
        write_text(tmp_path / name, "text")
    assert one_line(caught.value).startswith(f"{tmp_path / name}: cannot be written (")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_names_as_long_as_a_folder_takes_can_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("x" * 255), "text")
    assert [len(p.name) for p in tmp_path.iterdir()] == [255]


def test_what_a_writer_raises_itself_stays(tmp_path: Path) -> None:
    def write(partial: Path) -> None:
        raise ValueError("of the writer")

    with pytest.raises(ValueError, match="of the writer"):
        atomically(tmp_path / "file", write)
    assert not list(tmp_path.iterdir())


def test_a_writer_that_returns_false_has_failed(tmp_path: Path) -> None:
    """OpenCV does; there is no empty picture then."""
    path = tmp_path / "picture.png"
    write_text(path, "old")
    with pytest.raises(InputError, match=r"picture\.png: cannot be written"):
        atomically(path, lambda partial: False)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_killed_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    code = (
        "import os, signal; from siame_se3.files import atomically\n"
        f"atomically({str(path)!r}, lambda partial: (partial.write_text('half'), os.kill(os.getpid(), signal.SIGKILL)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": _source()}, check=False)
    assert done.returncode == -signal.SIGKILL
    (leftover,) = tmp_path.iterdir()
    alive = tmp_path / f".{path.name}.{writing._HOST}-{os.getppid()}-0.part.safetensors"
    elsewhere = tmp_path / f".{path.name}.000000-999999999-0.part.safetensors"
    old = tmp_path / f".{path.name}.000000-999999999-1.part.safetensors"
    mine = tmp_path / f".{path.name}"  # somebody's file
    for other in (alive, elsewhere, old, mine):
        other.touch()
    os.utime(old, (time.time() - 3 * 86400,) * 2)
    write_text(path, "whole")
    assert set(tmp_path.iterdir()) == {path, alive, elsewhere, mine}
    assert leftover.name.endswith(".part.safetensors")


class Windows:
    """The module os as it is there, as far as it matters here: files are opened and removed, and a signal 0 is Ctrl-C."""

    name = "nt"

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def kill(self, pid: int, number: int) -> None:
        pytest.fail(f"process {pid} is interrupted")


def test_on_windows_only_old_leftovers_are_removed_and_nobody_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    young, old = (tmp_path / f".{path.name}.{writing._HOST}-{os.getppid()}-{k}.part.safetensors" for k in range(2))
    for leftover in (young, old):
        leftover.touch()
    os.utime(old, (time.time() - 3 * 86400,) * 2)
    monkeypatch.setattr(writing, "os", Windows())
    write_text(path, "whole")
    assert set(tmp_path.iterdir()) == {path, young}


def test_threads_that_write_the_same_file_do_not_take_each_others(tmp_path: Path) -> None:
    path, together = tmp_path / "file", threading.Barrier(2)

    def write(text: str) -> None:
        atomically(path, lambda partial: (partial.write_text(text), together.wait(10)))

    threads = [threading.Thread(target=write, args=(text,)) for text in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert path.read_text() in ("a", "b")
    assert list(tmp_path.iterdir()) == [path]


# The lock


def test_a_second_job_of_a_path_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with exclusive(path):
        with pytest.raises(InputError) as caught, exclusive(path):
            pytest.fail("held twice")
        assert f"{path}: process {os.getpid()} on " in one_line(caught.value)
        (tmp_path / "link").symlink_to(path)
        with pytest.raises(InputError, match="link: process"), exclusive(tmp_path / "link"):
            pytest.fail("held twice, by another name")
        with exclusive(tmp_path / "other"):
            pass
    with exclusive(path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["link"]


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "model"
    code = (
        "import sys, time; from siame_se3.files import exclusive\n"
        f"with exclusive({str(path)!r}):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": _source()}
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(InputError, match=f"process {holder.pid} on .* is writing it"), exclusive(path):
        pytest.fail("held twice")
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert [p.name for p in tmp_path.iterdir()] == [".model.lock"]
    with exclusive(path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.fixture
def refusing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """A lock that another user left: opening it in these ways is refused. (Tests may run as root, whom the system refuses nothing.)"""
    lock = tmp_path / ".model.lock"
    opened, access = os.open, os.access

    def refuse(flags: int) -> Path:
        lock.write_text("process 1 on there")

        def guarded(path: Any, how: int, *more: Any, **named: Any) -> int:
            if Path(path) == lock and lock.exists() and how & os.O_ACCMODE in (os.O_RDWR, flags):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return opened(path, how, *more, **named)

        monkeypatch.setattr(os, "open", guarded)
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != lock and access(path, mode))
        return lock

    return refuse


def test_a_lock_that_another_user_left_is_taken_as_it_is(tmp_path: Path, refusing: Callable[[int], Path]) -> None:
    """It refused the place for good."""
    lock = refusing(os.O_RDWR)
    with exclusive(tmp_path / "model"):
        assert lock.read_text() == "process 1 on there"
        with pytest.raises(InputError, match="is writing it"), exclusive(tmp_path / "model"):
            pytest.fail("held twice")
    with exclusive(tmp_path / "model"):
        pass
    assert not lock.exists()


def test_a_lock_that_nobody_may_remove_stays(
    tmp_path: Path, refusing: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in /tmp."""
    lock = refusing(os.O_RDWR)

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    for _ in range(2):
        with exclusive(tmp_path / "model"):
            pass
    assert lock.exists()


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path, refusing: Callable[[int], Path]) -> None:
    lock = refusing(os.O_RDONLY)
    with pytest.raises(InputError) as caught, exclusive(tmp_path / "model"):
        pytest.fail("not held")
    line = one_line(caught.value)
    assert line.startswith(f"{tmp_path / 'model'}: {lock}, which another user's job left, cannot be locked (permission")
    assert "remove it, or give another place" in line


def test_a_folder_that_takes_no_lock_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any, *more: Any) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError) as caught, exclusive(tmp_path / "model"):
        pytest.fail("not held")
    assert "model: cannot be written (permission denied)" in one_line(caught.value)


def test_an_error_of_the_job_frees_the_path(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), exclusive(tmp_path / "model"):
        raise KeyboardInterrupt
    with exclusive(tmp_path / "model"):
        pass


def test_nothing_is_locked_for_a_device() -> None:
    with exclusive(os.devnull), exclusive(os.devnull):
        pass
