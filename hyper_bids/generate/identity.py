"""`Identity`: the latents are the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np

from hyper_bids.errors import InconsistentInput
from hyper_bids.generate.checks import checked_latents


class Identity:
    """Pixels as latents, as in the second baseline of Güçlütürk et al. (2017).

    Parameters
    ----------
    shape : [height, width] (grey) or [height, width, 3] (RGB)
        The latents are its pixels in row-major order, from 0 (black) to 1 (white).

    Raises
    ------
    InconsistentInput
        The shape is none of these.
    """

    space = "identity"
    range = (0.0, 1.0)

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = _checked_shape(shape)
        self.n_latents = int(np.prod(self.shape))

    def generate(self, latents: np.ndarray) -> np.ndarray:
        """Return float32 images ``(n, height, width, 3)`` from latents ``(n, n_latents)``, limited to 0 to 1.

        Raises
        ------
        InconsistentInput
            The latents are not ``(n, n_latents)``, or not finite.
        """
        values = checked_latents(latents, self.n_latents, "identity").clip(*self.range)
        pixels = values.reshape(len(values), *self.shape)
        return pixels.copy() if pixels.ndim == 4 else np.repeat(pixels[..., None], 3, axis=3)


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    is_list = isinstance(shape, Sequence | np.ndarray) and not isinstance(shape, str)
    sizes = tuple(shape) if is_list else ()
    whole = all(isinstance(size, Integral) and not isinstance(size, bool) and size > 0 for size in sizes)
    if not whole or len(sizes) not in (2, 3) or (len(sizes) == 3 and sizes[2] != 3):
        raise InconsistentInput(
            f"Generator 'identity' needs Shape [height, width] or [height, width, 3] in positive whole numbers, "
            f"got {shape!r}."
        )
    return tuple(int(size) for size in sizes)
