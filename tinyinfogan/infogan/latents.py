"""The generator's input: noise z that means nothing, and codes c that are to mean something."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

MOST_CONTINUOUS = 1000


class Code(NamedTuple):
    """One latent code.

    name: "c0", "c1", ...  size: the number of categories K, or None for a continuous code.
    columns: where the code stands among the codes, a slice: K columns or one.
    """

    name: str
    size: int | None
    columns: slice

    @property
    def entropy(self) -> float:
        """H(c) in nats: log K for K equal categories, log 2 (differential) for U(-1, 1)."""
        return float(np.log(self.size or 2))


@dataclass(frozen=True)
class LatentSpec:
    """What a latent vector is made of (section 5 and appendix C of the paper).

    noise: the number of incompressible noise variables z, each U(-1, 1) as in the code that the
        paper's authors released.
    categorical: the number of categories of each categorical code, c ~ Cat(K, p = 1/K), one-hot.
    continuous: the number of continuous codes, each U(-1, 1).

    A latent vector holds these in this order.  Raises ValueError for a size that cannot be.
    """

    noise: int = 62
    categorical: tuple = (10,)
    continuous: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "categorical", tuple(self.categorical))
        for name in ("noise", "continuous"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.continuous > MOST_CONTINUOUS:
            raise ValueError(f"continuous is {self.continuous}, expected at most 1,000")
        for size in self.categorical:
            if size < 2:
                raise ValueError(f"a categorical code of size {size}: expected at least 2")
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
        codes, start = [], 0
        for size in (*self.categorical, *(None,) * self.continuous):
            stop = start + (size or 1)
            codes.append(Code(f"c{len(codes)}", size, slice(start, stop)))
            start = stop
        return codes

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n latent vectors drawn from `rng`, (n, dim) float32."""
        latents = np.empty((n, self.dim), np.float32)
        latents[:, : self.noise] = rng.uniform(-1, 1, (n, self.noise))
        for code in self.codes:
            draw = rng.uniform(-1, 1, n) if code.size is None else rng.integers(code.size, size=n)
            self.set_code(latents, code.name, draw)
        return latents

    def set_code(self, latents: np.ndarray, name: str, values) -> None:
        """Set the code `name` of latent vectors (n, dim), in place, to one value or to n values.

        values: categories 0 ... K-1 of a categorical code, numbers of a continuous one.
        Raises ValueError for an unknown code, a category out of range, a number that is not
        finite, and values that are no numbers or not as many as the vectors.
        """
        code = next((code for code in self.codes if code.name == name), None)
        if code is None:
            known = ", ".join(code.name for code in self.codes)
            raise ValueError(f"there is no code {name!r}; the codes are: {known}")
        columns = latents[:, self.noise :][:, code.columns]
        try:
            values = np.broadcast_to(np.asarray(values, np.float64), len(latents))
        except (TypeError, ValueError):
            wanted = f"a number, or {len(latents)} of them"
            raise ValueError(f"{name} is {values!r}, expected {wanted}") from None
        if code.size is None:
            if not np.isfinite(values).all():
                raise ValueError(f"{name} is {values}, expected finite numbers")
            columns[:, 0] = values
        else:
            if not np.isin(values, np.arange(code.size)).all():
                last = code.size - 1
                raise ValueError(f"{name} is {values}, expected categories from 0 to {last}")
            columns[...] = np.arange(code.size) == values[:, None]
