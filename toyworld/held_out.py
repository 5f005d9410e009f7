"""Which seeds are for training, and which are held out: what a model learns from, it is never judged on.

Every clip of the toy world comes from its seed, so to split the seeds is to split the world.
"""

FIRST_HELD_OUT = 1_000_000
"""Training takes seeds below this one; measures, demos and their tests take them from here on."""


def training_seeds(count: int, first: int = 0) -> range:
    """So many seeds to train on, from a first one."""
    _check_count(count)
    if first < 0 or first + count > FIRST_HELD_OUT:
        raise ValueError(
            f"Seeds {first} to {first + count - 1} are not all for training, which takes 0 to {FIRST_HELD_OUT - 1}. "
            "Those above are held out to judge models on. Choose a lower first seed, or fewer clips."
        )
    return range(first, first + count)


def held_out_seeds(count: int, first: int = 0) -> range:
    """So many seeds that no recipe draws from; `first` counts from 0 among them."""
    _check_count(count)
    if first < 0:
        raise ValueError(f"The first held-out clip is {first}. They are counted from 0.")
    return range(FIRST_HELD_OUT + first, FIRST_HELD_OUT + first + count)


def _check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"seeds is {count}. Ask for 1 or more.")
