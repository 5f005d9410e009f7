"""Run by test_lora.py inside ComfyUI's own code: a LoRA of ours, put on by ComfyUI's loader and by us.

    python lora_in_comfyui.py COMFYUI CHECKPOINT LORA STRENGTH MERGED --cpu

Loads a checkpoint as ComfyUI does, puts the LoRA on as its LoraLoaderModelOnly does, and compares the weights that come
of it with those in MERGED, a checkpoint into which we merged the same LoRA. Prints what it found as JSON.
"""

import json
import logging
import sys

comfyui, checkpoint, lora_file, strength, merged_file, *arguments = sys.argv[1:]
sys.argv[1:] = arguments
sys.path.insert(0, comfyui)

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402

said: list[str] = []


class Listener(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        said.append(record.getMessage())


logging.getLogger().addHandler(Listener())


@torch.inference_mode()
def main() -> dict[str, object]:
    model = comfy.sd.load_checkpoint_guess_config(checkpoint, output_vae=False, output_clip=False)[0]
    lora = comfy.utils.load_torch_file(lora_file, safe_load=True)
    with_lora, _ = comfy.sd.load_lora_for_models(model, None, lora, float(strength), 0)
    compared = {key: changed(with_lora, key) for key in with_lora.patches}
    return {
        "model": type(model.model).__name__,
        "in_lora": len({key.rpartition(".lora_")[0] for key in lora if ".lora_" in key}),
        "applied": len(compared),
        "complaints": [line for line in said if "not loaded" in line.lower() or "ERROR" in line],
        "weight": max(weight for weight, _, _ in compared.values()),
        "change": max(change for _, change, _ in compared.values()),
        "smallest_change": min(size for _, _, size in compared.values()),
        "temporal": sum(".time_stack." in key for key in compared),
    }


def changed(patcher, key: str) -> tuple[float, float, float]:
    """How far ComfyUI's weight is from ours, as a share of the weight and of the change; and the change's share."""
    before = comfy.utils.get_attr(patcher.model, key).detach().float()
    theirs = patcher.patch_weight_to_device(key, return_weight=True)
    theirs = comfy.utils.get_attr(patcher.model, key) if theirs is None else theirs
    with safe_open(merged_file, "pt") as file:
        ours = file.get_tensor("model." + key).float()
    theirs = theirs.detach().float()
    difference, change = (theirs - ours).norm(), (ours - before).norm()
    return tuple(float(each) for each in (difference / ours.norm(), difference / change, change / before.norm()))


sys.stdout.write(json.dumps(main()))
