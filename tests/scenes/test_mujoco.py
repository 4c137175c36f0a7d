"""MuJoCo's models as scenes. Skipped where MuJoCo is missing, or where nothing can be rendered."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from siame_se3.errors import InputError, SceneError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera, default_camera
from siame_se3.scenes.mujoco import MujocoScene
from siame_se3.scenes.mujoco_objects import Pile, dropped, things_of
from siame_se3.scenes.planar import Scene as Print
from siame_se3.scenes.registry import scene_for
from siame_se3.scenes.relief import Relief
from siame_se3.scenes.types import Scene, check_scene

if importlib.util.find_spec("mujoco") is None:
    pytest.skip("MuJoCo is not installed", allow_module_level=True)

CAMERA = default_camera(64)
BOX = """<mujoco><statistic extent="1" center="0 0 0"/><visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/>
<map znear=".02" zfar="10"/></visual><worldbody><geom type="box" size=".1 .05 .03" pos=".02 .01 .03" rgba="1 0 0 1"/>
<geom type="plane" size="2 2 1" rgba="0 1 0 1"/></worldbody></mujoco>"""


def views(n: int = 3, tilt: float = 0.2) -> Tensor:
    p = torch.randn(n, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    T = torch.eye(4, dtype=torch.float64)
    T[2, 3] = -0.6
    return T @ lie.pose_from_vector(p * torch.tensor([0.05, 0.05, 0.05, tilt, tilt, 0.6]))


def skip_unless_rendered(scene: MujocoScene, camera: Camera = CAMERA) -> MujocoScene:
    try:
        scene.depth(camera, views(1))
        scene.render(camera, views(1))
    except SceneError as error:
        pytest.skip(str(error))
    return scene


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MujocoScene]:
    path = tmp_path_factory.mktemp("mjcf") / "box.xml"
    path.write_text(BOX)
    scene = skip_unless_rendered(MujocoScene.from_file(path, 0.5))
    yield scene
    scene.close()


@pytest.fixture(scope="module")
def pile() -> Iterator[MujocoScene]:
    scene = skip_unless_rendered(dropped(3, pile=Pile(least=4, most=4)))
    yield scene
    scene.close()


def test_they_are_scenes(box: MujocoScene, pile: MujocoScene) -> None:
    for scene in (box, pile):
        assert isinstance(scene, Scene)
        check_scene(scene, views(2), tolerance=0.03)


@pytest.mark.parametrize(
    "camera",
    [Camera.from_focal(300, 160, 120), Camera(300, 250, 60.5, 70.25, 160, 120), Camera(200, 300, 100, 31, 120, 90)],
    ids=["plain", "shifted", "anamorphic"],
)
def test_depths_and_edges_are_where_the_camera_has_them(box: MujocoScene, camera: Camera) -> None:
    """The box's top, known by its numbers, at each pixel."""
    T_wc = views(1)[0]
    R, t = T_wc[:3, :3], T_wc[:3, 3]
    rays = camera.rays(camera.pixel_grid()) @ R.T
    Z = (-0.06 - t[2]) / rays[..., 2]
    at = t + Z[..., None] * rays
    off = (at[..., :2] - torch.tensor([0.02, -0.01])).abs() - torch.tensor([0.1, 0.05])  # y down
    on_top, beside = (off < -1e-4).all(-1), (off > 0.08).any(-1)
    assert int(on_top.sum()) > 50
    found = box.depth(camera, T_wc)
    torch.testing.assert_close(found[on_top], Z[on_top].float(), rtol=2e-5, atol=0)
    table = (-t[2] / rays[..., 2]).float()
    torch.testing.assert_close(found[beside], table[beside], rtol=2e-5, atol=0)
    image, mask = box.render(camera, T_wc)
    assert bool(mask.all())
    off_edge = (off.abs() > 2e-3).all(-1)
    red = image[0] > image[1]
    assert bool(red[on_top & off_edge].all())
    assert not bool(red[beside].any())


TWIN_CAMERA = Camera.from_focal(150, 112)


@pytest.fixture(scope="module")
def twins(photo: Print) -> Iterator[tuple[Relief, MujocoScene]]:
    """One mesh, by our renderer and by MuJoCo's, which has rendered once."""
    relief = Relief.drawn(photo, 0.12, 2, ("box", "cylinder"))
    theirs = skip_unless_rendered(as_mujoco(relief), TWIN_CAMERA)
    yield relief, theirs
    theirs.close()


def test_a_mesh_of_ours_looks_the_same_in_mujoco(twins: tuple[Relief, MujocoScene]) -> None:
    """Colours and depths of the same triangles with the same texture, by an independent renderer."""
    camera, (relief, theirs) = TWIN_CAMERA, twins
    T_wc = views(2, tilt=0.25)
    Z, expected = relief.depth(camera, T_wc), theirs.depth(camera, T_wc)
    same = (Z / expected - 1).abs() < 1e-4
    assert (
        float(same.float().mean()) > 0.995
    )  # all but pixels whose centres are on an edge, to the sub-pixel grid of OpenGL
    image, seen = relief.render(camera, T_wc)[0], theirs.render(camera, T_wc)[0]
    on_print = torch.nn.functional.max_pool2d((~relief.render(camera, T_wc)[1]).float(), 5, 1, 2) == 0
    difference = (image - seen).abs().mean(1)[on_print]
    assert float(difference.mean()) < 0.02
    assert float(difference.quantile(0.95)) < 0.06


def as_mujoco(relief: Relief) -> MujocoScene:
    """Our mesh in MuJoCo, lit evenly."""
    from siame_se3.plants.arm_model import print_png
    from siame_se3.scenes.mujoco_render import load_mujoco

    mesh, (h, w) = relief.mesh, relief.print.texture.shape[-2:]
    corners = mesh.faces.flip(1).reshape(
        -1
    )  # counter-clockwise; vertices of their own for each triangle: MuJoCo's normals are then its
    vertices = mesh.vertices[corners].numpy() * np.array([1, -1, -1])
    places = ((mesh.texels[corners, :2] + 0.5) / torch.tensor([w, h])).numpy()

    def text(values: Any) -> str:
        return " ".join(f"{x:.8g}" for x in np.asarray(values, dtype=np.float64).ravel())

    xml = f"""<mujoco><statistic extent="1" center="0 0 0"/><visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/>
<map znear=".02" zfar="10"/></visual><asset><texture name="photo" type="2d" file="photo.png"/><material name="photo" texture="photo" specular="0"/>
<mesh name="mesh" inertia="shell" vertex="{text(vertices)}" texcoord="{text(places)}" face="{" ".join(map(str, range(len(corners))))}"/></asset>
<worldbody><geom type="mesh" mesh="mesh" material="photo" contype="0" conaffinity="0" pos="0 0 0"/></worldbody></mujoco>"""
    mujoco = load_mujoco()
    model = mujoco.MjModel.from_xml_string(xml, {"photo.png": print_png(relief.print)})
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return MujocoScene(model, data, "mesh", 0.8)


# -- objects ----------------------------------------------------------------------------------------------------------


def test_dropped_objects_lie_still_and_depend_on_their_seed(pile: MujocoScene) -> None:
    again, other = (dropped(seed, pile=Pile(least=4, most=4)) for seed in (3, 4))
    assert np.array_equal(again.data.qpos, pile.data.qpos)
    assert not np.allclose(other.data.qpos, pile.data.qpos)
    places = pile.data.qpos.reshape(-1, 7)[:, :3]
    assert places.shape[0] == 4
    assert np.abs(places[:, :2]).max() < 0.3
    assert 0.01 < places[:, 2].min() < places[:, 2].max() < 0.3
    Z = pile.depth(CAMERA, views(1)[0])
    assert 0.02 < float((0.95 * pile.distance(views(1)[0]) > Z).float().mean()) < 0.9
    for scene in (again, other):
        scene.close()


def write_mesh(folder: Path, name: str, size: float = 0.1) -> None:
    """A cube's OBJ."""
    corners = [(x, y, z) for x in (0, size) for y in (0, size) for z in (0, size)]
    quads = ((1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4))
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1"]
    lines += [f"f {' '.join(f'{v}/{k}' for k, v in enumerate(quad, 1))}" for quad in quads]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.obj").write_text("\n".join(lines) + "\n")


def write_folder(tmp_path: Path) -> None:
    """One folder an object, or meshes beside their pictures; with a material, and without any picture."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    write_mesh(tmp_path / "can", "textured")
    write_mesh(tmp_path / "can", "collision")
    picture.save(tmp_path / "can" / "texture_map.png")
    write_mesh(tmp_path / "drill", "drill")
    (tmp_path / "drill" / "drill.mtl").write_text("newmtl a\nmap_Kd skin.jpg\n")
    picture.save(tmp_path / "drill" / "skin.jpg")
    write_mesh(tmp_path, "mug")
    picture.save(tmp_path / "mug.png")
    write_mesh(tmp_path, "plain")
    (tmp_path / "README.md").write_text("objects")


def test_folders_of_meshes(tmp_path: Path) -> None:
    write_folder(tmp_path)
    for hidden in (tmp_path / ".mug.1a2b3c-77-0.part.obj", tmp_path / "can" / ".textured.1a2b3c-77-0.part.obj"):
        hidden.write_text("v 0")  # another program is writing it
    things = things_of(tmp_path)
    assert [thing.name for thing in things] == ["can", "drill", "mug", "plain"]
    assert [any(name.endswith(".png") for name in thing.files) for thing in things] == [True, True, True, False]


@pytest.mark.slow
def test_a_folder_is_a_scene(tmp_path: Path) -> None:
    write_folder(tmp_path)
    scene = skip_unless_rendered(scene_for(tmp_path, 0.4))  # type: ignore[arg-type]
    assert isinstance(scene, MujocoScene)
    assert scene.width == 0.4
    assert 8 <= scene.model.nbody - 1 <= 12
    image, _ = scene.render(CAMERA, views(1))
    assert float(image.std()) > 0.05
    scene.close()


@pytest.mark.parametrize(
    ("size", "words"), [(100.0, "a mesh in metres"), (0.001, "a mesh in metres"), (float("nan"), "no OBJ mesh")]
)
def test_meshes_of_another_unit_are_refused(tmp_path: Path, size: float, words: str) -> None:
    write_mesh(tmp_path, "cube", size)
    with pytest.raises(SceneError, match=words):
        things_of(tmp_path)


def test_folders_without_meshes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="no such folder"):
        things_of(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SceneError, match="no mesh in it"):
        scene_for(tmp_path)
    (tmp_path / "a.obj").write_text("v 0 0\nv a b c\n")
    with pytest.raises(SceneError, match="no OBJ mesh"):
        things_of(tmp_path)
    (tmp_path / "a.obj").write_text("".join(f"v 0 0 0.{k}\n" for k in range(5)))
    with pytest.raises(SceneError, match="MuJoCo does not read"):
        dropped(0, tmp_path)


def test_piles_that_cannot_be_are_refused() -> None:
    for wrong in ({"least": 0}, {"least": 5, "most": 4}, {"radius": 0.0}):
        with pytest.raises(InputError):
            Pile(**wrong)  # type: ignore[arg-type]


# -- files and threads ------------------------------------------------------------------------------------------------


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="no such file"):
        scene_for(tmp_path / "none.xml")
    (tmp_path / "bad.xml").write_text("<mujoco><worldbody><geom type='egg'/></worldbody></mujoco>")
    with pytest.raises(SceneError, match="not a model that MuJoCo reads") as caught:
        scene_for(tmp_path / "bad.xml")
    assert "\n" not in str(caught.value)
    (tmp_path / "box.xml").write_text(BOX)
    for width in (0.0, float("nan")):
        with pytest.raises(SceneError, match="extent"):
            MujocoScene.from_file(tmp_path / "box.xml", width)


def test_any_thread_may_look(box: MujocoScene) -> None:
    expected = box.depth(CAMERA, views())
    found: dict[int, Tensor] = {}
    threads = [threading.Thread(target=lambda k=k: found.update({k: box.depth(CAMERA, views())})) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[k], expected) for k in range(3))


def test_closing_frees_the_renderers_and_their_thread(tmp_path: Path) -> None:
    (tmp_path / "box.xml").write_text(BOX)
    scene = skip_unless_rendered(MujocoScene.from_file(tmp_path / "box.xml"))
    assert any(thread.name.startswith("mujoco-renderer") for thread in threading.enumerate())
    before = sum(thread.name.startswith("mujoco-renderer") for thread in threading.enumerate())
    scene.close()
    scene.close()
    assert sum(thread.name.startswith("mujoco-renderer") for thread in threading.enumerate()) == before - 1
    with pytest.raises(SceneError, match="closed"):
        scene.depth(CAMERA, views())


def test_an_empty_batch(box: MujocoScene) -> None:
    image, mask = box.render(CAMERA, views()[:0])
    assert image.shape == (0, 3, 64, 64)
    assert mask.shape == box.depth(CAMERA, views()[:0]).shape == (0, 64, 64)


@pytest.mark.slow
def test_where_nothing_can_be_rendered_one_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "box.xml").write_text(BOX)
    code = (
        "import torch\nfrom siame_se3.errors import SiameError\nfrom siame_se3.scenes.registry import scene_for\n"
        "from siame_se3.geometry.camera import Camera\n"
        f"try: scene_for({str(tmp_path / 'box.xml')!r}).depth(Camera.from_focal(60, 48), torch.eye(4, dtype=torch.float64))\n"
        "except SiameError as error: print(error)\n"
    )
    environment = {"MUJOCO_GL": "osmesa", "PYTHONPATH": ":".join(path for path in sys.path if path), "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    if not done.stdout:
        pytest.skip("OSMesa renders here")
    assert "libegl-mesa0" in done.stdout, done.stdout + done.stderr
    assert len(done.stdout.strip().splitlines()) == 1
