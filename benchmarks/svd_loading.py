"""Loading video models of the full size: memory, time, and one evaluation of the UNet, on random weights.

    python benchmarks/svd_loading.py    # each kind, stored and loaded in float16
    python benchmarks/svd_loading.py --kinds sv3d_p --dtype float32

Writes one checkpoint after the other into a temporary folder (4.8 GB; --folder chooses the disk), and loads each in a
process of its own, whose peak of memory is read from Linux. The libraries that the models need are imported before.
"""

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
KINDS = ("svd_xt", "svd_image_decoder", "sv3d_u", "sv3d_p")
FRAMES, LATENT = 2, 8  # as small as shows that it runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        measure(arguments.measure, arguments.dtype)
        return
    print("| checkpoint | in memory | GB | peak / model | seconds to load | seconds for one UNet evaluation |")
    print("|---|---|---|---|---|---|", flush=True)
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            path = Path(folder) / f"{kind}.safetensors"
            subprocess.run([sys.executable, TESTS / "random_checkpoints.py", kind, path], check=True)
            subprocess.run([sys.executable, __file__, "--measure", path, "--dtype", arguments.dtype], check=True)


def measure(path: Path, dtype_name: str) -> None:
    import torch

    from zoetrope.models.svd import load_svd

    for heavy in (
        "diffusers.models.autoencoders",
        "transformers.models.clip.modeling_clip",
        "zoetrope.models.svd_unet",
    ):
        importlib.import_module(heavy)
    dtype = getattr(torch, dtype_name)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, begin = peak_bytes(), time.perf_counter()
    model = load_svd(path, dtype=dtype, device="cpu")
    loading = time.perf_counter() - begin
    peak = peak_bytes() - before
    size = sum(part.bytes for part in (model.unet, model.vae, model.image_encoder))

    unet = model.unet.module
    vector = torch.zeros(1, FRAMES, unet.config["projection_class_embeddings_input_dim"])
    x = torch.randn(1, FRAMES, unet.config["in_channels"], LATENT, LATENT, dtype=dtype)
    context = torch.randn(1, 1, unet.config["cross_attention_dim"], dtype=dtype)
    begin = time.perf_counter()
    with torch.inference_mode():
        result = unet(x, torch.tensor([0.5]), context, vector)
    evaluation = time.perf_counter() - begin
    assert bool(result.isfinite().all())
    print(
        f"| {path.stem} | {dtype_name} | {size / 1e9:.2f} | {peak / size:.3f} | {loading:.1f} | {evaluation:.1f} |",
        flush=True,
    )


def peak_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


if __name__ == "__main__":
    main()
