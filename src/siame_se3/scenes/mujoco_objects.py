"""Objects dropped on a table, settled by MuJoCo's physics: meshes of a folder, or boxes, cylinders and balls with textures made by a program."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siame_se3.errors import SceneError, require_number
from siame_se3.files import read_bytes, read_text, require_types
from siame_se3.scenes.mujoco import MujocoScene
from siame_se3.scenes.mujoco_render import load_mujoco

_MOST_BYTES = 200_000_000  # of a mesh's file
_LARGEST_TEXTURE = 1024  # [px]
_SIZES = (0.01, 1.0)  # [m] an object may have along its longest side
_STEP, _LONGEST, _STILL = 0.002, 4.0, 0.02  # of the physics [s], of settling [s], and what counts as rest [m/s]
_LIGHTS = ((0.6, 0.5, 1.6), (-0.7, -0.2, 1.4))


@dataclass(frozen=True)
class Pile:
    """How objects lie.

    Attributes:
        least, most: how many of them.
        radius: they are dropped within this of the middle [m].
        half_width: unseen walls keep them within +- this [m].
        table: width of the table that is seen [m].
        shadows: whether the lamps cast them.

    Raises:
        SceneError: a pile that cannot be.
    """

    least: int = 8
    most: int = 12
    radius: float = 0.14
    half_width: float = 0.26
    table: float = 3.0
    shadows: bool = False

    def __post_init__(self) -> None:
        require_types(self, "pile", SceneError)
        require_number(self, "least", 1, whole=True)
        require_number(self, "most", self.least, 64, whole=True)
        for name in ("radius", "half_width", "table"):
            require_number(self, name, 0, open_low=True)


@dataclass(frozen=True)
class Thing:
    """An object: MuJoCo's XML of what it needs and of its shape, and the files that these name."""

    name: str
    assets: str
    geometry: str
    files: dict[str, bytes]


def things_of(folder: Path) -> list[Thing]:
    """The objects of a folder, in name order: folders with a mesh (`textured.obj`, or one OBJ) and its picture, or OBJ files beside pictures of the
    same name.

    Raises:
        SceneError: there are none, or one that is too large or too small to be in metres.
        InputError: a file that cannot be read.
    """
    if not folder.is_dir():
        raise SceneError(f"{folder}: no such folder; give one of meshes", "objects")
    meshes = []
    for place in _listed(folder):
        if place.suffix.lower() == ".obj":
            meshes.append((place.stem, place))
        elif place.is_dir():
            found = [path for path in _listed(place) if path.suffix.lower() == ".obj"]
            preferred = [path for path in found if path.stem == "textured"] or found
            if preferred:
                meshes.append((place.name, preferred[0]))
    if not meshes:
        raise SceneError(
            f"{folder}: no mesh in it; give a folder of objects, each with an OBJ file and its picture", "objects"
        )
    return [_mesh_thing(f"mesh{k}", name, path) for k, (name, path) in enumerate(meshes)]


def _listed(folder: Path) -> list[Path]:
    """What is in a folder, in name order, without hidden files: another program may be writing them."""
    return sorted(path for path in folder.iterdir() if path.name[0] != ".")


def _mesh_thing(label: str, name: str, path: Path) -> Thing:
    content = read_bytes(path, _MOST_BYTES, "give an OBJ mesh")
    size = _extent(content, path)
    if not _SIZES[0] <= size <= _SIZES[1]:
        raise SceneError(
            f"{path}: {size:g} m along its longest side; give a mesh in metres, of {_SIZES[0]:g} to {_SIZES[1]:g} m",
            "objects",
        )
    files = {f"{label}.obj": content}
    picture = _picture_of(path)
    look = 'rgba=".6 .6 .6 1"'
    if picture is not None:
        files[f"{label}.png"], look = _png(picture), f'texture="{label}"'
    texture = f'<texture name="{label}" type="2d" file="{label}.png"/>' if picture is not None else ""
    assets = f'<mesh name="{label}" file="{label}.obj" maxhullvert="48"/>{texture}<material name="{label}" {look} specular="0"/>'
    return Thing(name, assets, f'type="mesh" mesh="{label}" material="{label}"', files)


def _extent(content: bytes, path: Path) -> float:
    """The longest side of a mesh's box."""
    lines = (line.split()[1:4] for line in content.splitlines() if line.startswith(b"v "))
    try:
        vertices = np.array([[float(x) for x in line] for line in lines])
    except ValueError:
        vertices = np.zeros((0, 3))
    if vertices.ndim != 2 or vertices.shape[1:] != (3,) or len(vertices) < 4 or not np.isfinite(vertices).all():
        raise SceneError(f"{path}: no OBJ mesh that can be read; give one with vertices and faces", "objects")
    return float(np.ptp(vertices, axis=0).max())


def _picture_of(mesh: Path) -> Path | None:
    """What a mesh's material names, or a picture of a usual name beside it; None for none."""
    named: list[Path] = []
    material = mesh.with_suffix(".mtl")
    if material.is_file():
        named = [
            mesh.parent / line.split()[-1]
            for line in read_text(material).splitlines()
            if line.strip().startswith("map_Kd")
        ]
    usual = [mesh.parent / "texture_map.png", *(mesh.with_suffix(kind) for kind in (".png", ".jpg", ".jpeg"))]
    return next((path for path in (*named, *usual) if path.is_file()), None)


def _png(source: Path | np.ndarray) -> bytes:
    """A picture as a PNG file of a size that renders fast."""
    from PIL import Image

    from siame_se3.images.decode import read_picture, to_bytes

    pixels = source if isinstance(source, np.ndarray) else to_bytes(read_picture(source))
    image = Image.fromarray(pixels)
    image.thumbnail((_LARGEST_TEXTURE, _LARGEST_TEXTURE))
    stream = io.BytesIO()
    image.save(stream, "png")
    return stream.getvalue()


def primitives(count: int, rng: np.random.Generator) -> list[Thing]:
    """Boxes, cylinders and balls of the sizes of groceries, each with a texture of its own."""
    from siame_se3.scenes.procedural import procedural

    made = []
    for k in range(count):
        label, kind = f"thing{k}", ("box", "cylinder", "box", "cylinder", "sphere")[int(rng.integers(5))]
        sides = rng.uniform((0.02, 0.02, 0.02), (0.05, 0.08, 0.11))
        size = {"box": "{} {} {}", "cylinder": "{} {}", "sphere": "{}"}[kind].format(*(f"{side:.4f}" for side in sides))
        picture = procedural(int(rng.integers(2**31)), 256, 256)
        kind_of_texture = "2d" if kind == "cylinder" else "cube"
        assets = (
            f'<texture name="{label}" type="{kind_of_texture}" file="{label}.png"/>'
            f'<material name="{label}" texture="{label}" specular="0"/>'
        )
        made.append(
            Thing(
                f"{kind}{k}", assets, f'type="{kind}" size="{size}" material="{label}"', {f"{label}.png": _png(picture)}
            )
        )
    return made


def dropped(
    seed: int, things: Sequence[Thing] | Path | None = None, width: float | None = None, pile: Pile | None = None
) -> MujocoScene:
    """A scene of objects at rest on a table.

    Args:
        seed: of which objects, how many, and how they fall.
        things: to take from, each as often as it is drawn; a folder of meshes; None for primitives.
        width: of the scene, for starts that have to see it [m]; None for the place that the walls leave.
        pile: how they lie.

    Raises:
        InputError: MuJoCo is not installed.
        SceneError: objects that cannot be used, or that do not come to rest.
    """
    pile, rng = pile or Pile(), np.random.default_rng(seed)
    count = int(rng.integers(pile.least, pile.most + 1))
    if isinstance(things, Path):
        things = things_of(things)
    if things is None:
        chosen = primitives(count, rng)
    else:  # all of a shuffled set, before any comes again
        order = [k for _ in range(-(-count // len(things))) for k in rng.permutation(len(things))]
        chosen = [things[k] for k in order[:count]]
    mujoco = load_mujoco()
    files = {name: content for thing in chosen for name, content in thing.files.items()}
    files["table.png"] = _png(_table_picture(rng))
    try:
        model = mujoco.MjModel.from_xml_string(_model_xml(chosen, pile, rng), files)
    except ValueError as error:
        raise SceneError(
            f"objects: MuJoCo does not read them ({' '.join(str(error).split())[:200]})", "objects"
        ) from None
    data = mujoco.MjData(model)
    _settle(mujoco, model, data, f"objects, seed {seed}")
    return MujocoScene(model, data, f"objects-{seed}", 2 * pile.half_width if width is None else width)


def _table_picture(rng: np.random.Generator) -> np.ndarray:
    """A plain table, not quite even."""
    from siame_se3.scenes.procedural import clouds

    cloudy = clouds(rng, 512, 512).mean(-1, keepdims=True) - 128
    colour = rng.uniform(90, 170) + rng.normal(0, 12, 3)
    return np.clip(colour + cloudy * (rng.uniform(4, 10) / cloudy.std()), 0, 255).astype(np.uint8)


def _model_xml(things: Sequence[Thing], pile: Pile, rng: np.random.Generator) -> str:
    """The table, its unseen walls, and the objects above it, one over the other."""
    assets = "".join(dict.fromkeys(thing.assets for thing in things))
    bodies, height = "", 0.1
    for thing in things:
        angle, along = rng.uniform(0, 2 * np.pi), pile.radius * np.sqrt(rng.uniform())
        turn = rng.normal(size=4)
        place = f"{along * np.cos(angle):.5f} {along * np.sin(angle):.5f} {height:.5f}"
        quaternion = " ".join(f"{x:.5f}" for x in turn / np.linalg.norm(turn))
        bodies += f'<body pos="{place}" quat="{quaternion}"><freejoint/><geom {thing.geometry} density="300" condim="6" friction="1 .01 .005"/></body>'
        height += 0.12
    h = pile.half_width
    walls = "".join(
        f'<geom type="plane" size="1 1 1" pos="{-x * h} {-y * h} 0" zaxis="{x} {y} 0" rgba="0 0 0 0"/>'
        for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1))
    )
    shadow = "true" if pile.shadows else "false"
    lights = "".join(
        f'<light pos="{x} {y} {z}" dir="{-x} {-y} {-z}" diffuse=".35 .35 .35" specular="0 0 0" castshadow="{shadow}" directional="true"/>'
        for x, y, z in _LIGHTS
    )
    half = pile.table / 2
    return f"""<mujoco model="objects"><option timestep="{_STEP}" integrator="implicitfast"/><statistic extent="1" center="0 0 0"/>
<visual><headlight ambient=".5 .5 .5" diffuse="0 0 0" specular="0 0 0"/><map znear="0.02" zfar="20"/></visual>
<asset><texture name="table" type="2d" file="table.png"/><material name="table" texture="table" texrepeat="3 3" specular="0"/>{assets}</asset>
<worldbody>{lights}<geom type="plane" size="{half} {half} .1" material="table" friction="1 .01 .005"/>{walls}{bodies}</worldbody></mujoco>"""


def _settle(mujoco: Any, model: Any, data: Any, name: str) -> None:
    """Let everything fall, and then stand still.

    Raises:
        SceneError: something fell off the table, or the physics diverged.
    """
    while data.time < _LONGEST:
        for _ in range(50):
            mujoco.mj_step(model, data)
        if data.time > 1 and float(np.abs(data.qvel).max()) < _STILL:
            break
    if not np.isfinite(data.qpos).all() or float(data.xipos[1:, 2].min()) < 0:  # centres of mass
        raise SceneError(f"{name}: an object fell off the table; take another seed, or fewer objects", "seed")
    data.qvel[:] = 0
    mujoco.mj_forward(model, data)
