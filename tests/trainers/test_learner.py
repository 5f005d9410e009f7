"""One step of training, against what it must come to."""

import sys
import types

import pytest
import torch
from torch.testing import assert_close

from zoetrope.trainers.errors import Diverged, TrainingError
from zoetrope.trainers.learner import PATIENCE_STEPS, Learner

from .toy_method import ALONE, ToyMethod, quick


class WatchedLearner(Learner):
    """Keeps the gradients with which it updates."""

    def _update(self, rate):
        self.gradients = [weight.grad.clone() for weight in self.weights.values()]
        super()._update(rate)


class SpoiltMethod(ToyMethod):
    """Its loss is multiplied at some steps, each of which is one batch."""

    def __init__(self, factors):
        super().__init__()
        self.factors, self.calls = factors, 0

    def loss(self, batch):
        self.calls += 1
        return super().loss(batch) * self.factors.get(self.calls, 1.0)


class SteepMethod(ToyMethod):
    """Its loss is a number at a place where its gradient is none."""

    def loss(self, batch):
        return super().loss(batch) + self.model.weight.sub(self.model.weight).sum().sqrt()


def learned(method=None, **changes):
    learner = WatchedLearner(method or ToyMethod(), quick(**changes), ALONE)
    return learner, learner.learn()


def weights_of(learner):
    return [weight.detach().clone() for weight in learner.weights.values()]


@pytest.mark.parametrize("batch, accumulation", [(1, 4), (2, 2)])
def test_accumulation_is_a_bigger_batch(batch, accumulation):
    whole, at_once = learned(batch=4, max_gradient_norm=0.0)  # cutting would make gradients of any length alike
    parts, in_parts = learned(batch=batch, accumulation=accumulation, max_gradient_norm=0.0)

    assert [sample.item for sample in whole._method.drawn] == [sample.item for sample in parts._method.drawn]
    for one, other in zip(whole.gradients, parts.gradients, strict=True):
        assert_close(one, other, atol=1e-6, rtol=1e-6)
    assert at_once.loss == pytest.approx(in_parts.loss, rel=1e-6)
    assert parts.samples == whole.samples == 4


def test_the_first_step_of_adam_goes_the_learning_rate_down_the_gradient():
    before = weights_of(WatchedLearner(ToyMethod(), quick(), ALONE))
    learner, step = learned(weight_decay=0.0)

    assert step.learning_rate == 0.05 / 2  # the first of two steps of warm-up
    for old, new, gradient in zip(before, weights_of(learner), learner.gradients, strict=True):
        assert_close(new, old - step.learning_rate * gradient.sign(), atol=1e-5, rtol=0)


def test_gradients_are_cut_to_their_longest_and_told_as_they_were():
    free, longer = learned(max_gradient_norm=0.0)
    short, told = learned(max_gradient_norm=0.5)

    assert longer.gradient_norm == pytest.approx(told.gradient_norm)
    assert told.gradient_norm > 0.5
    norm = torch.cat([gradient.flatten() for gradient in short.gradients]).norm()
    assert norm.item() == pytest.approx(0.5, rel=1e-4)
    assert torch.cat([g.flatten() for g in free.gradients]).norm().item() == pytest.approx(longer.gradient_norm)


def test_learning_brings_the_loss_down():
    learner = Learner(ToyMethod(), quick(steps=300, batch=4), ALONE)
    losses = [learner.learn().loss for _ in range(300)]

    assert sum(losses[-20:]) < 0.1 * sum(losses[:20])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_no_number_leaves_the_weights_as_they_were(bad):
    learner = Learner(SpoiltMethod({2: bad}), quick(average_decay=0.9), ALONE)
    learner.learn()
    before, (tensors, _) = weights_of(learner), learner.state()
    tensors = {file: {name: tensor.clone() for name, tensor in group.items()} for file, group in tensors.items()}

    step = learner.learn()

    assert step.skipped
    assert all(torch.equal(old, new) for old, new in zip(before, weights_of(learner), strict=True))
    for file, group in learner.state()[0].items():
        assert all(torch.equal(tensor, tensors[file][name]) for name, tensor in group.items())
    assert not learner.learn().skipped
    learner.check_success()


def test_a_gradient_that_is_no_number_is_noticed_where_the_loss_is_one():
    learner = Learner(SteepMethod(), quick(), ALONE)
    before = weights_of(learner)

    assert learner.learn().skipped
    assert all(torch.equal(old, new) for old, new in zip(before, weights_of(learner), strict=True))


def test_the_samples_of_a_step_that_was_left_out_are_not_drawn_again():
    method = SpoiltMethod({1: float("nan")})
    learner = Learner(method, quick(), ALONE)

    learner.learn()
    learner.learn()

    assert [sample.chance.number for sample in method.drawn] == [0, 1]


def test_some_steps_in_a_row_that_are_no_numbers_end_the_run():
    learner = Learner(SpoiltMethod(dict.fromkeys(range(3, 100), float("nan"))), quick(), ALONE)

    with pytest.raises(Diverged, match="At step 7, for the 5th time in a row.*lower than 0.05.*broken clip"):
        for _ in range(50):
            learner.learn()
    assert learner.step == 2 + PATIENCE_STEPS
    assert all(weight.isfinite().all() for weight in learner.weights.values())


def test_a_run_whose_last_step_is_no_number_is_no_success():
    learner = Learner(SpoiltMethod({2: float("nan")}), quick(), ALONE)
    learner.learn()
    learner.check_success()
    learner.learn()

    with pytest.raises(Diverged, match="the last of the run"):
        learner.check_success()


def test_a_run_that_never_learned_is_no_success():
    learner = Learner(ToyMethod(), quick(), ALONE)

    with pytest.raises(Diverged, match="as in every step before"):
        learner.check_success()


def test_weights_that_are_no_numbers_are_never_saved():
    learner = Learner(ToyMethod(), quick(), ALONE)
    learner.learn()
    with torch.no_grad():
        learner.weights["weight"][0, 0] = float("inf")

    with pytest.raises(Diverged, match="when it was to be saved"):
        learner.state()


def test_in_half_precision_the_scale_is_found_without_giving_up():
    """A loss of 3000 overflows float16 when it is multiplied by 65536, and does not later."""
    learner = Learner(SpoiltMethod(dict.fromkeys(range(100), 3000.0)), quick(precision="fp16"), ALONE)

    steps = [learner.learn() for _ in range(30)]

    skipped = [step.skipped for step in steps]
    assert skipped[0]
    assert not skipped[-1]
    assert skipped == sorted(skipped, reverse=True)
    assert learner.state()[1]["scaler"]["scale"] < 65536
    learner.check_success()


def test_in_half_precision_a_loss_that_is_no_number_ends_the_run():
    learner = Learner(SpoiltMethod(dict.fromkeys(range(100), float("nan"))), quick(precision="fp16"), ALONE)

    with pytest.raises(Diverged, match="bf16 instead of fp16"):
        for _ in range(PATIENCE_STEPS):
            learner.learn()


@pytest.mark.parametrize(
    "precision, computed", [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_the_model_computes_in_the_precision_asked_for_and_keeps_its_weights_in_full(precision, computed):
    seen = []
    method = ToyMethod()
    method.model.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))

    learner, _ = learned(method, precision=precision)
    with learner.evaluating():
        method.validate()

    assert set(seen) == {computed}
    assert all(weight.dtype == torch.float32 for weight in learner.weights.values())


def test_weights_on_which_the_loss_does_not_depend_get_no_gradient_and_no_error():
    method = ToyMethod(width=3)
    method.loss = lambda batch: method.model(batch.inputs).square().mean()

    learner, step = learned(method)

    assert not step.skipped
    assert torch.equal(learner.gradients[-1], torch.zeros(3))


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda method: method.model.half(), "rounds small steps away"),
        (lambda method: method.model.requires_grad_(False), "frozen"),
        (lambda method: setattr(method, "trained", dict), "trains something"),
    ],
)
def test_mistakes_of_a_method_are_noticed(spoil, words):
    method = ToyMethod()
    spoil(method)

    with pytest.raises(AssertionError, match=words):
        Learner(method, quick(), ALONE)


def test_a_model_made_in_inference_mode_is_noticed():
    with torch.inference_mode():
        method = ToyMethod()

    with pytest.raises(AssertionError, match="inference mode"):
        Learner(method, quick(), ALONE)


def test_without_bitsandbytes_the_8_bit_optimizer_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)

    with pytest.raises(TrainingError, match="adamw8bit, which needs bitsandbytes.*or set optimizer to adamw"):
        Learner(ToyMethod(), quick(optimizer="adamw8bit"), ALONE)


class AdamOf8Bits(torch.optim.SGD):
    """Stands for bitsandbytes' class, which is made for graphics cards; remembers what is no tensor, as that does."""

    def __init__(self, weights, betas, weight_decay):
        super().__init__(weights, lr=0.0, weight_decay=weight_decay)
        self.betas = betas

    def step(self):
        super().step()
        for weight in self.param_groups[0]["params"]:
            memory = self.state[weight]
            memory["step"] = memory.get("step", 0) + 1
            memory["state1"] = torch.full((2,), memory["step"], dtype=torch.uint8)

    def load_state_dict(self, state_dict):
        """Keeps 8 bits as they are, which torch's own would turn into the type of the weights."""
        for weight, memory in zip(self.param_groups[0]["params"], state_dict["state"].values(), strict=True):
            self.state[weight] = dict(memory)


def test_with_bitsandbytes_its_optimizer_is_used_and_its_memory_kept(monkeypatch, tmp_path):
    from zoetrope.trainers.states import newest_state, write_state

    library, optim = types.ModuleType("bitsandbytes"), types.ModuleType("bitsandbytes.optim")
    optim.AdamW8bit = AdamOf8Bits
    monkeypatch.setitem(sys.modules, "bitsandbytes", library)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", optim)
    learner, _ = learned(optimizer="adamw8bit")
    learner.learn()

    write_state(tmp_path, 2, *learner.state())
    again = Learner(ToyMethod(), quick(optimizer="adamw8bit"), ALONE)
    again.go_on_from(newest_state(tmp_path, print))

    assert isinstance(again._optimizer, AdamOf8Bits)
    memory = again._optimizer.state[again.weights["weight"]]
    assert memory["step"] == 2
    assert memory["state1"].dtype == torch.uint8
    assert memory["state1"].tolist() == [2, 2]
