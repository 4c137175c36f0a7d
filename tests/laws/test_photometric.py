from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch
from PIL import Image
from torch import Tensor

from poses_helpers import above, ask, near, velocity
from siame_se3.errors import SiameError
from siame_se3.geometry import lie
from siame_se3.geometry.camera import Camera
from siame_se3.images.luma import luma
from siame_se3.laws.luminance import solve, tukey, zigzag
from siame_se3.laws.photometric import DVS
from siame_se3.laws.types import View, check_law
from siame_se3.plants.flying import FlyingCameras
from siame_se3.scenes.planar import Scene
from siame_se3.scenes.render import render
from siame_se3.servo.config import ServoConfig
from siame_se3.servo.loop import servo

DATA = Path(__file__).parents[1] / "data" / "visp"
SHAPES = [(1,), (6,)]
LAWS = {
    "lm desired": DVS(border=4),
    "gn current": DVS("gauss-newton", "current", border=4),
    "gn mean": DVS("gauss-newton", "mean", border=4),
    "global": DVS("gauss-newton", "mean", normalise="global", border=4),
    "local robust": DVS("gauss-newton", "mean", normalise="local", window=0.4, robust=True, border=4),
    "depth": DVS("gauss-newton", "current", per_pixel_depth=True, border=4),
    "dct": DVS("gauss-newton", "current", coefficients=30, border=4),
}
each_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


@pytest.fixture(scope="session")
def lens() -> Camera:
    return Camera.from_focal(300, 224).resized(48)


@each_law
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_laws_keep_the_houses_promises(law: DVS, shape: tuple[int, ...], scene: Scene, lens: Camera) -> None:
    plant = FlyingCameras(scene, lens)
    T_wd = near(*shape, spread=3.0, seed=5)
    check_law(law, plant.look(T_wd), plant.look(T_wd @ lie.inverse(above(*shape)) @ near(*shape)), zero_at_goal=1e-6)


@each_law
def test_many_runs_are_as_many_single_ones(law: DVS, scene: Scene, lens: Camera) -> None:
    """Each with a desired view and a depth of its own, more than are computed at once, early and late in damping."""
    plant = FlyingCameras(scene, lens)
    T_wd = near(5, spread=3.0, seed=5)
    target, view = plant.look(T_wd), plant.look(T_wd @ lie.inverse(above(5)) @ near(5))
    turns = torch.tensor([0, 89, 90, 3, 500])
    many, state = law.aim(target)
    state = replace(state, iteration=turns)
    v = many(view, state)[0].v
    for k in range(5):
        alone, its_state = law.aim(target[k].flat())
        output, _ = alone(view[k].flat(), replace(its_state, iteration=turns[k : k + 1]))
        torch.testing.assert_close(v[k], output.v[0], rtol=1e-3, atol=1e-6)
    runs = torch.tensor([4, 1])
    torch.testing.assert_close(many(view[runs], state[runs])[0].v, v[runs], rtol=1e-3, atol=1e-6)


@each_law
def test_one_desired_view_serves_many_runs(law: DVS, scene: Scene, lens: Camera) -> None:
    """Its state, once for each run, is that of as many desired views."""
    plant = FlyingCameras(scene, lens)
    view, goals = plant.look(near(3)), plant.look(above(3))
    aimed, one = law.aim(plant.look(above(1)))
    copies = aimed(view, one[torch.zeros(3, dtype=torch.long)])[0].v
    torch.testing.assert_close(copies, velocity(law, goals, view), rtol=1e-4, atol=1e-7)
    with pytest.raises(SiameError, match="3 targets for 4 cameras"):
        servo(plant, law, goals, near(4))


@pytest.mark.parametrize("law", [DVS(border=4), DVS(border=4, coefficients=30)], ids=["dvs", "dct"])
def test_laws_of_the_desired_image_are_levenberg_marquardts(law: DVS, scene: Scene, lens: Camera) -> None:
    law = replace(law, precision="f64")
    plant = FlyingCameras(scene, lens)
    T_wd = near(1, spread=2.0, seed=5)
    target, view = plant.look(T_wd), plant.look(T_wd @ lie.inverse(above(1)) @ near(1))
    assert target.image is not None
    assert view.image is not None
    assert target.depth is not None
    s_desired, L = law.features(target.image, lens, 1 / target.depth[:, None])
    e = law.features(view.image, lens, 1 / target.depth[:, None])[0] - s_desired
    H = L[0] @ L[0].mT
    v = -torch.linalg.solve(H + law.mu * H.diagonal().diag(), L[0] @ e[0])
    torch.testing.assert_close(velocity(law, target, view)[0], v, rtol=1e-6, atol=1e-9)


@each_law
def test_laws_converge_to_a_tenth_of_a_millimetre(law: DVS, scene: Scene, lens: Camera) -> None:
    plant = FlyingCameras(scene, lens)
    config = ServoConfig(gain=10, max_iterations=150, settle_v=1e-6, settle_w=1e-6)
    trajectory = servo(plant, law, plant.look(above(6)), near(6), config)
    distance, angle = trajectory.error_norms
    assert float(distance[0].max()) > 0.015
    assert float(distance[-1].max()) < 1e-4
    assert float(angle[-1].max()) < math.radians(0.01)


def visp(name: str) -> np.ndarray:
    return np.asarray(Image.open(DATA / name).convert("L"), dtype=np.float64)


@pytest.mark.parametrize(
    "changes",
    [{}, {"normalise": "global"}, {"coefficients": 60}, {"coefficients": 60, "per_pixel_depth": False}],
    ids=str,
)
def test_interaction_matrices_are_finite_differences_through_the_plant(changes: dict[str, Any], lens: Camera) -> None:
    # A print so smooth that steps of pixels and texels do not matter, without the pyramid, whose blur changes with
    # the distance.
    y, x = torch.meshgrid(torch.linspace(0, 1, 1800), torch.linspace(0, 1, 2400), indexing="ij")
    waves = [0.5 + 0.2 * torch.sin(5 * x + k) * torch.cos(4 * y - k) + 0.1 * torch.sin(7 * y + 2 * k) for k in range(3)]
    plant = FlyingCameras(Scene(torch.stack(waves), 1.6, 1.2), lens)
    controller = DVS("gauss-newton", "current", border=4, precision="f64", **{"per_pixel_depth": True, **changes})
    # one depth for all pixels is right where the camera looks straight at the plane
    T = near(1, spread=2.0) if controller.per_pixel_depth else above(1)
    inverse_Z = controller.aim(plant.look(T))[1].inverse_Z

    def features(T_wc: Tensor) -> Tensor:
        return controller.features(render(plant.scene, lens, T_wc, antialias=False)[0], lens, inverse_Z)[0][0]

    L = controller.features(render(plant.scene, lens, T, antialias=False)[0], lens, inverse_Z)[1][0]
    h = 2e-3
    for k in range(6):
        v = torch.zeros(6, dtype=torch.float64)
        v[k] = h
        difference = (features(T @ lie.exp(v)) - features(T @ lie.exp(-v))) / (2 * h)
        assert float((difference - L[k]).norm() / L[k].norm()) < 0.01, f"axis {k}"


def test_luminance_law_agrees_with_visp() -> None:
    """tests/data/visp: ViSP's images, e and v of start 0 of `medium` (shared reference data), rows of its L."""
    file = DATA / "luminance.npz"
    camera = Camera(240.0, 240.0, 111.5, 111.5, 224, 224)

    def view(name: str) -> View:
        grey = torch.from_numpy(visp(name)).expand(1, 3, -1, -1) / 255
        return View(image=grey, camera=camera)

    with np.load(file) as reference:
        goal, start = view("desired.png"), view("init-medium-0.png")
        gn = DVS("gauss-newton", "current", precision="f64", Z=0.6)
        state = gn.aim(goal)[1]
        assert start.image is not None
        s, L = gn.features(start.image, camera, state.inverse_Z)
        e = (s - state.s_desired)[0].numpy()
        rows = reference["rows"]
        np.testing.assert_allclose(
            L[0].T.numpy()[rows], reference["L"], rtol=0, atol=1e-6 * np.abs(reference["L"]).max()
        )
        np.testing.assert_allclose(e[rows], reference["e"], rtol=0, atol=1e-9 * np.abs(reference["e"]).max())
        v = 30 * velocity(gn, goal, start)[0].numpy()
        np.testing.assert_allclose(v, reference["v_gn"], rtol=0, atol=1e-6 * np.abs(reference["v_gn"]).max())
        v = 30 * velocity(DVS(precision="f64", Z=0.6), goal, start)[0].numpy()
        np.testing.assert_allclose(v, reference["v_lm"], rtol=0, atol=1e-6 * np.abs(reference["v_lm"]).max())


def test_damping_changes_after_its_iterations(scene: Scene, lens: Camera) -> None:
    plant = FlyingCameras(scene, lens)
    target, view = plant.look(above(2)), plant.look(near(2))
    law, state = DVS(border=4, mu=0.5, mu_late=0.0, late=2).aim(target)
    seen = []
    for _ in range(4):
        output, state = law(view, state)
        seen.append(output.v)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[2], seen[3])
    assert float((seen[2] - seen[1]).abs().max()) > 1e-4
    torch.testing.assert_close(seen[3], velocity(DVS("gauss-newton", border=4), target, view))


def test_memory_of_some_runs_goes_back_in_its_place(scene: Scene, lens: Camera) -> None:
    _, state = DVS(border=4).aim(FlyingCameras(scene, lens).look(above(4)))
    runs = torch.tensor([1, 3])
    part = state[runs]
    part = replace(part, iteration=part.iteration + 7)
    assert state.put(runs, part).iteration.tolist() == [0, 7, 0, 7]


@pytest.mark.parametrize("normalise", ["global", "local"])
def test_normalised_laws_take_no_notice_of_gain_and_bias(normalise: Any, scene: Scene, lens: Camera) -> None:
    plant = FlyingCameras(scene, lens)
    target, view = plant.look(above()), plant.look(near())
    assert view.image is not None
    lit = replace(view, image=0.7 * view.image + 0.1)
    law = DVS("gauss-newton", "mean", normalise=normalise, window=0.4, border=4)
    plain = DVS("gauss-newton", "mean", border=4)
    v = velocity(law, target, view)
    change = float((velocity(law, target, lit) - v).norm())
    assert float((velocity(plain, target, lit) - velocity(plain, target, view)).norm()) > 3 * change
    assert change < 0.2 * float(v.norm())


def test_robust_law_converges_behind_a_hand(scene: Scene, lens: Camera) -> None:
    plant = FlyingCameras(scene, lens)
    ends = {}
    for robust in (False, True):
        law, state = DVS("gauss-newton", "desired", robust=robust, border=4).aim(plant.look(above(4)))
        T = near(4, spread=0.5)
        for _ in range(60):
            view = plant.look(T)
            assert view.image is not None
            view.image[..., 30:, 20:34] = 1.0
            output, state = law(view, state)
            T = T @ lie.exp(output.v * 0.3)
        ends[robust] = float((T[:, :3, 3] - above(4)[:, :3, 3]).norm(dim=1).max())
    assert ends[True] < 1e-3 < ends[False]


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("interaction", ["current", "desired", "mean"])
def test_normal_equations_of_moments_are_those_of_the_interaction_matrix(
    robust: bool, interaction: Any, scene: Scene, lens: Camera
) -> None:
    """The same law by L written out (per-pixel depth takes that way, and from straight above all depths are one)."""
    plant = FlyingCameras(scene, lens)
    laws = [
        DVS("gauss-newton", interaction, robust=robust, per_pixel_depth=depth, border=4, precision="f64")
        for depth in (False, True)
    ]
    assert [law.by_moments for law in laws] == [True, False]
    short, long = (velocity(law, plant.look(above(3)), plant.look(near(3))) for law in laws)
    torch.testing.assert_close(short, long, rtol=0, atol=1e-10)


def test_dct_is_scipys_in_jpegs_order(scene: Scene, lens: Camera) -> None:
    images, _ = render(scene, lens, near(2))
    s, _ = DVS(coefficients=25, border=4, precision="f64").features(images, lens, torch.ones(1, 1))
    grey = luma(images, torch.float64)[:, 4:-4, 4:-4].numpy()
    row, column = zigzag(25)
    assert list(zip(row.tolist(), column.tolist(), strict=True))[:8] == [
        *((0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2))
    ]
    np.testing.assert_allclose(s.numpy(), scipy.fft.dctn(grey, axes=(1, 2), norm="ortho")[:, row, column], atol=1e-8)


@each_law
@pytest.mark.parametrize(("value", "why"), [(0.0, "no contrast"), (math.nan, "not finite"), (math.inf, "not finite")])
def test_a_run_with_a_bad_image_stands_still_and_says_why(
    law: DVS, value: float, why: str, scene: Scene, lens: Camera
) -> None:
    plant = FlyingCameras(scene, lens)
    view = plant.look(near(3))
    assert view.image is not None
    target = plant.look(above(3))
    good = velocity(law, target, view)
    view.image[1] = value
    output = ask(law, target, view)
    assert bool((output.v[1] == 0).all())
    assert why in output.faults[1]
    assert (output.faults[0], output.faults[2]) == ("", "")
    torch.testing.assert_close(output.v[::2], good[::2])


@each_law
def test_a_view_beside_the_print_is_a_fault(law: DVS, scene: Scene, lens: Camera) -> None:
    plant = FlyingCameras(scene, lens)
    away = above(1)
    away[:, 0, 3] = 5.0
    output = ask(law, plant.look(above(1)), plant.look(away))
    assert output.faults[0] != ""
    assert bool((output.v == 0).all())


def test_stripes_do_not_determine_the_motion(lens: Camera) -> None:
    stripes = Scene(torch.sin(torch.linspace(0, 60, 400)).expand(3, 300, 400) * 0.4 + 0.5, 4.0, 3.0)
    plant = FlyingCameras(stripes, lens)
    law = DVS("gauss-newton", "current", border=4, precision="f64")
    aside = above(1)
    aside[:, 0, 3] = 0.02
    output = ask(law, plant.look(above(1)), plant.look(aside))
    assert "do not determine the motion" in output.faults[0]
    assert bool((output.v == 0).all())


def test_wrong_sizes_and_missing_images_are_refused(scene: Scene, lens: Camera) -> None:
    plant = FlyingCameras(scene, lens)
    law, state = DVS(border=4).aim(plant.look(above(1)))
    for broken in (FlyingCameras(scene, lens.resized(40)).look(above(1)), View(T_wc=above(1))):
        with pytest.raises(SiameError, match="dvs"):
            law(broken, state)
    with pytest.raises(SiameError, match="border"):
        DVS(border=2)
    with pytest.raises(SiameError, match="more than the border"):
        DVS(border=30).aim(plant.look(above(1)))
    red = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(1, 3, 48, 48)
    for flat in (torch.zeros(1, 3, 48, 48), red):
        with pytest.raises(SiameError, match="no contrast"):
            DVS(border=4).aim(View(image=flat, camera=lens))
    with pytest.raises(SiameError, match="40 x 40"):
        DVS(border=4).aim(View(image=torch.rand(1, 3, 40, 40), camera=lens))


def test_solver_damps_as_levenberg_marquardt() -> None:
    generator = torch.Generator().manual_seed(0)
    L = torch.randn(3, 40, 6, generator=generator).double() * torch.tensor([1, 10, 100, 1, 1, 1e3])
    e, mu = torch.randn(3, 40, generator=generator).double(), torch.tensor([0.0, 0.1, 1.0]).double()
    H, g = L.mT @ L, (L.mT @ e[..., None]).squeeze(-1)
    v, singular = solve(H, g, mu)
    assert not bool(singular.any())
    damped = H + torch.diag_embed(H.diagonal(dim1=1, dim2=2) * mu[:, None])
    torch.testing.assert_close(v, -torch.linalg.solve(damped, g))
    torch.testing.assert_close(solve(H, g)[0][0], -torch.linalg.lstsq(L[0], e[0][:, None]).solution[:, 0])


def test_tukey_throws_out_what_is_far() -> None:
    e = torch.randn(1, 7000, generator=torch.Generator().manual_seed(0))
    e[:, :700] = 50.0
    w = tukey(e)
    assert float(w[:, :700].max()) == 0
    assert float(w[:, 700:].mean()) > 0.8


@pytest.mark.parametrize(
    "options",
    [{"Z": math.nan}, {"Z": 0.0}, {"mu": -1.0}, {"mu_late": math.inf}, {"window": 0.0}, {"coefficients": -1}],
    ids=str,
)
def test_settings_that_are_no_numbers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SiameError, match=next(iter(options))):
        DVS(**options)
