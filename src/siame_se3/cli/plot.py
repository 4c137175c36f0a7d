"""siame plot: the figure of a saved trajectory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from siame_se3.cli.options import FIGURES, check_writable, fill_of
from siame_se3.errors import InputError
from siame_se3.files import doing


@dataclass(frozen=True)
class Plot:
    """Draw the figure of saved runs: images, errors, twists, paths."""

    trajectory: Positional[Path]
    """An .npz that 'siame servo --save' wrote."""
    out: Path = Path("servo.png")
    """Figure to write (.png, .pdf or .svg)."""
    scene: Path | None = None
    """Photo of the scene, if it is no longer where the run found it."""
    run: int | None = None
    """Number of the run that images and twists show; default: of the converged, the one that started farthest away, and one that
    did not converge."""

    def __call__(self) -> None:
        from siame_se3.analysis import plots
        from siame_se3.files import from_dict
        from siame_se3.geometry.camera import Camera
        from siame_se3.scenes.planar import Scene
        from siame_se3.servo.trajectory import Trajectory

        check_writable(self.out, "--out", FIGURES)
        trajectory = Trajectory.load(self.trajectory)
        s = {name: value for name, value in trajectory.settings.items() if value is not None}
        try:
            camera = from_dict(Camera, s["camera"], str(self.trajectory))
            scene = Scene.from_photo(self.scene or s["scene"], s["width"], fill=fill_of(s["fill"]))
        except KeyError as error:
            raise InputError(
                f"{self.trajectory}: its settings lack {error}; give a file that 'siame servo --save' wrote"
            ) from None
        count = trajectory.T_wc.shape[1]
        if not count:
            raise InputError(f"{self.trajectory}: it has no runs; there is nothing to draw")
        if self.run is not None and not 0 <= self.run < count:
            raise InputError(f"run {self.run}: the trajectory has runs 0 to {count - 1}", "run")
        with doing(f"drawing {self.out}"):
            plots.save(plots.overview(trajectory, scene, camera, run=self.run), self.out)
        print(f"written: {self.out}")
