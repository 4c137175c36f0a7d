"""siame doctor: what works on this machine, what does not, and the command that helps."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal

from siame_se3.cli.output import Output
from siame_se3.cli.status import Status
from siame_se3.errors import SiameError
from siame_se3.files import BUNDLED_MODELS, bundled, doing, hardware
from siame_se3.files.cores import quota

Verdict = Literal["ok", "none", "wrong"]
"""ok: it works; none: it is not here, and only what needs it does not work; wrong: the base does not work."""

_ROOM = 2.0  # [GB] free on the disk that trainings and tables need at most
_VIDEO = Path("/dev")
_DISTRIBUTION = "siame-se3"
_TESTS = {"test", "docs", "dev"}  # extras that are not for users


@dataclass(frozen=True)
class Item:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        verdict: see `Verdict`.
        text: what was found.
        help: the command or step that helps, '' where none is needed.
    """

    name: str
    verdict: Verdict
    text: str
    help: str = ""


@dataclass(frozen=True)
class Doctor:
    """See what works on this machine, what does not, and the command that helps.

    Versions, processor and threads, GPU, engines (with the time of a step), cameras, ROS 2 and DDS, disk, optional extras. Nothing is
    opened but a DDS participant, and nothing moves. Exit status 0 where the base works: the laws, the bundled models, training.
    """

    json: bool = False
    """Print the result as JSON; what is for people goes to standard error."""

    def __call__(self) -> int:
        output, items = Output(self.json), []
        for look in (versions, processor, gpu, engines, cameras, dds, disk, extras):
            with doing(f"looking at {look.__name__}"):
                found = list(look())
            for item in found:
                output.say(
                    f"{item.verdict:<6}{item.name:<22}{item.text}" + (f"\n{'':<28}-> {item.help}" if item.help else "")
                )
            items += found
        wrong = [item.name for item in items if item.verdict == "wrong"]
        output.say(f"the base does not work: {', '.join(wrong)}" if wrong else "the base works; next: siame demo")
        output.end({"works": not wrong, "items": items})
        return Status.NOT_CONVERGED if wrong else Status.DONE


def versions() -> Iterator[Item]:
    """Of Python, this package and those that it needs."""
    import siame_se3

    yield Item("siame-se3", "ok", f"{siame_se3.__version__}, Python {platform.python_version()}, {platform.platform()}")
    for name, least, extra in _requirements():
        if extra:
            continue
        found = _version(name)
        if found is None:
            yield Item(name, "wrong", "not installed", f"pip install '{name}>={least}'")
        elif _older(found, least):
            yield Item(name, "wrong", f"{found}, and {least} is needed", f"pip install --upgrade '{name}>={least}'")
    import torch

    yield Item("PyTorch", "ok", torch.__version__)


def processor() -> Iterator[Item]:
    """Its cores and the threads that PyTorch takes."""
    import torch

    from siame_se3.cli.threads import Cores, threads_said

    cores, threads = Cores(), torch.get_num_threads()
    free = cores.free()
    text = f"{hardware('cpu')}; {threads} thread{'s' * (threads > 1)}"
    if said := threads_said():
        text += f" (OMP_NUM_THREADS={said})"
    elif (allowed := quota()) is not None:
        text += f" (this container's quota: {allowed} cores)"
    busy = free < cores.count
    advice = f"other work leaves {free} of {cores.count} cores: trainings are slower than alone" if busy else ""
    yield Item("processor", "ok", text, advice)


def gpu() -> Iterator[Item]:
    """Whether PyTorch has one."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        yield Item("GPU", "ok", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
        return
    built = (
        f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}" if torch.version.hip else ""
    )
    why = f"this PyTorch is built for {built}, and sees no GPU" if built else "this PyTorch is built for CPUs"
    helps = "if there is one: see that nvidia-smi shows it, and that its driver is new enough" if built else ""
    yield Item("GPU", "none", f"{why}; training and laws run on the CPU", helps)


def engines() -> Iterator[Item]:
    """The bundled model on each engine, and the time of a step of one camera."""
    import torch

    from siame_se3.networks import checkpoint
    from siame_se3.networks.engines import ENGINES, engine_for

    try:
        model = checkpoint.load(bundled(BUNDLED_MODELS["coffee"]))
    except (SiameError, OSError) as error:
        yield Item("bundled models", "wrong", str(error), "pip install --force-reinstall siame-se3")
        return
    size = model.network.config.image_size
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    for name in ENGINES:
        if name == "auto":
            continue
        try:
            engine = engine_for(model.network, name)
            goal = engine.embed(image)
            milliseconds = _milliseconds(partial(engine.step, image, goal))
        except (SiameError, RuntimeError) as error:  # the latter are PyTorch's and OpenVINO's own
            base: Verdict = "wrong" if name == "torch" else "none"
            yield Item(f"engine {name}", base, (str(error).splitlines() or ["does not run"])[0])
        else:
            yield Item(f"engine {name}", "ok", f"{milliseconds:.1f} ms a step of the bundled model")


def cameras() -> Iterator[Item]:
    """Devices that OpenCV could open."""
    devices = sorted(path for path in _VIDEO.glob("video*") if path.name[5:].isdecimal())
    if not devices and sys.platform == "linux":
        others = "a topic (--camera-source ros2), a video file or a URL do as well (--source)"
        yield Item("cameras", "none", "no /dev/video*", others)
    elif not devices:
        text = "not listed on this system, where they have no files; one that is there can be used"
        yield Item("cameras", "none", text, "try --camera-source opencv --source 0")
    for path in devices:
        if os.access(path, os.R_OK | os.W_OK):
            yield Item(f"camera {path.name[5:]}", "ok", f"{path}: --camera-source opencv --source {path.name[5:]}")
        else:
            yield Item(
                f"camera {path.name[5:]}",
                "none",
                f"{path}: no permission",
                "sudo usermod -aG video $USER, and log in again",
            )


def dds() -> Iterator[Item]:
    """ROS 2, or CycloneDDS in its place: whether a participant starts."""
    from siame_se3.plants.robots.buses import bus_for

    ros = importlib.util.find_spec("rclpy") is not None
    name = "ROS 2 (rclpy)" if ros else "ROS 2 (CycloneDDS)"
    domain = os.environ.get("ROS_DOMAIN_ID") or "0"
    try:
        bus_for("auto").close()
    except SiameError as error:
        yield Item(name, "none", str(error))
    else:
        yield Item(name, "ok", f"a participant starts in domain {domain}; nothing is said about who else is there")


def disk() -> Iterator[Item]:
    """Room, and whether files can be written: here and where temporary files go."""
    for name, folder in (("disk, here", Path.cwd()), ("disk, temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free / 1e9
        text = f"{folder}: {free:.1f} GB free"
        try:
            with tempfile.TemporaryFile(dir=folder) as stream:
                stream.write(b"x")
        except OSError as error:
            yield Item(
                name, "wrong", f"{folder}: cannot be written ({error.strerror})", "run in another folder, or set TMPDIR"
            )
            continue
        yield Item(name, "ok", text, f"free some: trainings and tables take up to {_ROOM:g} GB" if free < _ROOM else "")


def extras() -> Iterator[Item]:
    """The optional parts of the package: which of their packages are there."""
    wanted: dict[str, list[tuple[str, str]]] = {}
    for name, least, extra in _requirements():
        if extra and extra not in _TESTS and not name.startswith(_DISTRIBUTION):
            wanted.setdefault(extra, []).append((name, least))
    if not wanted:
        yield Item("extras", "none", "siame-se3 is not installed as a package, so they are not known", "pip install .")
    for extra, packages in wanted.items():
        found = {name: _version(name) for name, _ in packages}
        missing = [name for name, least in packages if found[name] is None or _older(str(found[name]), least)]
        text = ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
        helps = f"pip install 'siame-se3[{extra}]'" if missing else ""
        yield Item(f"extra {extra}", "none" if missing else "ok", text, helps)


def _requirements() -> list[tuple[str, str, str]]:
    """(package, least version, extra) of all that this package asks for; extra '' for the base. Empty where it is not installed."""
    try:
        lines = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        name, least, extra = (
            re.search(form, line) for form in (r"^[\w.-]+", r">=\s*([\d.]+)", r"extra == ['\"]([\w-]+)")
        )
        assert name is not None
        found.append((name[0], least[1] if least else "0", extra[1] if extra else ""))
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _older(found: str, least: str) -> bool:
    def parts(text: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", text.partition("+")[0])]

    return parts(found) < parts(least)


def _milliseconds(call: Callable[[], object], times: int = 20) -> float:
    """The median of some calls, after two that prepare."""
    seconds = []
    for k in range(times + 2):
        began = time.perf_counter()
        call()
        if k > 1:
            seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds)
