"""Loss as a law of parameters and of characters trained on, fitted to runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUNDS, STEPS = 6, 25  # of the search for both exponents: each round looks at so many of each, ever closer
LARGEST_EXPONENT = 3.0


@dataclass(frozen=True)
class Law:
    """L(N, D) = E + A / N^a + B / D^b, in nats/char (Hoffmann et al. 2022, equation 2; after Kaplan et al. 2020).

    E is what no decoder gets below, the others what too few parameters N and too few characters D cost.
    """

    E: float
    A: float
    a: float
    B: float
    b: float

    def loss(self, parameters: float, characters: float) -> float:
        return self.E + self.A * parameters**-self.a + self.B * characters**-self.b

    def parameters_by_compute(self) -> float:
        """The exponent of N over N D where E + A / N^a + B / D^b is least for a given N D (ibid., equation 4)."""
        return self.b / (self.a + self.b)


def fit_law(parameters: Sequence[float], characters: Sequence[float], losses: Sequence[float]) -> Law:
    """The law of least squared relative error whose E, A and B are not negative.

    For given exponents the law is linear, so that these alone are searched for, and no first guess can lead astray.
    """
    N, D, L = (np.array(values, dtype=np.float64) for values in (parameters, characters, losses))
    least, best = np.inf, Law(float(L.mean()), 0, 1, 0, 1)
    centre, reach = np.full(2, LARGEST_EXPONENT / 2), LARGEST_EXPONENT / 2
    for _ in range(ROUNDS):
        a, b = np.meshgrid(*(centre[:, None] + reach * np.linspace(-1, 1, STEPS)))
        terms = np.stack(np.broadcast_arrays(1, N ** -a[..., None], D ** -b[..., None]), axis=-1) / L[:, None]
        factors = np.linalg.pinv(terms).sum(-1)  # E, A and B for each pair of exponents
        errors = np.square((terms @ factors[..., None])[..., 0] - 1).sum(-1)
        errors[(factors < 0).any(-1) | (np.minimum(a, b) <= 0)] = np.inf
        if errors.min() < least:
            least, place = errors.min(), np.unravel_index(errors.argmin(), errors.shape)
            E, A, B = factors[place].tolist()
            best = Law(E, A, float(a[place]), B, float(b[place]))
        centre, reach = np.array([best.a, best.b]), reach * 4 / STEPS
    return best
