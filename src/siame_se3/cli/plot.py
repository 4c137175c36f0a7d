"""siame plot: the figure of a saved trajectory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from siame_se3.cli.options import check_writable, fill_of
from siame_se3.errors import SiameError


@dataclass(frozen=True)
class Plot:
    """Draw the figure of a saved trajectory (siame servo --save): images, errors, twists, 3D paths."""

    trajectory: Positional[Path]
    """An .npz that 'siame servo --save' wrote."""
    out: Path = Path("servo.png")
    """Figure to write (.png, .pdf or .svg)."""
    scene: Path | None = None
    """Photo of the scene, if it is no longer where the run found it."""
    run: int | None = None
    """Which run to show in images and twists; default: the one with the largest start error among the converged."""

    def __call__(self) -> None:
        from siame_se3.analysis import plots
        from siame_se3.files import from_dict
        from siame_se3.geometry.camera import Camera
        from siame_se3.scenes.planar import Scene
        from siame_se3.servo.trajectory import Trajectory

        check_writable(self.out, "--out")
        trajectory = Trajectory.load(self.trajectory)
        s = trajectory.settings
        try:
            camera = from_dict(Camera, s["camera"], str(self.trajectory))
            scene = Scene.from_photo(self.scene or s["scene"], s["width"], fill=fill_of(s["fill"]))
        except KeyError as error:
            raise SiameError(
                f"{self.trajectory}: its settings lack {error}; save it again with 'siame servo --save'"
            ) from None
        count = trajectory.T_wc.shape[1]
        if not count:
            raise SiameError(f"{self.trajectory}: it has no runs; there is nothing to draw")
        if self.run is not None and not 0 <= self.run < count:
            raise SiameError(f"--run {self.run}: the trajectory has runs 0 to {count - 1}")
        side = min(1.0, 512 / max(camera.size))  # no panel has more pixels
        drawn = camera.resized(max(2, round(side * camera.width)), max(2, round(side * camera.height)))
        plots.save(plots.overview(trajectory, scene, drawn, run=self.run), self.out)
        print(f"figure: {self.out}")
