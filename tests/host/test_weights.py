import gc
import weakref

import pytest
import torch
from torch import nn

from zoetrope.host import weights as host_weights
from zoetrope.host import work
from zoetrope.host.weights import managed, ready_together, stationary


class Elsewhere(nn.Linear):
    """Stands for a module on an accelerator, which this machine need not have: notes where it was sent."""

    def __init__(self, numbers: int):
        super().__init__(numbers, 1, bias=False)
        self.sent: list[str] = []
        self.weight = nn.Parameter(self.weight.detach(), requires_grad=False)

    def to(self, device):
        self.sent.append(torch.device(device).type)
        return self


@pytest.fixture
def accelerator(monkeypatch):
    """A device with room for 100 numbers, whose weights are those that were sent there last."""
    modules: list[Elsewhere] = []
    monkeypatch.setattr(work, "device", lambda: torch.device("cuda"))

    def there(module: Elsewhere) -> bool:
        return bool(module.sent) and module.sent[-1] == "cuda"

    def available(device: torch.device) -> int:
        return 400 - sum(4 * module.weight.numel() for module in modules if there(module))

    monkeypatch.setattr(work, "available_bytes", available)

    def make(numbers: int) -> host_weights.Weights[Elsewhere]:
        module = Elsewhere(numbers)
        modules.append(module)
        weights = managed(module)
        place = property(lambda self: torch.device("cuda" if there(self.module) else "cpu"))
        monkeypatch.setattr(type(weights), "device", place)
        return weights

    return make


def test_stationary_weights_stay_where_they_are():
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).to("meta")
    weights = stationary(module)

    assert weights.ready(activation_bytes=1 << 60) == torch.device("meta")
    assert weights.module is module
    assert weights.bytes == 4 * (6 + 2 + 2 + 2 + 2 + 2) + 8


def test_managed_weights_are_on_the_device_when_they_are_ready(monkeypatch):
    monkeypatch.setattr(work, "device", lambda: torch.device("meta"))
    weights = managed(nn.Linear(3, 2))

    assert weights.device.type == "cpu"
    assert weights.ready() == torch.device("meta")
    assert weights.device.type == "meta"


def test_weights_that_nodes_have_moved_can_still_be_trained_on(monkeypatch):
    monkeypatch.setattr(work, "device", lambda: torch.device("cpu:0"))  # another device by name
    weights = managed(nn.Linear(3, 2).requires_grad_(False))

    with torch.inference_mode():  # as nodes run
        weights.ready()

    x = torch.ones(1, 3, requires_grad=True)
    weights.module(x).sum().backward()
    assert x.grad is not None


def test_weights_that_are_there_already_are_not_looked_through_again(accelerator):
    weights = accelerator(50)
    for _ in range(3):
        weights.ready()

    assert weights.module.sent == ["cuda"]


def test_what_was_not_used_for_longest_is_put_away_first(accelerator):
    unet, vae, encoder = accelerator(50), accelerator(20), accelerator(30)
    for weights in (encoder, vae, unet):
        weights.ready()
    encoder.ready()
    assert [weights.module.sent[-1] for weights in (unet, vae, encoder)] == ["cuda"] * 3

    another = accelerator(20)
    another.ready()
    assert [weights.module.sent[-1] for weights in (unet, vae, encoder)] == ["cuda", "cpu", "cuda"]

    vae.ready()
    assert [weights.module.sent[-1] for weights in (unet, vae, encoder)] == ["cpu", "cuda", "cuda"]


def test_room_for_the_work_is_made_too(accelerator):
    vae, unet = accelerator(20), accelerator(50)
    vae.ready()
    unet.ready(activation_bytes=4 * 30)
    assert vae.module.sent == ["cuda"]

    unet.ready(activation_bytes=4 * 31)
    assert vae.module.sent == ["cuda", "cpu"]


def test_what_is_wanted_together_is_never_put_away_for_each_other(accelerator):
    unet, vae = accelerator(90), accelerator(90)

    ready_together([unet, stationary(nn.Linear(1, 1)), vae], activation_bytes=1 << 40)

    assert unet.module.sent == ["cuda"] and vae.module.sent == ["cuda"]


def test_weights_that_nobody_has_are_not_kept():
    weights = managed(nn.Linear(2, 2))
    weights.ready()
    module, itself = weakref.ref(weights.module), weakref.ref(weights)

    del weights
    gc.collect()

    assert module() is None and itself() is None
