"""Experiments that read tables of others, or draw starts: what is missing is said in one line."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch

from siame_se3.errors import InputError, SceneError
from siame_se3.experiments import basins, published, visp_outcomes
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
    for place in {*published.TABLES, "README.md", *(page for _, pages in published.TABLES.values() for page in pages)}:
        source = ROOT / "docs" / place if place in published.TABLES else ROOT / place
        target = tmp_path / source.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(source, target)
    monkeypatch.setattr(published, "ROOT", tmp_path)
    return tmp_path


def test_a_table_without_a_column_changes_nothing(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, page = checkout / "docs" / "table1.csv", checkout / "docs" / "results.md"
    before = kept.read_bytes(), page.read_bytes()
    bad = checkout / "table1.csv"
    bad.write_bytes(before[0].replace(b"step [ms]", b"step [s]"))
    monkeypatch.setattr(sys, "argv", ["published", str(bad)])
    with pytest.raises(InputError, match=r"table1\.csv: no column 'step \[ms\]'; give the CSV of a whole Table I"):
        published.main()
    assert (kept.read_bytes(), page.read_bytes()) == before


def test_a_file_of_another_name_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["published", str(checkout / "mine.csv")])
    with pytest.raises(InputError, match=r"mine\.csv: no page has its table; give files named table1\.csv"):
        published.main()


def test_a_new_table_is_kept_and_shown(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = checkout / "docs" / "table1.csv"
    new = checkout / "table1.csv"
    new.write_bytes(kept.read_bytes().replace(b"35.3", b"12.3"))
    monkeypatch.setattr(sys, "argv", ["published", str(new)])
    published.main()
    assert kept.read_bytes() == new.read_bytes()
    assert "12.3 %" in (checkout / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["", "".join(published.marks("a.csv")[:1]), "".join(published.marks("a.csv")[::-1])])
def test_a_page_without_the_marks_is_said(text: str) -> None:
    with pytest.raises(InputError, match="no place for the table"):
        published.filled(text, "a.csv", "a table")


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
