"""Shapes and types in the package's signatures, checked while the tests run: SIAME_CHECK_TYPES=1, a job of its own (.ci/run).

Imported before `siame_se3`. What exporters run is left out, since there shapes are tensors: all that the network's own files reach in
the rooms below, so that a new file there is left out too. CycloneDDS has types of its own.
"""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

from imports_helpers import FILES, HOUSE, module_of, reached, room_of

# an int is a float, as type checkers have it
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))

NETWORK = HOUSE / "networks" / "siamese.py"
RUN_BY_IT = {"networks", "geometry", "images"}  # rooms whose functions an exported network calls
NOT_RUN_BY_IT = frozenset({"geometry.camera", "networks.config", "networks.part_configs"})  # imported for their types
FOREIGN = {"plants.robots.ros2_messages"}


def exported() -> set[str]:
    """Modules whose functions exporters run."""
    return {module_of(path) for path in reached(NETWORK, NOT_RUN_BY_IT) if room_of(path) in RUN_BY_IT}


def install() -> None:
    """Check all modules that are imported from here on."""
    names = {module_of(path) for path in FILES if path.name != "__init__.py" and room_of(path) != "experiments"}
    install_import_hook(sorted(f"siame_se3.{name}" for name in names - exported() - FOREIGN), "typecheck.checked")
