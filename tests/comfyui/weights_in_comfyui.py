"""Run by test_weights.py inside ComfyUI's own code: our weights in the hands of its memory manager.

    python weights_in_comfyui.py COMFYUI PACK CHECKPOINT --cpu

The device is called cpu:0 here, which to the manager is none of the processors that need no managing; so it makes room
there and takes it away as on a card, though all of it is the computer's memory.
"""

import gc
import logging
import sys
import tempfile
import weakref
from pathlib import Path

comfyui, pack, checkpoint, *arguments = sys.argv[1:]
sys.argv[1:] = arguments
sys.path.insert(0, comfyui)

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.model_management as memory  # noqa: E402
import torch  # noqa: E402

CARD = torch.device("cpu:0")
memory.get_torch_device = lambda: CARD

said: list[str] = []


class Listener(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            said.append(record.getMessage())


logging.getLogger().addHandler(Listener())

links = tempfile.TemporaryDirectory()
(Path(links.name) / "zoetrope").symlink_to(pack, target_is_directory=True)
sys.path.insert(0, links.name)

from zoetrope.host.weights import managed, ready_together  # noqa: E402
from zoetrope.models.lora import add_lora, load_lora, lora_targets, trained_lora  # noqa: E402
from zoetrope.models.svd import load_svd  # noqa: E402


def on_the_card(weights) -> bool:
    known = weights.patcher in [loaded.model for loaded in memory.current_loaded_models]
    size = weights.patcher.loaded_size()
    assert size in (0, weights.patcher.model_size()), "a part of the weights is there, and a part is not"
    assert known == (size > 0), "what the manager lists is not what is loaded"
    return known


def evaluate(unet) -> torch.Tensor:
    numbers = torch.Generator().manual_seed(0)
    x, context, vector = (torch.randn(shape, generator=numbers) for shape in ((1, 2, 8, 8, 8), (1, 1, 32), (1, 2, 768)))
    return unet.module(x, torch.tensor([0.5]), context, vector)


def lora_for(model):
    """A LoRA as if it had been trained."""
    unet = model.unet.module
    layers = add_lora(unet, lora_targets(unet, "strong"), rank=2, alpha=4, seed=0)
    for parameter in layers.parameters():
        parameter.data.normal_(0, 0.2, generator=torch.Generator().manual_seed(0))
    return trained_lora(layers)


def check_loras(model) -> None:
    """The base is the manager's once, whatever is on it, and comes and goes with what is on it."""
    memory.unload_all_models()
    before = len(memory.current_loaded_models)
    lora = lora_for(model)
    once = load_lora(model, lora)
    neither = load_lora(once, lora, -1.0)
    base, *pairs = neither.unet.parts
    assert base is model.unet and neither.patcher is model.patcher
    model.unet.ready()
    plain = evaluate(model.unet)

    neither.unet.ready()
    assert all(map(on_the_card, (base, *pairs)))
    assert len(memory.current_loaded_models) == before + 3, "the base is counted more than once"
    there = sum(part.patcher.loaded_size() for part in neither.unet.parts)
    assert there == neither.unet.bytes < 1.5 * model.unet.bytes
    once.unet.ready()
    changed = evaluate(once.unet)
    assert (changed - plain).norm() > 0.1 * plain.norm()
    assert (evaluate(neither.unet) - plain).norm() < 1e-3 * plain.norm()
    assert torch.equal(evaluate(model.unet), plain)

    memory.unload_all_models()
    assert not any(map(on_the_card, neither.unet.parts))
    once.unet.ready()
    assert on_the_card(base) and on_the_card(pairs[0]) and not on_the_card(pairs[1])
    assert torch.equal(evaluate(once.unet), changed)
    memory.unload_all_models()

    gone = [weakref.ref(pairs[0].patcher), weakref.ref(once.unet.module)]
    del once, neither, pairs
    gc.collect()
    assert [part() for part in gone] == [None, None], "somebody keeps a LoRA whose model is gone"
    memory.cleanup_models()


@torch.inference_mode()
def main() -> None:
    model = load_svd(checkpoint, dtype=torch.float32, device="cpu", place=managed)
    assert model.patcher is model.unet.patcher
    assert not on_the_card(model.unet) and not on_the_card(model.vae)

    device = model.unet.ready(activation_bytes=1000)
    assert device.type == CARD.type and on_the_card(model.unet) and not on_the_card(model.vae)
    first = evaluate(model.unet)

    memory.unload_all_models()
    assert not on_the_card(model.unet)
    model.unet.ready()
    assert on_the_card(model.unet) and torch.equal(evaluate(model.unet), first)
    # This is inference mode, as in nodes. What is moved in it stays of use to who trains on it.
    assert not any(weight.is_inference() for weight in model.unet.module.parameters())
    memory.unload_all_models()
    assert not any(weight.is_inference() for weight in model.unet.module.parameters())
    model.unet.ready()

    # Another node wants a little more than is free: all goes, not some layers.
    memory.free_memory(memory.get_free_memory(CARD) + 10_000_000_000, CARD)
    assert not on_the_card(model.unet)
    model.unet.ready()
    small = memory.get_free_memory
    memory.get_free_memory = lambda device=None, torch_free_too=False: (0, 0) if torch_free_too else 0
    memory.free_memory(1, CARD)
    memory.get_free_memory = small
    assert not on_the_card(model.unet)

    # Where ComfyUI is told to keep next to nothing on the card, ours still come whole: they could not run otherwise.
    model.unet.patcher.partially_load(CARD, extra_memory=0.1)
    assert model.unet.patcher.loaded_size() == model.unet.patcher.model_size()
    model.unet.patcher.detach()

    ready_together([model.unet, model.vae, model.image_encoder], activation_bytes=1 << 20)
    assert all(map(on_the_card, (model.unet, model.vae, model.image_encoder)))
    again = load_svd(checkpoint, dtype=torch.float32, device="cpu", place=managed)
    assert again.unet is model.unet
    again.unet.ready()
    assert len(memory.current_loaded_models) == 3

    check_loras(model)
    ready_together([model.unet, model.vae, model.image_encoder])

    parts = [weakref.ref(part) for part in (model.unet.patcher, model.unet.module, model.vae.module)]
    del model, again
    gc.collect()
    assert [part() for part in parts] == [None, None, None], "somebody keeps the weights"
    memory.cleanup_models_gc()
    memory.cleanup_models()
    assert memory.current_loaded_models == []
    other = load_svd(checkpoint, dtype=torch.float32, device="cpu", place=managed)
    other.vae.ready()

    assert not [line for line in said if "leak" in line or "zoetrope" in line.lower()], said


main()
sys.stdout.write("all is well")
