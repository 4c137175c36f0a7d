"""siame export: ONNX and OpenVINO files of a model, checked against PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from siame_se3.cli.options import check_writable
from siame_se3.errors import SiameError
from siame_se3.files import model_file


@dataclass(frozen=True)
class Export:
    """Write a model as ONNX or OpenVINO files, for programs without PyTorch.

    Two files a format: 'embed' (image -> S(I)) and 'step' (image and the goal image's S(I*) -> output). Each is read back, run, and
    compared with PyTorch.
    """

    model: Positional[Path | None] = None
    """Model that 'siame train' wrote, or the name of a bundled one: coffee (the default), any-scene (for scenes that no training has seen)."""
    format: Literal["onnx", "openvino", "both"] = "both"
    """What to write."""
    out: Path | None = None
    """Stem of the files; default: the model's name. Writes OUT-embed.onnx, OUT-step.onnx, OUT-embed.xml, ..."""

    def __call__(self) -> None:
        from siame_se3.networks import checkpoint, export

        path = model_file(self.model)
        model = checkpoint.load(path)
        stem = self.out or Path(path.name).with_suffix("")
        check_writable(stem.with_name(stem.name + "-step.xml"), "--out")
        worst = 0.0
        for kind in ("onnx", "openvino") if self.format == "both" else (self.format,):
            for name, difference in export.export(model, stem, kind).items():
                print(f"{stem.parent / name}: largest difference to PyTorch {difference:.1e} of the largest value")
                worst = max(worst, difference)
        if worst > 1e-3:
            raise SiameError(f"{path}: an exported file differs by {worst:.1e}; do not use it, and report this")
        print("parity: ok (below 1e-3)")
