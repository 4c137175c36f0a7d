"""Photometric visual servoing that fits the light along with the motion (`--law dvs-light`): what ends a hand-off.

The scene under another light is taken to be, in each colour channel c of the image,

    I_c(x) = (a(x) + k_c) I*_c(x + dx) + b_c,

a smooth gain a (lamps, shadows; a polynomial in x and y), a gain k_c and a bias b_c of each channel (exposure, white balance, ambient
light); compare Silveira and Malis 2007, "Real-time visual tracking under arbitrary illumination changes". The velocity and these
numbers are the solution of one weighted linear least-squares problem, v = -xi of

    min sum w (e - L xi - I* (a + k_c) - b_c)^2,   e = I - I*,   L the mean of both images' luminance matrices (see `luminance`).

Where the current image is blurred (focus, a smeared lens), I* is blurred alike first; see `blur`.

Pixels that the sensor has clipped have next to no weight, and those that the light alone does not explain (a hand in the way) are
weighed down by a biweight of what a neighbourhood does not explain. As in `luminance`, all of it comes from moments of products of images: L is never made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from siame_se3.errors import SiameError
from siame_se3.geometry.camera import Camera
from siame_se3.images.blur import BlurScale, gaussian_blur
from siame_se3.images.contrast import contrast
from siame_se3.images.gradients import gradient
from siame_se3.laws.luminance import current_images, desired_images, polynomials, solve, squares_to_H
from siame_se3.laws.types import Advice, View, image_faults, standing_still

_TOGETHER = 4  # runs at a time: their numbers then stay in the processor's caches
_CLIPPED = 1e-3  # weight of a clipped pixel, so that an image of nothing else still gives a direction
_AGREE = 6  # rounds of re-weighting
_RIDGE = (
    1e-6  # share of the diagonal added for the light's numbers: a grey image does not tell one channel from another
)


@dataclass(frozen=True)
class LightDVS:
    """Photometric visual servoing with the light fitted (`--law dvs-light`): Gauss-Newton, mean L, three colour channels.

    Attributes:
        degree: of the gain a(x, y).
        robust: weigh pixels down that the light does not explain.
        border: pixels left out on each side; 3 at least.
        Z: depth of the desired view's middle [m], where that view does not know it.
        blur: most of the current image's blur (standard deviation) that is told and matched [px]; 0 for not at all.
    """

    degree: int = 4
    robust: bool = True
    border: int = 10
    Z: float = 0.6
    blur: float = 5.0
    needs = frozenset({"image"})

    def __post_init__(self) -> None:
        if self.border < 3:
            raise SiameError(f"dvs-light: a border of {self.border} px; the gradient needs 3 or more")
        if not 0 <= self.degree <= 8:
            raise SiameError(f"dvs-light: degree {self.degree}; give 0 to 8")
        if not 0 <= self.blur <= 20:
            raise SiameError(f"dvs-light: a blur of {self.blur} px; give 0 to 20")

    def aim(self, target: View) -> LightDVSLaw:
        """Keeps the desired images."""
        # The light is fitted on 4 x 4 pixels and more.
        camera, images, batch, depth_known = desired_images(target, "dvs-light", self.border + 2)
        n = len(images)
        Z = torch.full((n,), self.Z) if depth_known is None else depth_known
        images = images.float().cpu()
        scale = BlurScale.of(images.mean(1), self.border, self.blur) if self.blur else None
        return LightDVSLaw(self, camera, batch, 1 / Z.clamp(min=1e-3).double(), images, contrast(images), scale)


@lru_cache(maxsize=8)
def _maps(camera: Camera, border: int, degree: int) -> dict[str, Tensor]:
    """What makes normal equations of moments, and moments of images.

    X (width, k) and Y (k, height): powers of x and y inside the border, k = max(2 degree, degree + 2, 4) + 1; `exponents` (m, 2) of y and x in
    a's monomials; `to_H`: from the moments of u^2, uv, v^2 to L^T L at Z = 1; `to_LP` and `to_L`: from those of f du, f dv to
    L^T (f times a's monomials), and to L^T f, for any image f.
    """
    x, y, factors = polynomials(camera, border)
    k = max(2 * degree, degree + 2, 4) + 1
    powers = torch.arange(k, dtype=torch.float64)
    exponents = torch.tensor([(r, p) for p in range(degree + 1) for r in range(degree + 1 - p)])
    to_LP = torch.zeros(2, k, k, 6, len(exponents), dtype=torch.float64)
    for m, (r, p) in enumerate(exponents.tolist()):
        to_LP[:, r : r + 3, p : p + 3, :, m] = factors.permute(0, 2, 3, 1)
    return {
        "X": (x[:, None] ** powers).float(),
        "Y": (y[:, None] ** powers).T.float().contiguous(),
        "exponents": exponents,
        "to_H": squares_to_H(factors),
        "to_LP": to_LP.reshape(2 * k * k, -1),
        "to_L": to_LP[..., 0].reshape(2 * k * k, 6),
    }


@dataclass(frozen=True, eq=False)
class LightDVSLaw:
    """See `LightDVS`."""

    controller: LightDVS
    camera: Camera
    batch: torch.Size
    inverse_Z: Float[Tensor, "n"]
    desired: Float[Tensor, "n 3 h w"]
    contrast: Float[Tensor, "n"]  # of the desired images
    scale: BlurScale | None  # that the current images' blur is read on; None to leave it

    def __call__(self, view: View) -> Float[Tensor, "*B 6"]:
        return self.advise(view).v

    def __getitem__(self, index: Any) -> LightDVSLaw:
        places = torch.arange(len(self.desired)).reshape(self.batch)[index]
        flat = places.reshape(-1)
        scale = None if self.scale is None else self.scale[flat]
        parts = (self.inverse_Z[flat], self.desired[flat], self.contrast[flat], scale)
        return LightDVSLaw(self.controller, self.camera, places.shape, *parts)

    def updated(self, runs: Tensor, part: LightDVSLaw) -> LightDVSLaw:
        """Itself: it remembers nothing."""
        return self

    def advise(self, view: View) -> Advice:
        """v at gain 1; cost: the weighted mean square of what the light does not explain [grey levels^2]."""
        images, batch = current_images(view, "dvs-light", self.camera, len(self.desired))
        images = images.float().cpu()
        faults = image_faults(images, desired=self.contrast.expand(len(images)))
        if any(faults):
            images = images.nan_to_num(0.0, 0.0, 0.0)
        parts = [self._few(images[k : k + _TOGETHER], k) for k in range(0, len(images), _TOGETHER)]
        v, singular, cost = (torch.cat(x) for x in zip(*parts, strict=True))
        faults = tuple(
            f or ("the image's pixels do not tell the motion" if bad else "")
            for f, bad in zip(faults, singular.tolist(), strict=True)
        )
        v, faults = standing_still(v, faults)
        return Advice(v.reshape(*batch, 6), faults, self, torch.zeros(len(v), dtype=torch.long), cost)

    def _few(self, images: Float[Tensor, "n 3 h w"], first: int) -> tuple[Tensor, Tensor, Tensor]:
        """v, which are singular, and costs of some runs' images."""
        c, b, (h, w) = self.controller, self.controller.border, self.camera.size
        of = slice(None) if len(self.desired) == 1 else slice(first, first + len(images))
        desired = self._as_sharp(images, of)
        inner = (..., slice(b, h - b), slice(b, w - b))
        s, d = images[inner].contiguous(), desired[inner].contiguous().expand(len(images), -1, -1, -1)
        unclipped = _unclipped(images, b)
        light = _Light(self.camera, b, c.degree)
        trusted = unclipped
        if c.robust:  # before the lamps: they could be bent around a hand
            ratio, shift = _most_agreed(s, d, unclipped)
            trusted = unclipped * _trusted((s * ratio).add_(shift).sub_(d), unclipped, w, 1.5)
        ratio, shift = _exposure(s, d, trusted)
        # The current image at the desired one's mean and contrast, so that the mean of their gradients is one of like things.
        u, v = gradient((images * ratio).add_(shift).add_(desired).mul_(0.5), b)
        e = (s * ratio).add_(shift).sub_(d)
        noise = ratio.square()  # the sensor's is of one size before this
        rest = e - light.fit(e, d, _level(trusted / noise))
        weight = _level((unclipped * _trusted(rest, unclipped, w) if c.robust else unclipped) / noise)
        cost = 255**2 * (weight * rest.square_()).mean((1, 2, 3)).double()
        q = self.inverse_Z[of].expand(len(images))[:, None].repeat(1, 3)
        scale = torch.cat((q, torch.ones_like(q)), 1)
        H, g = light.eliminated(e, d, u, v, weight, scale)
        velocity, singular = solve(H, g)
        return velocity, singular, cost

    def _as_sharp(self, images: Float[Tensor, "n 3 h w"], of: slice) -> Float[Tensor, "m 3 h w"]:
        """Desired images, as blurred as these are; one, where one is all and these are sharp."""
        desired = self.desired[of]
        if self.scale is None:
            return desired
        sigma = self.scale[of].read(images.mean(1))
        if not bool((sigma > 0).any()):
            return desired
        alike = gaussian_blur(desired.expand(len(images), -1, -1, -1), sigma)
        return torch.where(sigma[:, None, None, None] > 0, alike, desired)


def _exposure(s: Tensor, d: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and bias (n, c, 1, 1) of each channel that give s the weighted mean and contrast of d."""
    mean, spread = _statistics(s, weight)
    wanted, wanted_spread = _statistics(d, weight)
    ratio = torch.where(wanted_spread > 1e-4, wanted_spread / spread.clamp(min=1e-4), 1.0).clamp(1e-3, 1e3)
    return ratio, wanted - mean * ratio


def _most_agreed(s: Tensor, d: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """As `_exposure`, by least absolute differences (re-weighted least squares of s = g d + o, on means of 4 x 4 pixels): what most of the image
    agrees on, whatever a part of it shows."""
    s, d, weight = (F.avg_pool2d(z, 4).flatten(2) for z in (s, d, weight))
    share = torch.ones_like(weight)
    for _ in range(_AGREE):
        w = weight * share
        total = w.sum(2, keepdim=True)
        s_mean, d_mean = (w * s).sum(2, keepdim=True) / total, (w * d).sum(2, keepdim=True) / total
        ds, dd = s - s_mean, d - d_mean
        gain = ((w * ds * dd).sum(2, keepdim=True) / ((w * dd * dd).sum(2, keepdim=True) + 1e-9)).clamp(0.05, 20)
        square = weight * (ds - gain * dd).square()
        share = (square.sum(1, keepdim=True) / weight.sum(1, keepdim=True)).add(1e-5).rsqrt()
    return (1 / gain)[..., None], (d_mean - s_mean / gain)[..., None]


def _level(weight: Float[Tensor, "n 3 y x"]) -> Float[Tensor, "n 3 y x"]:
    """With a mean of 1."""
    return weight / weight.mean((1, 2, 3), keepdim=True).clamp(min=1e-12)


def _trusted(
    rest: Float[Tensor, "n 3 y x"], unclipped: Float[Tensor, "n 3 y x"], width: int, patience: float = 1.0
) -> Float[Tensor, "n 3 y x"]:
    """Weights (1 - (r / (3 patience m))^2)^2, 0 beyond, with r the root mean square of what is not explained around a pixel (a 16th of the image's
    width, all channels that are not clipped), and m its median, one grey level at least. What is in the way is a thing, not a pixel: some of its pixels
    are as they should be."""
    side = 2 * (width // 32) + 1
    sums = torch.cat(((unclipped * rest.square()).sum(1, keepdim=True), unclipped.sum(1, keepdim=True)), 1)
    square, count = F.avg_pool2d(sums, side, 1, side // 2, count_include_pad=False).split(1, 1)
    around = square / count
    middle = around[..., ::2, ::2].flatten(1).median(1).values[:, None, None, None].clamp(min=1 / 255**2)
    return (1 - around / (9 * patience**2 * middle)).clamp(min=0).square().expand_as(rest)


def _unclipped(images: Float[Tensor, "n 3 h w"], border: int) -> Float[Tensor, "n 3 y x"]:
    """1 where at most 2 of 25 pixels around (with noise, not all pixels at the limit show it) are at the sensor's limits."""
    h, w = images.shape[-2:]
    clipped = ((images <= 0) | (images >= 1))[..., border - 2 : h - border + 2, border - 2 : w - border + 2].float()
    rows = sum((clipped[..., k : h - 2 * border + k, :] for k in range(1, 5)), clipped[..., : h - 2 * border, :])
    count = sum((rows[..., k : w - 2 * border + k] for k in range(1, 5)), rows[..., : w - 2 * border])
    return (count < 3).float().clamp_(min=_CLIPPED)


def _statistics(z: Float[Tensor, "n 3 y x"], weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of each channel, (n, c, 1, 1)."""
    z, weight = z.flatten(2), weight.flatten(2)
    wz, total = weight * z, weight.sum(2)
    mean = wz.sum(2) / total
    variance = torch.linalg.vecdot(wz, z) / total - mean.square()
    return mean[..., None, None], variance.clamp(min=0).sqrt()[..., None, None]


class _Light:
    """The light's numbers: those of a (m), k of all channels but one (a has that one), b of each channel."""

    def __init__(self, camera: Camera, border: int, degree: int) -> None:
        self.maps = _maps(camera, border, degree)

    def moments(self, products: list[tuple[Tensor, Tensor]], step: int = 1) -> Float[Tensor, "k n c p p"]:
        """Sums of products of two images (n, c, y, x) times y^r x^p, over every `step`-th pixel of each axis."""
        first = products[0][0]
        images = torch.empty(len(products), *first.shape, dtype=first.dtype)
        for place, (p, q) in zip(images, products, strict=True):
            torch.mul(p, q, out=place)
        return (self.maps["Y"][:, ::step] @ images @ self.maps["X"][::step]).double()

    def equations(self, M: dict[str, Tensor]) -> tuple[Float[Tensor, "n k k"], Float[Tensor, "n k"]]:
        """Normal equations of the light's numbers from the moments of d^2, d, 1, de, e, with the ridge."""
        r, p = self.maps["exponents"].unbind(1)
        n, channels = M["dd"].shape[:2]
        m, last = len(r), len(r) + channels - 1
        A = torch.zeros(n, last + channels, last + channels, dtype=torch.float64)
        g = torch.zeros(n, last + channels, dtype=torch.float64)
        A[:, :m, :m] = M["dd"].sum(1)[:, r[:, None] + r, p[:, None] + p]
        A[:, :m, m:last] = M["dd"][:, :-1, r, p].mT
        A[:, :m, last:] = M["d"][:, :, r, p].mT
        A[:, m:last, m:last] = torch.diag_embed(M["dd"][:, :-1, 0, 0])
        A[:, m:last, last:] = torch.diag_embed(M["d"][:, :, 0, 0])[:, :-1]
        A[:, last:, last:] = torch.diag_embed(M["1"][:, :, 0, 0])
        A = A.triu() + A.triu(1).mT
        g[:, :m] = M["de"].sum(1)[:, r, p]
        g[:, m:last] = M["de"][:, :-1, 0, 0]
        g[:, last:] = M["e"][:, :, 0, 0]
        return A + torch.diag_embed(A.diagonal(dim1=1, dim2=2) * _RIDGE + 1e-30), g

    def fit(self, e: Tensor, d: Tensor, weight: Tensor) -> Float[Tensor, "n c y x"]:
        """What the light alone explains of e; from every other pixel of each axis."""
        some = (..., slice(None, None, 2), slice(None, None, 2))
        w, few_d, few_e = weight[some].contiguous(), d[some].contiguous(), e[some].contiguous()
        wd, one = w * few_d, torch.ones(())
        products = [(wd, few_d), (wd, one), (w, one), (wd, few_e), (w, few_e)]
        M = dict(zip(("dd", "d", "1", "de", "e"), self.moments(products, 2), strict=True))
        A, g = self.equations(M)
        solution = _scaled_solve(A, g[..., None]).squeeze(-1)
        exponents = self.maps["exponents"]
        m, channels = len(exponents), e.shape[1]
        k = int(exponents.max()) + 1
        a = torch.zeros(len(e), k, k)
        a[:, exponents[:, 0], exponents[:, 1]] = solution[:, :m].float()
        gain = (self.maps["Y"][:k].T @ a @ self.maps["X"][:, :k].T)[:, None]
        own = F.pad(solution[:, m : m + channels - 1], (0, 1)).float()[..., None, None]
        return (gain + own).mul_(d).add_(solution[:, m + channels - 1 :].float()[..., None, None])

    def eliminated(
        self, e: Tensor, d: Tensor, u: Tensor, v: Tensor, weight: Tensor, scale: Float[Tensor, "n 6"]
    ) -> tuple[Float[Tensor, "n 6 6"], Float[Tensor, "n 6"]]:
        """L^T W L and L^T W e once the light's numbers are eliminated (Schur complement)."""
        wu, wv, wd, one = weight * u, weight * v, weight * d, torch.ones(())
        names = ("uu", "uv", "vv", "du", "dv", "dd", "u", "v", "d", "1", "ue", "ve", "de", "e")
        products = [(wu, u), (wu, v), (wv, v), (wd, u), (wd, v), (wd, d), (wu, one), (wv, one), (wd, one)]
        products += [(weight, one), (wu, e), (wv, e), (wd, e), (weight, e)]
        M = dict(zip(names, self.moments(products), strict=True))
        maps = self.maps
        n, m = len(e), len(maps["exponents"])

        def pair(first: str, second: str) -> Float[Tensor, "n c k"]:
            return torch.stack((M[first], M[second]), 2).flatten(2)

        squares = torch.stack([M[name].sum(1)[:, :5, :5] for name in ("uu", "uv", "vv")], 1).flatten(1)
        H = (squares @ maps["to_H"]).unflatten(1, (6, 6))
        by_d = pair("du", "dv")
        coupling = torch.cat(
            (
                (by_d.sum(1) @ maps["to_LP"]).reshape(n, 6, m),
                (by_d[:, :-1] @ maps["to_L"]).mT,
                (pair("u", "v") @ maps["to_L"]).mT,
            ),
            2,
        )
        g = pair("ue", "ve").sum(1) @ maps["to_L"]
        A, light = self.equations(M)
        solved = _scaled_solve(A, torch.cat((coupling.mT, light[..., None]), 2))
        H = H - coupling @ solved[..., :6]
        g = g - (coupling @ solved[..., 6:]).squeeze(-1)
        return (H + H.mT) / 2 * scale[:, :, None] * scale[:, None], g * scale


def _scaled_solve(A: Float[Tensor, "n k k"], B: Float[Tensor, "n k m"]) -> Float[Tensor, "n k m"]:
    """A^-1 B of symmetric positive matrices, scaled by their diagonals first; zero where that fails."""
    s = A.diagonal(dim1=1, dim2=2).clamp(min=1e-300).rsqrt()
    factor, info = torch.linalg.cholesky_ex(A * s[:, :, None] * s[:, None])
    bad = (info > 0)[:, None, None]
    factor = torch.where(bad, torch.eye(A.shape[1], dtype=A.dtype), factor)
    solved = torch.cholesky_solve(B * s[..., None], factor) * s[..., None]
    return torch.where(bad | ~solved.isfinite(), 0.0, solved)
