"""siame doctor: what it finds, what it advises, and its exit status."""

from __future__ import annotations

import json
import os
import tomllib
from collections import namedtuple
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from cli_helpers import Siame
from siame_se3.cli import doctor
from siame_se3.cli.doctor import Item
from siame_se3.errors import ModelError, RobotError
from siame_se3.networks import checkpoint
from siame_se3.plants.robots import buses

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def asked_for(monkeypatch: pytest.MonkeyPatch, lines: list[str], there: dict[str, str]) -> None:
    """Another list of requirements, and other packages that are installed."""

    def version(name: str) -> str:
        if name not in there:
            raise metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    monkeypatch.setattr(metadata, "version", version)


def looks(monkeypatch: pytest.MonkeyPatch, *items: Item) -> None:
    """Only these are found."""

    def versions() -> Iterator[Item]:
        yield from items

    for name in ("processor", "gpu", "engines", "cameras", "dds", "disk", "extras"):
        monkeypatch.setattr(doctor, name, versions if name == "disk" else lambda: iter(()))
        getattr(doctor, name).__name__ = name
    monkeypatch.setattr(doctor, "versions", lambda: iter(()))


def test_the_base_works_here() -> None:
    for look in (doctor.gpu, doctor.disk, doctor.processor):
        assert [item for item in look() if item.verdict == "wrong"] == []


def test_status_and_json_say_whether_the_base_works(siame: Siame, monkeypatch: pytest.MonkeyPatch) -> None:
    good, missing = Item("engine torch", "ok", "2 ms"), Item("extra ur", "none", "ur_rtde missing", "pip install x")
    looks(monkeypatch, good, missing)
    status, out, _ = siame("doctor")
    assert status == 0
    assert "none  extra ur              ur_rtde missing\n                            -> pip install x\n" in out
    assert out.endswith("the base works; next: siame demo\n")
    looks(monkeypatch, good, Item("torch", "wrong", "not installed", "pip install torch"))
    status, out, err = siame("doctor", "--json")
    assert status == 1
    result = json.loads(out)
    assert result["works"] is False
    assert [item["name"] for item in result["items"]] == ["engine torch", "torch"]
    assert "the base does not work: torch" in err


def test_packages_that_are_missing_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "torch>=2.9",
        "numpy>=1.26",
        "pillow>=10",
        'timm>=1.0.15; extra == "train"',
        'onnx>=1.16; extra == "export"',
    ]
    asked_for(monkeypatch, lines, {"torch": "2.10.0+cpu", "numpy": "1.9.1", "onnx": "1.16"})
    found = {item.name: item for item in doctor.versions()}
    assert "torch" not in found
    assert (found["numpy"].verdict, found["numpy"].help) == ("wrong", "pip install --upgrade 'numpy>=1.26'")
    assert (found["pillow"].verdict, found["pillow"].help) == ("wrong", "pip install 'pillow>=10'")
    extras = {item.name: item for item in doctor.extras()}
    assert extras["extra train"] == Item("extra train", "none", "timm missing", "pip install 'siame-se3[train]'")
    assert extras["extra export"] == Item("extra export", "ok", "onnx 1.16")


def test_requirements_are_read_as_the_project_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    lines = [*project["dependencies"], *(f'{line}; extra == "{name}"' for name in optional for line in optional[name])]
    asked_for(monkeypatch, lines, {})
    users = {f"extra {name}" for name in optional} - {"extra test"}
    assert {item.name for item in doctor.extras()} >= users - {"extra docs"}
    assert len(list(doctor.versions())) == len(project["dependencies"]) + 2  # the package and PyTorch


def test_a_source_tree_without_an_installation_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    (item,) = doctor.extras()
    assert (item.verdict, item.help) == ("none", "pip install .")


def test_a_bundled_model_that_cannot_be_read_is_a_fault_of_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: Path) -> None:
        raise ModelError(f"{path}: damaged")

    monkeypatch.setattr(checkpoint, "load", load)
    (item,) = doctor.engines()
    assert item.verdict == "wrong"
    assert "damaged" in item.text


def test_cameras_and_their_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_VIDEO", tmp_path)
    (item,) = doctor.cameras()
    assert (item.verdict, "--source" in item.help) == ("none", True)
    for name in ("video0", "video2", "videodev"):
        (tmp_path / name).touch()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name == "video2")
    first, second = doctor.cameras()
    assert (first.name, first.verdict) == ("camera 0", "none")
    assert "usermod -aG video" in first.help
    assert (second.verdict, "--source 2" in second.text) == ("ok", True)


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_where_cameras_have_no_files_none_is_denied(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said 'no /dev/video*' where a camera works."""
    monkeypatch.setattr(doctor, "_VIDEO", tmp_path)
    monkeypatch.setattr(doctor.sys, "platform", system)
    (item,) = doctor.cameras()
    assert item.text.startswith("not listed on this system")
    assert "/dev/video" not in item.text
    assert item.help == "try --camera-source opencv --source 0"


def test_a_container_s_quota_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(doctor, "quota", lambda: 2)
    (item,) = doctor.processor()
    assert item.text.endswith("(this container's quota: 2 cores)")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    (item,) = doctor.processor()
    assert item.text.endswith("(OMP_NUM_THREADS=3)")


def test_dds_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(kind: str) -> None:
        raise RobotError("CycloneDDS is not installed; pip install x")

    monkeypatch.setattr(buses, "bus_for", none)
    (item,) = doctor.dds()
    assert (item.verdict, item.text) == ("none", "CycloneDDS is not installed; pip install x")


def test_a_full_disk_and_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage(1e11, 1e11, 5e8))
    here, _ = doctor.disk()
    assert (here.verdict, "0.5 GB free" in here.text, "free some" in here.help) == ("ok", True, True)

    def refused(dir: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refused)
    assert [item.verdict for item in doctor.disk()] == ["wrong", "wrong"]
