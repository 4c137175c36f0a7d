"""Experiments that read tables of others, or draw starts: what is missing is said in one line."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch

from siame_se3.errors import InputError, SceneError
from siame_se3.experiments import basins, readme_table, visp_outcomes
from siame_se3.geometry.camera import default_camera
from siame_se3.geometry.lie import error_norms, inverse
from siame_se3.scenes.overlap import visible
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.poses import Workspace, reference_pose

ROOT = Path(__file__).resolve().parents[2]


def outcomes(folder: Path, *lines: str) -> Path:
    path = folder / "out.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_visp_s_outcomes_are_read(tmp_path: Path) -> None:
    path = outcomes(tmp_path, "idx,iters,converged", "0,13,1", "1,200,0")
    assert visp_outcomes.reference(path, 2) == [13, None]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("idx,iterations,converged", "0,13,1"), "no column 'iters'"),
        (("iters,converged", "13,yes"), "run 0: iters '13', converged 'yes'; give a whole number, and 0 or 1"),
        (("iters,converged", "-1,1"), "run 0: iters '-1'"),
        (("iters,converged", "13"), "line 2: 1 values for 2 columns"),
        (("iters,converged", "13,1", "14,1"), "outcomes of 2 runs for 1 starts"),
        (("iters,converged",), "no row below its header"),
    ],
)
def test_other_tables_are_no_outcomes(tmp_path: Path, lines: tuple[str, ...], words: str) -> None:
    path = outcomes(tmp_path, *lines)
    with pytest.raises(InputError) as caught:
        visp_outcomes.reference(path, 1)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copy(ROOT / "docs" / "table1.csv", tmp_path / "docs")
    monkeypatch.setattr(readme_table, "ROOT", tmp_path)
    return tmp_path


def test_a_table_without_a_column_changes_nothing(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, readme = checkout / "docs" / "table1.csv", checkout / "README.md"
    before = kept.read_bytes(), readme.read_bytes()
    bad = checkout / "bad.csv"
    bad.write_bytes(before[0].replace(b"step [ms]", b"step [s]"))
    monkeypatch.setattr(sys, "argv", ["readme_table", str(bad)])
    with pytest.raises(InputError, match=r"bad\.csv: no column 'step \[ms\]'; give the CSV of a whole Table I"):
        readme_table.main()
    assert (kept.read_bytes(), readme.read_bytes()) == before


def test_a_new_table_is_kept_and_shown(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = checkout / "docs" / "table1.csv"
    new = checkout / "new.csv"
    new.write_bytes(kept.read_bytes().replace(b"35.3", b"12.3"))
    monkeypatch.setattr(sys, "argv", ["readme_table", str(new)])
    readme_table.main()
    assert kept.read_bytes() == new.read_bytes()
    assert "12.3 %" in (checkout / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["", readme_table.BEGIN, readme_table.END + readme_table.BEGIN])
def test_a_readme_without_the_marks_is_said(text: str) -> None:
    with pytest.raises(InputError, match="no place for the table"):
        readme_table.filled(text, "a table")


def test_starts_are_as_many_as_asked_for(scene: Scene) -> None:
    camera = default_camera()
    T_wc = basins.starts(20, 12, scene, camera, seed=12)
    t, r = error_norms(inverse(reference_pose(Workspace.distance)) @ T_wc)
    torch.testing.assert_close(t, torch.full((20,), 0.12, dtype=torch.float64))
    torch.testing.assert_close(torch.rad2deg(r), torch.full((20,), 16.8, dtype=torch.float64))
    assert bool((visible(scene, camera, T_wc) >= 1 / 3).all())


def test_too_few_starts_are_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 3 m no place sees a third of the print."""
    monkeypatch.setattr(basins, "_ROUNDS", 3)
    with pytest.raises(
        SceneError, match="starts at 300 cm: 0 of 5 found that see a third of the print; give fewer runs"
    ):
        basins.starts(5, 300, scene, default_camera(), seed=0)
