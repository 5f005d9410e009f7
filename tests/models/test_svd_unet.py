import pytest
import torch
from torch.testing import assert_close

from zoetrope.models.svd import load_svd

from ..random_checkpoints import golden_io


@pytest.mark.parametrize("kind", ["svd", "svd_deep", "sv3d_u", "sv3d_p"])
def test_the_unet_says_what_the_reference_says(kind, tiny_checkpoint):
    io = golden_io(kind)
    unet = load_svd(tiny_checkpoint(kind), dtype=torch.float32, device="cpu").unet.module
    frames = len(io["unet_x"])
    picture = io["cond_latent"].expand(frames, -1, -1, -1)

    for given, context, said in (
        (picture, io["clip_embed"], io["unet_out_cond"]),
        (picture * 0, io["clip_embed"] * 0, io["unet_out_uncond"]),
    ):
        x = torch.cat([io["unet_x"], given], dim=1)
        out = unet(x[None], io["unet_c_noise"], context[None], io["vector"][None])

        assert_close(out[0], said, atol=2e-5, rtol=0)
