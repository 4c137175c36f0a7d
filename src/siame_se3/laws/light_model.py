"""The light's numbers and their normal equations, for `light`: a smooth gain, a gain and a bias of each channel.

All of it comes from moments of products of images: L (see `luminance`) is never made.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from siame_se3.geometry.camera import Camera
from siame_se3.laws.luminance import polynomials, squares_to_H

_RIDGE = 1e-6  # share of the diagonal added for the light's numbers: in a grey image the channels do not differ


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


class LightModel:
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
        H, g = self._schur(M, self._of_squares(M["uu"], M["uv"], M["vv"]), *self._of_gradients(M, "u", "v"))
        return H * scale[:, :, None] * scale[:, None], g * scale

    def eliminated_by_pixel(
        self, e: Tensor, d: Tensor, u: Tensor, v: Tensor, weight: Tensor, q: Float[Tensor, "n 1 y x"]
    ) -> tuple[Float[Tensor, "n 6 6"], Float[Tensor, "n 6"]]:
        """As `eliminated`, with 1/Z of each pixel: a pixel's row of L is its translation's columns at Z = 1 times q, and its rotation's."""
        wu, wv, wd, one = weight * u, weight * v, weight * d, torch.ones(())
        p, r, wq = q * u, q * v, weight * q  # the near gradients
        wp, wr = wq * u, wq * v
        names = ("uu", "uv", "vv", "pu", "pv", "rv", "pp", "pr", "rr", "du", "dv", "dp", "dr", "u", "v", "p", "r")
        products = [(wu, u), (wu, v), (wv, v), (wp, u), (wp, v), (wr, v), (wp, p), (wp, r), (wr, r)]
        products += [(wd, u), (wd, v), (wd, p), (wd, r), (wu, one), (wv, one), (wp, one), (wr, one)]
        others = ("ue", "ve", "pe", "re", "dd", "d", "1", "de", "e")
        products += [(wu, e), (wv, e), (wp, e), (wr, e), (wd, d), (wd, one), (weight, one), (wd, e), (weight, e)]
        M = dict(zip(names + others, self.moments(products), strict=True))
        H = self._of_squares(M["uu"], M["uv"], M["vv"])
        H[:, :3] = self._of_squares(M["pu"], M["pv"], M["rv"])[:, :3]
        H[:, :, :3] = H[:, :3].mT
        H[:, :3, :3] = self._of_squares(M["pp"], M["pr"], M["rr"])[:, :3, :3]
        far, near = self._of_gradients(M, "u", "v"), self._of_gradients(M, "p", "r")
        coupling, g = (torch.cat((n[:, :3], f[:, 3:]), 1) for n, f in zip(near, far, strict=True))
        return self._schur(M, H, coupling, g)

    def _of_squares(self, uu: Tensor, uv: Tensor, vv: Tensor) -> Float[Tensor, "n 6 6"]:
        """L^T L at Z = 1 from the moments of the gradients' products."""
        squares = torch.stack([M.sum(1)[:, :5, :5] for M in (uu, uv, vv)], 1).flatten(1)
        return (squares @ self.maps["to_H"]).unflatten(1, (6, 6))

    def _of_gradients(
        self, M: dict[str, Tensor], u: str, v: str
    ) -> tuple[Float[Tensor, "n 6 k"], Float[Tensor, "n 6"]]:
        """L^T times what each of the light's numbers adds, and L^T e, at Z = 1, from the moments of these gradients."""
        maps = self.maps
        n, m = len(M["dd"]), len(maps["exponents"])

        def pair(first: str, second: str) -> Float[Tensor, "n c k"]:
            return torch.stack((M[first], M[second]), 2).flatten(2)

        by_d = pair("d" + u, "d" + v)
        coupling = torch.cat(
            (
                (by_d.sum(1) @ maps["to_LP"]).reshape(n, 6, m),
                (by_d[:, :-1] @ maps["to_L"]).mT,
                (pair(u, v) @ maps["to_L"]).mT,
            ),
            2,
        )
        return coupling, pair(u + "e", v + "e").sum(1) @ maps["to_L"]

    def _schur(
        self, M: dict[str, Tensor], H: Float[Tensor, "n 6 6"], coupling: Float[Tensor, "n 6 k"], g: Float[Tensor, "n 6"]
    ) -> tuple[Float[Tensor, "n 6 6"], Float[Tensor, "n 6"]]:
        A, light = self.equations(M)
        solved = _scaled_solve(A, torch.cat((coupling.mT, light[..., None]), 2))
        H = H - coupling @ solved[..., :6]
        g = g - (coupling @ solved[..., 6:]).squeeze(-1)
        return (H + H.mT) / 2, g


def _scaled_solve(A: Float[Tensor, "n k k"], B: Float[Tensor, "n k m"]) -> Float[Tensor, "n k m"]:
    """A^-1 B of symmetric positive matrices, scaled by their diagonals first; zero where that fails."""
    s = A.diagonal(dim1=1, dim2=2).clamp(min=1e-300).rsqrt()
    factor, info = torch.linalg.cholesky_ex(A * s[:, :, None] * s[:, None])
    bad = (info > 0)[:, None, None]
    factor = torch.where(bad, torch.eye(A.shape[1], dtype=A.dtype), factor)
    solved = torch.cholesky_solve(B * s[..., None], factor) * s[..., None]
    return torch.where(bad | ~solved.isfinite(), 0.0, solved)
