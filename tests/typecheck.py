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
HOUSE = Path(spec.origin).parent
EXPORTED = {
    "networks.siamese",
    "networks.pooling",
    "networks.homography",
    "networks.fusion",
    "networks.resnet",
    "geometry.plane",
    "images.contrast",
}  # run on tensors whose shapes are tensors
FOREIGN = {"plants.robots.ros2_messages"}  # CycloneDDS has types of its own
names = {
    ".".join(path.relative_to(HOUSE).with_suffix("").parts)
    for path in HOUSE.rglob("*.py")
    if path.stem not in ("__init__", "__main__") and path.relative_to(HOUSE).parts[0] not in ("experiments",)
}
install_import_hook(sorted(f"siame_se3.{name}" for name in names - EXPORTED - FOREIGN), "typecheck.checked")
