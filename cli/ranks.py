"""One process or several: what torchrun has set in the environment, looked at without torch."""

import os

from errors import UserError


def several_ranks() -> bool:
    """Whether this is one of several processes, as torchrun starts them."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def is_first_rank() -> bool:
    return not several_ranks() or os.environ.get("RANK", "0") == "0"


def check_ranks() -> None:
    """Raise UserError where the environment says that there are several processes, and no more that torch could use."""
    size = os.environ.get("WORLD_SIZE", "1")
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if several_ranks() else ():
        if (value := os.environ.get(name)) is None:
            raise UserError(f"WORLD_SIZE={size} without {name}: start by torchrun, or unset it")
        end = int(size) if "RANK" in name else 2**16
        if name != "MASTER_ADDR" and not (value.isdecimal() and int(value) < end):
            raise UserError(f"{name}={value}: expected a number below {end}; start by torchrun, or unset WORLD_SIZE")
