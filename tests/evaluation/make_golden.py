"""Writes tests/golden/evaluation_others.json: what other people's programs measure of the clips in measured.py.

python tests/evaluation/make_golden.py    # needs torchmetrics, scikit-image, scipy, lpips and torchvision
"""

import json
from pathlib import Path
from typing import Any

import lpips
import numpy as np
import scipy.linalg
import skimage.color
import skimage.metrics
import torch
from measured import linear_weights, trunk_weights, two_clips, two_sets
from scipy import stats
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

GOLDEN = Path(__file__).parents[1] / "golden" / "evaluation_others.json"


def of_skimage(clip: Any, truth: Any) -> dict[str, list[float]]:
    ssim = [
        skimage.metrics.structural_similarity(
            *(each.astype(np.float64) for each in pair),
            data_range=1,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for pair in zip(clip, truth, strict=True)
    ]
    psnr = [
        skimage.metrics.peak_signal_noise_ratio(one, other, data_range=1)
        for one, other in zip(truth, clip, strict=True)
    ]
    lab = [skimage.color.rgb2lab(frame.astype(np.float64)).mean((0, 1)).tolist() for frame in clip]
    return {"ssim": [float(each) for each in ssim], "psnr": [float(each) for each in psnr], "lab": lab}


def of_torchmetrics(clip: Any, truth: Any) -> dict[str, list[float]]:
    one, other = (torch.from_numpy(each).permute(0, 3, 1, 2).double() for each in (clip, truth))
    psnr = [float(peak_signal_noise_ratio(a, b, data_range=1.0)) for a, b in zip(one, other, strict=True)]
    _, places = structural_similarity_index_measure(
        one, other, data_range=1.0, reduction="none", return_full_image=True
    )
    # torchmetrics also looks through windows that reach beyond the border, where it mirrors the picture.
    ssim = places[..., 5:-5, 5:-5].mean((1, 2, 3))
    return {"psnr": psnr, "ssim": ssim.tolist()}


def of_lpips(clip: Any, truth: Any, trunk: str) -> list[float]:
    network = lpips.LPIPS(net=trunk, pretrained=False, pnet_rand=True, verbose=False).eval()
    slices = [getattr(network.net, f"slice{number}") for number in range(1, 6)]
    with torch.no_grad():
        for name, values in trunk_weights(trunk).items():
            _, index, kind = name.split(".")
            (layer,) = [each._modules[index] for each in slices if index in each._modules]
            getattr(layer, kind).copy_(torch.from_numpy(values))
        for name, values in linear_weights(trunk).items():
            network.get_parameter(name).copy_(torch.from_numpy(values))
        one, other = (torch.from_numpy(each).permute(0, 3, 1, 2) * 2 - 1 for each in (clip, truth))
        return [float(each) for each in network(one, other).flatten()]


def of_sets(one: Any, other: Any) -> dict[str, float]:
    covariances = [np.cov(each, rowvar=False) for each in (one, other)]
    means = [each.mean(0) for each in (one, other)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    scipys = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    tensors = [torch.from_numpy(each) for each in (*means, *covariances)]
    torchmetrics = _compute_fid(tensors[0], tensors[2], tensors[1], tensors[3])
    kid = poly_mmd(torch.from_numpy(one[: len(other)]), torch.from_numpy(other), 3, None, 1.0)
    return {"frechet_scipy": float(scipys), "frechet_torchmetrics": float(torchmetrics), "kernel": float(kid)}


def of_scipy() -> dict[str, Any]:
    values = np.random.default_rng(5).normal(0.3, 1, 40)
    interval = stats.bootstrap((values,), np.mean, n_resamples=50_000, method="percentile", rng=3).confidence_interval
    return {"interval": [float(interval.low), float(interval.high)], "ranks": stats.rankdata([3, 1, 3, 2]).tolist()}


def main() -> None:
    clip, truth = two_clips()
    found = {
        "skimage": of_skimage(clip, truth),
        "torchmetrics": of_torchmetrics(clip, truth),
        "lpips": {trunk: of_lpips(clip, truth, trunk) for trunk in ("alex", "vgg")},
        "sets": of_sets(*two_sets()),
        "scipy": of_scipy(),
    }
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
