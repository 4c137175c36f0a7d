"""The program `siame`: from a command line to a command, its exit status, and one clear line where something is wrong."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Any

from siame_se3.cli.commands import COMMANDS
from siame_se3.cli.help import HELP, HELP_ALL, overview, print_help
from siame_se3.cli.status import Status
from siame_se3.errors import InputError, SiameError

_COMPLETION = ("--print-completion", "--tyro-print-completion")
_SHELLS = ("bash", "zsh", "fish", "tcsh")
_NAMES_OF_FILES = {  # in bash's script: where nothing else fits, the name of a file may
    "complete -F": "complete -o bashdefault -o default -F",
    '  COMPREPLY=("${matches[@]}")': '  [[ -n "$completions" ]] || matches=()\n  COMPREPLY=("${matches[@]}")',
}


def main(arguments: list[str] | None = None) -> None:
    """Run a command line (by default the program's own), and exit with its status."""
    _print_all_names()
    _name_the_user()
    status = _run(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
    sys.exit(status)


def _print_all_names() -> None:
    """What a stream cannot encode, as the name of a file that is no UTF-8 or a letter that a Windows code page lacks, is printed escaped."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _name_the_user() -> None:
    """In a container that runs under a number alone, where PyTorch asks for the user's name when it compiles, and finds none."""
    if os.environ.get("USER") or not hasattr(os, "getuid"):  # on Windows it is not asked for
        return
    import pwd

    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ["USER"] = f"uid{os.getuid()}"


def _run(arguments: list[str]) -> int:
    """The exit status of a command line; what is wrong goes to standard error."""
    # Read when PyTorch is loaded: threads that wait for each other go to sleep after some 30 us (by default after milliseconds, in which they keep
    # a core busy that another process needs). At once (OMP_WAIT_POLICY=passive) a law's step takes twice as long alone.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Read when OpenCV is loaded, whose lines on a camera or file that does not open would stand beside our one.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    name = arguments[0] if arguments else ""
    command: Any = None
    try:
        command = parse(arguments)
        return Status.DONE if command is None else command() or Status.DONE
    except SiameError as error:
        return _wrong(_with_flags(error, name, parsed=command is not None))
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return Status.DONE
        return _wrong(os_error_line(error))
    except EOFError:
        return _wrong("the input ended before an answer came; run this in a terminal")
    except KeyboardInterrupt as stop:
        where = f" at {stop}" if str(stop) else ""
        resumes = command is not None and COMMANDS[name].resumes and getattr(command, "saved", True)
        print(f"siame: stopped{where}" + "; the same command goes on from what is saved" * resumes, file=sys.stderr)
        return Status.INTERRUPTED


def parse(arguments: list[str]) -> Any:
    """The command of a command line, not run yet; None for one that asks for help or the version, which is printed.

    Raises:
        InputError: no such command.
        SystemExit: an option or a value that the command does not have.
    """
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in (*HELP, HELP_ALL):
        print(overview())
        return None
    if name == "--version":
        import siame_se3

        print(f"siame {siame_se3.__version__}")
        return None
    if name in _COMPLETION:
        return _print_completion(rest[0] if rest else "bash")
    if name not in COMMANDS:
        raise InputError(f"{name}: no such command; {_near(name)}")
    asked = set(rest)
    if asked & {*HELP, HELP_ALL}:
        print_help(name, whole=HELP_ALL in asked)
        return None
    from siame_se3.cli.threads import keep_to_quota
    from siame_se3.files import doing

    keep_to_quota()
    with doing("loading PyTorch"):
        import tyro

        kind = COMMANDS[name].load()
    _find_modules_here(rest)
    return tyro.cli(kind, prog=f"siame {name}", args=rest)


def _find_modules_here(arguments: list[str]) -> None:
    """Let 'module:Name' be a module in the folder that the command runs in; installed modules come first."""
    here = os.getcwd()
    if here not in sys.path and any(re.fullmatch(r"[\w.]+:[\w.]+", word) for word in arguments):
        sys.path.append(here)


def _print_completion(shell: str) -> None:
    """Print the completion script of a shell.

    Raises:
        InputError: a shell that has none.
    """
    import contextlib
    import io

    import tyro

    from siame_se3.cli.help import shown

    if shell not in _SHELLS:
        raise InputError(f"{shell}: no completion for this shell; there is one for {', '.join(_SHELLS)}")
    # help texts of several lines would be taken for completions
    commands: dict[str, Callable[..., Any]] = {name: shown(command.load()) for name, command in COMMANDS.items()}
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):  # tyro's way to end after a script
        tyro.extras.subcommand_cli_from_dict(commands, prog="siame", args=["--tyro-print-completion", shell])
    script = text.getvalue()
    for theirs, ours in _NAMES_OF_FILES.items():
        script = script.replace(theirs, ours)
    print(script, end="")


def _near(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, 1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}"


def _wrong(line: str) -> int:
    from siame_se3.plants.robots.text import printable

    print(f"siame: {printable(line, 4000)}", file=sys.stderr)  # it may have what a file or a network says
    return Status.WRONG_INPUT


def _with_flags(error: SiameError, name: str, parsed: bool) -> str:
    """An error's message, and the flags of the settings that would help where the message does not have them."""
    from siame_se3.cli.flags import flags_for, refusing

    if not error.settings or name not in COMMANDS:
        return str(error)
    group = None if parsed else refusing(error)
    helpful = [f for f in flags_for(COMMANDS[name].load(), error.settings, group) if f not in str(error).split()]
    return f"{error} ({', '.join(helpful)})" if helpful else str(error)


def os_error_line(error: OSError) -> str:
    """One line on an error of the operating system: the file that it names, or what was lost."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is not None:
        other = f" -> {error.filename2}" if error.filename2 is not None else ""
        return f"{error.filename}{other}: {reason}"
    if isinstance(error, ConnectionError):
        return f"a connection was lost: {reason}; see that the other side runs, and start again"
    if isinstance(error, TimeoutError):
        return f"no answer in time: {reason}; see that the other side runs, and start again"
    return f"the system refused something: {reason}"


def _reader_is_gone() -> bool:
    """Whether nobody reads standard output any more ('siame ... | head'): then what is left to be printed goes nowhere."""
    import select

    try:
        place = sys.stdout.fileno()
    except (OSError, ValueError):  # no file of the system, as in tests
        return False
    if not hasattr(select, "poll"):  # Windows, where a pipe cannot be asked
        return False
    poll = select.poll()
    poll.register(place, 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, place)
    os.close(nowhere)
    return True
