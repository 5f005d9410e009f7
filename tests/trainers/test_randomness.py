"""Randomness is a function of who asks for what."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from zoetrope.trainers.randomness import Chance, item_of, numbers_of


def test_asking_twice_gives_the_same():
    one, again = Chance(7, 3), Chance(7, 3)
    one.uniform("noise level")  # and it matters not what else was asked between

    assert torch.equal(one.normal("noise", (4, 5)), again.normal("noise", (4, 5)))
    assert one.below("first frame", 1000) == again.below("first frame", 1000)


def test_seed_sample_and_stream_each_give_others():
    noises = [
        Chance(seed, number).normal(stream, (64,)) for seed in (0, 1) for number in (0, 1) for stream in ("noise", "n")
    ]

    for index, noise in enumerate(noises):
        for other in noises[:index]:
            assert (noise - other).abs().max() > 0.5


def test_normal_numbers_are_standard_normal():
    noise = Chance(0, 0).normal("noise", (100_000,))

    assert noise.dtype == torch.float32
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02


def test_uniform_numbers_fill_the_unit_interval():
    numbers = Chance(0, 0).uniform("place", (10_000,))

    assert 0 <= numbers.min() < 0.001
    assert 0.999 < numbers.max() < 1


def test_whole_numbers_reach_every_value_below_the_end():
    assert {Chance(0, number).below("first frame", 3) for number in range(50)} == {0, 1, 2}


def test_global_random_state_is_left_alone():
    before = torch.random.get_rng_state()

    Chance(0, 0).normal("noise", (3,))
    item_of(0, 5, 10)

    assert torch.equal(torch.random.get_rng_state(), before)


@given(st.integers(0, 2**32), st.integers(0, 10**9), st.integers(1, 300))
def test_even_numbers_leave_no_gap_in_any_row_of_samples(seed, first, count):
    numbers = sorted(Chance(seed, number).even("noise level") for number in range(first, first + count))

    gaps = [after - before for before, after in zip(numbers, [*numbers[1:], numbers[0] + 1], strict=True)]
    assert max(gaps) < 2.7 / count  # of drawn ones the largest gap is about log(count) / count


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 5))
def test_an_epoch_takes_every_item_once(seed, items, epoch):
    taken = [item_of(seed, epoch * items + place, items) for place in range(items)]

    assert sorted(taken) == list(range(items))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(item_of(seed, epoch * 9 + place, 9) for place in range(9)) for seed in (0, 1) for epoch in (0, 1)}

    assert len(orders) == 4


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_processes_share_the_samples_of_a_step_without_overlap(first, processes, accumulation, batch):
    taken = [
        number
        for part in range(accumulation)
        for rank in range(processes)
        for number in numbers_of(first, part, rank, processes, batch)
    ]

    assert taken == list(range(first, first + processes * accumulation * batch))


def test_what_is_drawn_stays_what_it_was():
    """A run of an earlier version goes on as it began; new numbers here break that, and the changelog says so."""
    assert_close(
        Chance(42, 7).normal("noise", (3,)), torch.tensor([0.3795938, -0.4033318, 1.0549182]), atol=1e-6, rtol=0
    )
    assert [item_of(42, number, 5) for number in range(10)] == [4, 3, 2, 1, 0, 4, 3, 1, 0, 2]
    assert abs(Chance(42, 7).even("noise level") - 0.6521647836470736) < 1e-12
