"""What is trained on and what is judged on never meet."""

import pytest

from zoetrope.toyworld.held_out import FIRST_HELD_OUT, held_out_seeds, training_seeds


def test_training_and_held_out_seeds_have_none_in_common():
    assert not set(training_seeds(1000, FIRST_HELD_OUT - 1000)) & set(held_out_seeds(1000))


def test_held_out_seeds_are_counted_from_the_first_of_them():
    assert list(held_out_seeds(2, 5)) == [FIRST_HELD_OUT + 5, FIRST_HELD_OUT + 6]


@pytest.mark.parametrize("first", [-1, FIRST_HELD_OUT - 9, FIRST_HELD_OUT])
def test_training_on_what_is_held_out_is_refused(first):
    with pytest.raises(ValueError, match="not all for training"):
        training_seeds(10, first)


def test_none_at_all_is_refused():
    with pytest.raises(ValueError, match="seeds is 0"):
        held_out_seeds(0)
