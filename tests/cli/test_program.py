"""The program itself: help and version without the weight of a command, exit statuses, what an error says."""

from __future__ import annotations

import errno
import getpass
import json
import os
import pwd
import re
import select
import subprocess
import sys
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from tyro.conf import arg

import siame_se3
from cli_helpers import Siame
from siame_se3.cli import Status, commands, parse, program, threads
from siame_se3.cli.commands import COMMANDS, Command
from siame_se3.cli.flags import flags, flags_for
from siame_se3.errors import InputError, SiameError
from siame_se3.training.interrupt import Interrupted

SOURCE = Path(siame_se3.__file__).parents[1]
HEAVY = {"torch", "torchvision", "timm", "numpy", "cv2", "openvino", "matplotlib", "PIL", "yaml", "tyro"}
NAMES = list(COMMANDS)


def python(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, env=environment, **more
    )


MEASURED = (  # the memory of this process alone, from /proc: rusage begins with that of the one that started it
    "print(time.perf_counter() - began, *[int(line.split()[1]) / 1024 for line in open('/proc/self/status') if 'VmHWM' in line])\n"
    f"print(sorted({HEAVY!r} & set(sys.modules)))"
)


def test_the_program_answers_at_once() -> None:
    """Help and version, with their time and memory: the best of three, as other work may run beside."""
    code = (
        "import sys, time; began = time.perf_counter()\n"
        "from siame_se3.cli import main\n"
        "try: main([sys.argv[1]])\n"
        f"except SystemExit as stop: print(stop.code)\n{MEASURED}"
    )
    for asked, word in (("--help", "calibrate"), ("--version", siame_se3.__version__)):
        lines = [python("-c", code, asked).stdout.splitlines() for _ in range(3)]
        assert word in "\n".join(lines[0])
        assert lines[0][-3] == "0"
        assert lines[0][-1] == "[]"
        seconds, megabytes = zip(*(map(float, line[-2].split()) for line in lines), strict=True)
        assert min(seconds) < 0.4
        assert min(megabytes) < 30


def test_importing_the_package_is_light() -> None:
    code = f"import sys, time; began = time.perf_counter(); import siame_se3\n{MEASURED}"
    done = [python("-c", code).stdout.splitlines() for _ in range(3)]
    assert all(lines[1] == "[]" for lines in done)
    seconds, megabytes = zip(*(map(float, lines[0].split()) for lines in done), strict=True)
    assert min(seconds) < 0.1
    assert min(megabytes) < 30


def test_version(siame: Siame) -> None:
    assert siame("--version") == (0, f"siame {siame_se3.__version__}\n", "")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("--help-all",)])
def test_help_lists_every_command(siame: Siame, arguments: tuple[str, ...]) -> None:
    status, out, _ = siame(*arguments)
    assert status == 0
    assert "usage: siame" in out
    for name, command in COMMANDS.items():
        assert f"\n  {name} " in out
        assert command.summary.split()[0] in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("name", NAMES)
def test_summary_is_the_docstring(name: str) -> None:
    lines = (COMMANDS[name].load().__doc__ or "").splitlines()
    assert lines[0] == COMMANDS[name].summary
    assert len(lines[0]) <= 79
    assert len(lines) == 1 or lines[1] == ""


@pytest.mark.parametrize("name", NAMES)
def test_essential_options_are_options(name: str) -> None:
    command = COMMANDS[name].load()
    for option in getattr(command, "essential", ()):
        assert option in flags(command), f"{name}: no option '{option}'"


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_the_essential_options(
    siame: Siame, name: str, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = siame(name, "--help")
    assert status == 0
    assert out.startswith(COMMANDS[name].summary)
    assert f"usage: siame {name}" in out
    assert max(len(line) for line in out.splitlines() if not line.startswith("usage")) <= 80
    command = COMMANDS[name].load()
    essential = getattr(command, "essential", tuple(flags(command)))
    everything = {f for f in flags(command).values() if f.startswith("--")}
    shown = {flag for flag in everything if _is_listed(flag, out)}
    assert {flags(command)[option] for option in essential} & everything <= shown
    assert len(shown) <= 10
    if "essential" in vars(command):
        assert f"siame {name} --help-all" in out
        status, out, _ = siame(name, "--help-all")
        assert status == 0
        assert {flag for flag in everything if _is_listed(flag, out)} == everything
    assert not recwarn.list


def _is_listed(flag: str, out: str) -> bool:
    """Whether a help text has an entry for a flag, or for the one that turns it off (--network.no-colour)."""
    *group, last = flag.removeprefix("--").split(".")
    names = (flag, f"--{'.'.join([*group, f'no-{last}'])}")
    return any(re.search(rf"^\W{{1,3}}{re.escape(name)}(\s|$)", out, re.MULTILINE) for name in names)


def test_a_command_that_is_none(siame: Siame) -> None:
    assert siame("serv") == (2, "", "siame: serv: no such command; did you mean servo?\n")
    status, _, err = siame("xyz")
    assert status == 2
    assert all(name in err for name in COMMANDS)


@pytest.mark.parametrize("arguments", [("servo", "--runs", "x"), ("servo", "--run", "3"), ("plot",)])
def test_a_wrong_option_is_status_2(siame: Siame, arguments: tuple[str, ...]) -> None:
    status, _, err = siame(*arguments)
    assert status == 2
    assert f"siame {arguments[0]} --help" in err


def test_python_m(tmp_path: Path) -> None:
    for module in ("siame_se3", "siame_se3.cli"):
        done = python("-m", module, "--version", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, f"siame {siame_se3.__version__}\n")


# -- errors -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    max_twist: float = 0.1
    views: int = 3


@dataclass(frozen=True)
class Pair:
    side: int = 0


@dataclass(frozen=True)
class Fake:
    """A command that raises what it is given."""

    runs: int = 1
    limits: Group = field(default_factory=Group)
    left: Pair = field(default_factory=Pair)
    right: Pair = field(default_factory=Pair)
    servo: Annotated[Group, arg(name="")] = field(default_factory=Group)

    def __call__(self) -> int:
        raise _raised[0]


_raised: list[BaseException] = []


@pytest.fixture
def raising(siame: Siame, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command that raises: status and the error's line."""
    monkeypatch.setitem(commands.COMMANDS, "fake", Command("fake:Fake", "", resumes=False))
    monkeypatch.setattr(Command, "load", lambda self: Fake)

    def run(error: BaseException) -> tuple[int, str]:
        _raised[:] = [error]
        status, out, err = siame("fake")
        assert out == ""
        assert err.count("\n") == 1
        return status, err.removesuffix("\n")

    return run


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SiameError("it is red"), "it is red"),
        (InputError("runs 0: give 1 or more", "runs"), "runs 0: give 1 or more (--runs)"),
        (InputError("too fast", "limits.max_twist"), "too fast (--limits.max-twist)"),
        (InputError("too fast", "servo.max_twist"), "too fast (--max-twist)"),
        (InputError("both", "runs", "limits.views"), "both (--runs, --limits.views)"),
        (InputError("twice", "runs", "runs"), "twice (--runs)"),
        (InputError("of another command", "data.augmentation"), "of another command"),
        (InputError("two options end so", "side"), "two options end so"),
        (InputError("give --runs 3", "runs"), "give --runs 3"),
        (InputError("not --runs-on", "runs"), "not --runs-on (--runs)"),
        (InputError("one of them is named so", "max_twist"), "one of them is named so (--max-twist)"),
        (InputError("no option of the command", "limits"), "no option of the command"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.png"), "a.png: No such file or directory"),
        (OSError(errno.ENOSPC, "No space left on device"), "the system refused something: No space left on device"),
        (
            OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"),
            "a -> b: Invalid cross-device link",
        ),
        (
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            "a connection was lost: Connection reset by peer; see that the other side runs, and start again",
        ),
        (TimeoutError("10 s"), "no answer in time: 10 s; see that the other side runs, and start again"),
        (EOFError(), "the input ended before an answer came; run this in a terminal"),
    ],
)
def test_errors_are_one_line_with_the_flags_that_help(raising: Any, error: BaseException, line: str) -> None:
    assert raising(error) == (2, f"siame: {line}")


def test_settings_that_refuse_their_values(siame: Siame) -> None:
    """The group that refuses a value knows its option, where another group has one of the same name."""
    status, _, err = siame("servo", "--gain", 0)
    assert (status, err.split()[-1]) == (2, "(--gain)")
    status, _, err = siame("servo", "--safety.max-twist", *(6 * [0]))
    assert (status, err.split()[-1]) == (2, "(--safety.max-twist)")
    from siame_se3.cli.servo import Servo
    from siame_se3.scenes.conditions import Augmentation
    from siame_se3.servo.config import ServoConfig

    assert flags_for(Servo, ("gain",)) == ["--gain"]
    assert flags_for(Servo, ("gain",), ServoConfig) == ["--gain"]
    assert flags_for(Servo, ("gain",), Augmentation) == ["--conditions.gain"]


def test_ctrl_c(raising: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert raising(KeyboardInterrupt()) == (130, "siame: stopped")
    monkeypatch.setitem(commands.COMMANDS, "fake", Command("fake:Fake", "", resumes=True))
    assert raising(KeyboardInterrupt()) == (130, "siame: stopped; the same command goes on from what is saved")
    status, line = raising(Interrupted("step 4 of 6, saved in m.state"))
    assert (status, line) == (
        130,
        "siame: stopped at step 4 of 6, saved in m.state; the same command goes on from what is saved",
    )


def test_other_errors_are_not_hidden(raising: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError("a fault of the program"))


def test_a_lost_connection_is_no_broken_output(raising: Any) -> None:
    """A pipe that broke elsewhere than at standard output, such as a robot's."""
    status, line = raising(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert (status, line) == (
        2,
        "siame: a connection was lost: Broken pipe; see that the other side runs, and start again",
    )


def test_nobody_reads_the_output() -> None:
    """siame --help | head -c 0"""
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-m", "siame_se3", "--help"], stdout=write, stderr=subprocess.PIPE, env=environment, timeout=60
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


ESCAPED = """import sys
sys.argv = ["siame", *sys.argv[1:]]
from siame_se3.cli import main, program
from siame_se3.cli.output import Output

def run(arguments):
    output = Output(as_json="--json" in arguments)
    output.say(arguments[0])
    print("goes on")
    output.end({"photo": arguments[0], "more": "\\xe9 \\u03b4 \\U0001f600"})
    return 0

program._run = run
main()"""


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict", "cp1252:strict"])
def test_a_name_that_the_output_cannot_encode_is_printed_escaped(encoding: str) -> None:
    """It was a traceback, and the results were lost: a photo 'caf\\xe9.jpg' of an older system, or a Windows pipe."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": encoding}

    def run(*arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", ESCAPED, *arguments]
        return subprocess.run(command, capture_output=True, timeout=60, env=environment)

    done = run(b"caf\xe9.jpg")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines() == [rb"caf\udce9.jpg", b"goes on"]
    done = run(b"caf\xe9.jpg", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout.decode(encoding.split(":")[0]).removeprefix("goes on\n"))
    assert document["photo"] == "caf\udce9.jpg"
    assert document["more"] == "\xe9 \u03b4 \U0001f600"


@pytest.mark.parametrize("user", [None, ""])
def test_a_container_s_user_without_a_name_gets_one(user: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """docker run --user 1234: PyTorch's compiler asks for the name, and a training ended in a traceback."""
    names = ("LOGNAME", "USER", "LNAME", "USERNAME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    monkeypatch.setattr(os, "environ", environment | ({} if user is None else {"USER": user}))

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(os, "getuid", lambda: 1234)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(SystemExit):
        program.main(["--version"])
    assert getpass.getuser() == "uid1234"


def test_a_user_with_a_name_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("USER", raising=False)
    with pytest.raises(SystemExit):
        program.main(["--version"])
    assert "USER" not in os.environ
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.delattr(os, "getuid")  # Windows
    with pytest.raises(SystemExit):
        program.main(["--version"])
    assert os.environ["USER"] == "somebody"


def test_where_pipes_cannot_be_asked_a_broken_one_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no select.poll: it was an AttributeError."""
    monkeypatch.delattr(select, "poll")
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream, os.fdopen(read):
        monkeypatch.setattr(sys, "stdout", stream)
        assert not program._reader_is_gone()


def test_statuses() -> None:
    assert {s.name: int(s) for s in Status} == {
        "DONE": 0,
        "NOT_CONVERGED": 1,
        "WRONG_INPUT": 2,
        "NOT_SURE": 3,
        "INTERRUPTED": 130,
    }


def test_a_container_s_quota_is_seen_before_pytorch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which reads the number of threads then, once."""
    order: list[str] = []
    monkeypatch.setattr(threads, "keep_to_quota", lambda: order.append("quota"))
    load = Command.load
    monkeypatch.setattr(Command, "load", lambda self: (order.append("load"), load(self))[1])
    parse(["doctor"])
    assert order[:2] == ["quota", "load"]


# -- parsing ----------------------------------------------------------------------------------------------------------


def test_parse_gives_the_command_and_runs_nothing() -> None:
    command = parse(["servo", "--runs", "3", "--gain", "7", "--plant", "arm", "--conditions.occlusion", "0"])
    assert (command.runs, command.servo.gain, command.plant, command.conditions.occlusion) == (3, 7.0, "arm", 0.0)
    with pytest.raises(InputError, match="no such command"):
        parse(["sero"])


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_flag_that_the_parser_knows(name: str) -> None:
    """`flags` names options as tyro does: each is found in the whole help."""
    command = COMMANDS[name].load()
    leaves = {path for path in flags(command)}
    assert {path.split(".")[0] for path in leaves} == {f.name for f in fields(command)}
    assert not any(is_dataclass(getattr(command, path, None)) for path in leaves)


@pytest.mark.parametrize(
    "asked", [("--print-completion", "bash"), ("--print-completion",), ("--tyro-print-completion", "bash")]
)
def test_completion_scripts_know_all_commands(siame: Siame, asked: tuple[str, ...]) -> None:
    status, out, _ = siame(*asked)
    assert status == 0
    for name in COMMANDS:
        assert name in out


def test_bash_completes_commands_options_and_files(siame: Siame, tmp_path: Path) -> None:
    """Lines of the help texts were offered as words, and no file."""
    (tmp_path / "siame.bash").write_text(siame("--print-completion", "bash")[1], encoding="utf-8")
    ask = 'source siame.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tyro_siame; printf "%s\\n" "${COMPREPLY[@]}"'

    def completed(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", ask, "bash", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.split("\n")[:-1]

    assert completed("siame", "se") == ["servo"]
    assert completed("siame", "servo", "--la") == ["--law"]
    assert completed("siame", "calibrate", "--lens", "eq") == ["equidistant"]
    assert completed("siame", "train", "ph") == [""]
    registered = subprocess.run(
        ["bash", "-c", "source siame.bash; complete -p siame"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert "-o default" in registered.stdout


def test_a_shell_without_completion_is_refused(siame: Siame) -> None:
    status, out, err = siame("--print-completion", "cmd")
    assert (status, out) == (2, "")
    assert err == "siame: cmd: no completion for this shell; there is one for bash, zsh, fish, tcsh\n"


def test_an_error_of_the_system_without_words() -> None:
    assert program.os_error_line(OSError()) == "the system refused something: OSError"
