import torch
from hypothesis import given
from hypothesis import strategies as st

from zoetrope.toyworld.chance import Chance

seeds = st.integers(0, 2**64 - 1)


def draws(chance):
    return [chance.between(-1, 1), chance.one_of("abcdef"), chance.some_of(range(9), 5)]


@given(seed=seeds)
def test_a_seed_draws_the_same_again(seed):
    assert draws(Chance(seed)) == draws(Chance(seed))


def test_a_seed_draws_what_it_drew_in_the_first_release():
    """A clip that somebody made from a seed can be made again."""
    assert draws(Chance(23)) == [-0.14786942568100025, "a", [0, 5, 7, 6, 1]]


@given(seed=seeds, low=st.floats(-100, 100), width=st.floats(0, 100))
def test_a_number_lies_between_its_bounds(seed, low, width):
    assert low <= Chance(seed).between(low, low + width) <= low + width


@given(seed=seeds, count=st.integers(0, 9))
def test_some_are_different_ones(seed, count):
    drawn = Chance(seed).some_of(range(9), count)

    assert len(set(drawn)) == count
    assert set(drawn) <= set(range(9))


def test_the_generators_of_others_are_left_alone():
    before = torch.random.get_rng_state()

    draws(Chance(1))

    assert torch.equal(torch.random.get_rng_state(), before)
