"""What tests of the race share."""

from bench.racers import Evaluation, Run

TEXT = "Nothing is said here twice, or hardly.\n" * 50


def made_up(contestant: str, *seen: tuple[float, float], seed: int = 0, start_up: float = 2.0, end: float = 60) -> Run:
    """A run with evaluations of (seconds, loss)."""
    curve = [Evaluation(step, seconds, loss) for step, (seconds, loss) in enumerate(seen)]
    return Run(contestant, seed, f"command of {contestant}", start_up, end, curve)
