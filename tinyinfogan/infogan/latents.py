"""The generator's input: noise z that means nothing, and codes c that are to mean something."""

from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np

from tinyinfogan.engine.device import Array


class Code(NamedTuple):
    """One latent code."""

    name: str  # "c0", "c1", ...
    size: int | None  # the number of categories K, or None for a continuous code
    columns: slice  # where it stands among the codes: K columns or one

    @property
    def entropy(self) -> float:
        """H(c) in nats: log K for K equal categories, log 2 (differential) for U(-1, 1)."""
        return float(np.log(self.size or 2))


@dataclass(frozen=True)
class LatentSpec:
    """What a latent vector holds, in this order (section 5).  Raises ValueError for bad sizes."""

    noise: int = 62  # z, each U(-1, 1) as in the code that the paper's authors released
    categorical: tuple = (10,)  # the number of categories K of each c ~ Cat(K, p = 1/K), one-hot
    continuous: int = 2  # the number of c ~ U(-1, 1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "categorical", tuple(self.categorical))
        numbers = [("noise is", self.noise, 0, 10**6), ("continuous is", self.continuous, 0, 1000)]
        numbers += [("a categorical code of size", size, 2, 10**6) for size in self.categorical]
        for what, n, least, most in numbers:
            if not (isinstance(n, Integral) and least <= n <= most):
                raise ValueError(f"{what} {n!r}, expected a whole number, {least} to {most:,}")
        if not self.codes:
            raise ValueError("an InfoGAN needs at least one code; with λ = 0 it is a plain GAN")

    @property
    def code_dim(self) -> int:
        """The number of columns that all codes take together."""
        return sum(self.categorical) + self.continuous

    @property
    def dim(self) -> int:
        """The length of a latent vector."""
        return self.noise + self.code_dim

    @property
    def codes(self) -> list[Code]:
        """The codes: the categorical ones, then the continuous ones."""
        codes: list[Code] = []
        for size in (*self.categorical, *(None,) * self.continuous):
            start = codes[-1].columns.stop if codes else 0
            codes.append(Code(f"c{len(codes)}", size, slice(start, start + (size or 1))))
        return codes

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n latent vectors drawn from `rng`, (n, dim) float32."""
        latents = np.empty((n, self.dim), np.float32)
        latents[:, : self.noise] = rng.uniform(-1, 1, (n, self.noise))
        for code in self.codes:
            draw = rng.uniform(-1, 1, n) if code.size is None else rng.integers(code.size, size=n)
            self.set_code(latents, code.name, draw)
        return latents

    def set_code(self, latents: np.ndarray, name: str, values: Array) -> None:
        """Set the code `name` of latent vectors (n, dim), in place, to one value or to n values.

        values: categories 0 ... K-1 of a categorical code, numbers of a continuous one, to ±1e30.
        Raises ValueError for an unknown code, and for values that are not these or not n.
        """
        n, codes = len(latents), {code.name: code for code in self.codes}
        if name not in codes:
            raise ValueError(f"there is no code {name!r}; the codes are: {', '.join(codes)}")
        size, columns = codes[name].size, latents[:, self.noise :][:, codes[name].columns]
        try:
            values = np.broadcast_to(np.asarray(values, np.float64), n)
        except (TypeError, ValueError):
            raise ValueError(f"{name} is {values!r}, expected a number, or {n} of them") from None
        wanted = np.arange(size) == values[:, None] if size else values[:, None]
        good = wanted.any(axis=1) if size else abs(values) <= 1e30  # NaN is not
        if not good.all():
            expected = f"categories from 0 to {size - 1}" if size else "finite numbers, to ±1e30"
            raise ValueError(f"{name} is {values[~good][0]:g}, expected {expected}")
        columns[...] = wanted
