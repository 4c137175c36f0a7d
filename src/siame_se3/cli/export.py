"""siame export: ONNX and OpenVINO files of a model, checked against PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from siame_se3.cli.options import check_writable, load_model
from siame_se3.cli.output import Output
from siame_se3.errors import SiameError
from siame_se3.files import doing, model_file

_MOST = 1e-3  # difference to PyTorch of a file that may be used


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
    json: bool = False
    """Print the result as JSON; what is for people goes to standard error."""

    def __call__(self) -> None:
        from siame_se3.networks import export

        path, output = model_file(self.model), Output(self.json)
        stem = self.out or Path(path.name).with_suffix("")
        check_writable(stem.with_name(stem.name + "-step.xml"), "--out")
        model = load_model(path)
        differences: dict[str, float] = {}
        for kind in ("onnx", "openvino") if self.format == "both" else (self.format,):
            with doing(f"writing {kind} files of {path.name}, and comparing them with PyTorch"):
                found = export.export(model, stem, kind)
            for name, difference in found.items():
                place = stem.parent / name
                output.say(f"{place}: largest difference to PyTorch {difference:.1e} of the largest value")
                output.wrote(place, place.with_suffix(".bin") if place.suffix == ".xml" else None)
            differences |= found
        worst = max(differences.values())
        if worst > _MOST:
            raise SiameError(f"{path}: an exported file differs by {worst:.1e}; do not use it, and report this")
        output.say(f"parity: ok (below {_MOST:g})")
        output.end({"differences": differences})
