"""Shapes and types in the package's signatures are checked while the tests run: import this before `siame_se3`."""

from importlib.util import find_spec
from pathlib import Path

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# an int is a float, as type checkers have it
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
spec = find_spec("siame_se3")
assert spec is not None
assert spec.origin is not None
names = {f"siame_se3.{path.stem}" for path in Path(spec.origin).parent.glob("*.py")}
# Exporters run the network on tensors whose shapes are tensors.
names -= {"siame_se3.network", "siame_se3.homography", "siame_se3.__init__"}
folders = {f"siame_se3.{name}" for name in ("cli", "control")}
plants = {f"siame_se3.plant.{path.stem}" for path in (Path(spec.origin).parent / "plant").glob("*.py")}
plants -= {"siame_se3.plant.__init__", "siame_se3.plant.ros2_messages"}  # CycloneDDS has types of its own
install_import_hook(sorted(names | folders | plants), "typecheck.checked")
