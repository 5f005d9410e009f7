import torch
from torch import nn
from torch.testing import assert_close

from zoetrope.models.fresh_weights import with_fresh_weights


class Odd(nn.Module):
    """With a weight that is set when it is built, as mixers of clips and pictures have, and one of no known layer."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(8, 64, 3), nn.GroupNorm(2, 64), nn.Linear(64, 4))
        self.table = nn.Parameter(torch.empty(100, 8))
        self.mix = nn.Parameter(torch.Tensor([0.3]))


def test_a_seed_gives_the_same_weights_and_another_seed_others():
    first, again, other = (with_fresh_weights(Odd, seed).state_dict() for seed in (1, 1, 2))

    for name, weights in first.items():
        assert_close(again[name], weights, rtol=0, atol=0)
    assert not torch.equal(first["inner.0.weight"], other["inner.0.weight"])


def test_weights_are_as_large_as_pytorch_makes_them():
    module = with_fresh_weights(Odd, 0)

    bound = 1 / (8 * 9) ** 0.5
    assert 0.97 * bound < module.inner[0].weight.abs().max() <= bound
    assert (module.inner[1].weight == 1).all() and (module.inner[1].bias == 0).all()
    assert_close(module.table.std().item(), 0.02, rtol=0.1, atol=0)
    assert_close(module.mix.data, torch.tensor([0.3]))


def test_nobodys_random_numbers_are_touched_and_the_weights_can_be_trained():
    before = torch.random.get_rng_state()
    with torch.inference_mode():
        module = with_fresh_weights(Odd, 0)

    assert torch.equal(torch.random.get_rng_state(), before)
    assert not module.training
    assert all(weight.requires_grad and not weight.is_inference() for weight in module.parameters())
