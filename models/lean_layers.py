"""The layers of SVD's networks, computed without the memory traffic that their modules spend on each other.

The modules and their weights stay diffusers'; only the order of the arithmetic is ours, so that results agree up to
rounding.

A clip is held with its channels last. Then what a convolution over pictures, one over time, a linear layer and
attention either way want to see are views of the same memory, where NCHW needs a copy at each turn. And everything in
these networks but the statistics of one normalization keeps either frames or pixels apart. So the work is done in
slices, of frames or of pixels, whose intermediate results stay in the processor's cache and never exist for the whole
clip.

Axes: f frames, p pixels, h height, w width, c channels, o output channels, d channels of an attention head.
A function whose name ends in _ changes its clip in place. None of them records gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeGuard, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lora_layers import LoraLayer

M = TypeVar("M", bound=nn.Module)

# Enough rows for a matrix product to run at full speed, and no more than leave its results in a core's cache.
LEAST_ROWS = 512
CACHE_BYTES = 4 * 2**20
# Convolutions rearrange their weights at each call and so want larger slices.
CONVOLUTION_BYTES = 16 * 2**20
# Other devices want few and large launches.
DEVICE_BYTES = 512 * 2**20
# The number of blocks that CUDA can launch along an axis, which attention spends on heads.
MOST_HEADS = 65535

# A kernel of three pixels sees but two different ones in a picture that was doubled in size by repeating its pixels. An
# even pixel's are the one before (by its first tap) and itself (by the others), an odd one's itself and the one after.
# Axes: parity, tap of two, tap of three.
TAPS_OF_DOUBLED = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))


def is_plain(module: nn.Module, kind: type[M]) -> TypeGuard[M]:
    """Whether calling the module is no more than its class's arithmetic, so that we may use its weights instead.

    peft puts modules of its own in the place of linear layers and convolutions; offloading and casting put hooks or a
    `forward` of their own into a module. Our own LoRA's layers are plain: their `weight` is the sum.
    """
    if "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks:
        return False
    return is_plain(module.base, kind) if type(module) is LoraLayer else type(module) is kind


def slices(length: int, at_once: int) -> Iterator[slice]:
    """Cut 0..length into the fewest slices of at most `at_once`, as equal as can be."""
    count = -(-length // max(1, at_once))
    for index in range(count):
        yield slice(index * length // count, (index + 1) * length // count)


def rows_at_once(like: Tensor, values: int) -> int:
    """For how many rows, each in need of room for so many values, to compute a linear layer at once."""
    budget = CACHE_BYTES if like.device.type == "cpu" else DEVICE_BYTES
    return max(LEAST_ROWS, budget // (values * like.element_size()))


def convolved_at_once(like: Tensor, values: int) -> int:
    """How many pictures or pixels, each in need of room for so many values, to convolve at once."""
    budget = CONVOLUTION_BYTES if like.device.type == "cpu" else DEVICE_BYTES
    return max(1, budget // (values * like.element_size()))


def as_rows(pictures: Tensor) -> Tensor:
    """(f c h w) with channels last -> a view (f p c)."""
    return pictures.permute(0, 2, 3, 1).flatten(1, 2)


def as_pictures(rows: Tensor, height: int, width: int) -> Tensor:
    """(f p c) -> a view (f c h w) with channels last."""
    return rows.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def channels_last(pictures: Tensor) -> Tensor:
    return pictures.contiguous(memory_format=torch.channels_last)


def new_pictures(like: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Memory for as many (f c h w) pictures as `like` has, with channels last."""
    return like.new_empty(like.shape[0], height, width, channels).permute(0, 3, 1, 2)


# Normalization


def affine_of_group_norm(norm: nn.GroupNorm, rows: Tensor) -> tuple[Tensor, Tensor]:
    """What GroupNorm does to each of f sets of rows (f p c): a scale and a shift (f 1 c), in float32 or better."""
    count, size, channels = rows.shape

    def averaged(total: Tensor) -> Tensor:
        """(f c) sums over rows -> (f 1 c) means over rows and a group's channels."""
        means = total.unflatten(1, (norm.num_groups, -1)).mean(2, keepdim=True) / size
        return means.expand(-1, -1, channels // norm.num_groups).reshape(count, 1, channels)

    # Plain sums, because torch.var_mean takes 20 times as long on a CPU where channels come last; and of squared
    # distances from the mean, because squares of the values themselves would cancel.
    mean = averaged(rows.sum(1, dtype=torch.promote_types(rows.dtype, torch.float32)))
    squares = torch.zeros_like(mean[:, 0])
    for some in slices(size, rows_at_once(rows, count * channels)):
        squares += (rows[:, some] - mean).square_().sum(1)
    scale = (averaged(squares) + norm.eps).rsqrt_()
    shift = -mean * scale
    return (scale * norm.weight, shift * norm.weight + norm.bias) if norm.affine else (scale, shift)


def normalized(norm: nn.Module, clip: Tensor, *, activated: bool, over_frames: bool = False) -> Callable[[Any], Tensor]:
    """GroupNorm (and SiLU) of a clip (f p c), as a function from an index into the clip to that part of the result.

    Each frame has statistics of its own, or the clip as a whole. Once they are known, a normalization is but a scale
    and a shift, and can be had for any part of the clip.
    """
    frames, pixels, _ = clip.shape
    sets = clip.reshape(1, frames * pixels, -1) if over_frames else clip
    if not is_plain(norm, nn.GroupNorm):
        whole = norm(sets.transpose(1, 2)).transpose(1, 2).reshape(clip.shape)
        return (F.silu(whole) if activated else whole).__getitem__
    scale, shift = affine_of_group_norm(norm, sets)

    def part(index: Any) -> Tensor:
        some = clip[index]
        # In half precision scale and shift would each lose what their sum needs, so they stay in float32.
        result = torch.addcmul(shift, some, scale)
        return (F.silu(result, inplace=True) if activated else result).to(some.dtype)

    return part


def normalized_pictures(norm: nn.Module, pictures: Tensor) -> Tensor:
    """GroupNorm and SiLU of (f c h w) with channels last, each picture with statistics of its own."""
    return as_pictures(normalized(norm, as_rows(pictures), activated=True)(...), *pictures.shape[2:])


# Convolution


def is_outweighed(values: int, conv: nn.Conv2d) -> bool:
    """Whether the convolved values are so few that what is done to the weights at each call takes most of the time."""
    return 4 * values < conv.weight.numel()


def convolution(module: nn.Module, pictures: Tensor, offset: Tensor | None = None) -> Tensor:
    """The module's convolution of (f c h w) pictures, plus an offset (1 o) or (f o) of its channels."""
    if not is_plain(module, nn.Conv2d):
        result = channels_last(module(pictures))
        return result if offset is None else result + offset[:, :, None, None]
    bias = module.bias
    if offset is not None and len(offset) == 1:
        # An offset that is equal in all frames is a bias.
        bias, offset = offset[0] if bias is None else bias + offset[0], None
    if pictures.device.type == "cpu" and is_outweighed(pictures.numel(), module):
        pictures = pictures.contiguous()  # with channels last, the weights would be copied to suit them
    result = channels_last(F.conv2d(pictures, module.weight, bias, module.stride, module.padding))
    return result if offset is None else result + offset[:, :, None, None]


def time_convolution(module: nn.Module, clip: Tensor, offset: Tensor | None = None) -> Tensor:
    """The module's (3, 1, 1) convolution over the frames of (f p c), plus an offset (1 o) or (f o) of its channels.

    With frames taken for rows and pixels for columns it is a convolution of one picture with a kernel of (3, 1), which
    CPUs compute three times as fast as the same in 3-D.
    """
    picture = clip[None].permute(0, 3, 1, 2)
    if not is_plain(module, nn.Conv3d):
        result = module(picture[..., None])[..., 0]
    else:
        bias = module.bias
        if offset is not None and len(offset) == 1:
            bias, offset = offset[0] if bias is None else bias + offset[0], None
        result = F.conv2d(picture, module.weight[..., 0], bias, padding=(1, 0))
    rows = result.permute(0, 2, 3, 1)[0]
    return rows if offset is None else rows + offset[:, None]


def halved(downsampler: Any, pictures: Tensor) -> Tensor:
    """diffusers' Downsample2D of (f c h w) pictures."""
    if downsampler.padding == 1 and downsampler.norm is None:
        return convolution(downsampler.conv, pictures)
    return channels_last(downsampler(pictures))


def doubled(upsampler: Any, pictures: Tensor, size: Sequence[int]) -> Tensor:
    """Repeat pixels until (f c h w) pictures have the size, then convolve them, as diffusers' Upsample2D.

    A kernel of 3 x 3 sees just 2 x 2 different pixels of a picture that was doubled in size by repeating them. So it is
    four kernels of 2 x 2, one for each parity of row and column, on the small picture: 4/9 of the multiplications.
    """
    frames, _, h, w = pictures.shape
    conv = upsampler.conv
    if tuple(size) != (2 * h, 2 * w) or not is_plain(conv, nn.Conv2d):
        return channels_last(upsampler(pictures, size))
    if is_outweighed(4 * pictures.numel(), conv):
        return convolution(conv, F.interpolate(pictures, list(size), mode="nearest"))
    weight = conv.weight.to(torch.promote_types(conv.weight.dtype, torch.float32))
    taps = torch.tensor(TAPS_OF_DOUBLED, dtype=weight.dtype, device=weight.device)
    kernels = torch.einsum("ray, sbx, ocyx -> rsocab", taps, taps, weight).to(conv.weight.dtype)
    result = new_pictures(pictures, conv.out_channels, 2 * h, 2 * w)
    for some in slices(frames, convolved_at_once(result, 2 * h * w * conv.out_channels)):
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            part = F.conv2d(pictures[some], kernels[row, column], conv.bias, padding=1)
            result[some, :, row::2, column::2] = part[:, :, row : row + h, column : column + w]
    return result


# Residual blocks


def spatial_residual(block: Any, parts: list[Tensor], offset: Tensor | None = None) -> Tensor:
    """diffusers' ResnetBlock2D on the pictures whose channels are those of all the parts, each (f c h w).

    The parts are joined, normalized and convolved some pictures at a time. Offset: (1 o) or (f o), the noise level's.
    """
    frames, _, h, w = parts[0].shape
    result = new_pictures(parts[0], block.out_channels, h, w)
    channels = max(block.out_channels, sum(part.shape[1] for part in parts))
    for some in slices(frames, convolved_at_once(result, 3 * h * w * channels)):
        inputs = torch.cat([part[some] for part in parts], dim=1) if len(parts) > 1 else parts[0][some]
        own_offset = offset if offset is None or len(offset) == 1 else offset[some]
        hidden = convolution(block.conv1, normalized_pictures(block.norm1, inputs), own_offset)
        hidden = convolution(block.conv2, normalized_pictures(block.norm2, hidden))
        shortcut = inputs if block.conv_shortcut is None else convolution(block.conv_shortcut, inputs)
        torch.add(shortcut, hidden, out=result[some])
    return result if block.output_scale_factor == 1 else result.div_(block.output_scale_factor)


def time_residual_(block: Any, clip: Tensor, share: float, offset: Tensor | None = None) -> None:
    """diffusers' TemporalResnetBlock and the blend after it, on a clip (f p c).

    The block gives clip + change, and the blend (1 - share) clip + share (clip + change) = clip + share change. So the
    blend is but a factor in the residual sum. Offset: (1 c) or (f c), the noise level's.
    """
    frames, pixels, channels = clip.shape
    cuts = list(slices(pixels, convolved_at_once(clip, 3 * frames * channels)))
    part = normalized(block.norm1, clip, activated=True, over_frames=True)
    if len(cuts) == 1:
        hidden = time_convolution(block.conv1, part(...), offset)
    else:
        hidden = torch.empty_like(clip)
        for some in cuts:
            hidden[:, some] = time_convolution(block.conv1, part((slice(None), some)), offset)
    part = normalized(block.norm2, hidden, activated=True, over_frames=True)
    for some in cuts:
        clip[:, some].add_(time_convolution(block.conv2, part((slice(None), some))), alpha=share)


def temporal_share(mixer: Any) -> float:
    """The weight that diffusers' AlphaBlender gives to what a temporal layer made of a clip."""
    factor = mixer.mix_factor.detach().double()
    spatial = factor if mixer.merge_strategy == "fixed" else factor.sigmoid()
    return (spatial if mixer.switch_spatial_to_temporal_mix else 1 - spatial).item()


# Transformer blocks


def linear(module: nn.Module, rows: Tensor, offset: Tensor | None = None) -> Tensor:
    """The module's product of (... c) rows, plus an offset (o)."""
    if offset is None:
        return module(rows)
    if is_plain(module, nn.Linear):
        return F.linear(rows, module.weight, offset if module.bias is None else module.bias + offset)
    return module(rows) + offset


def is_common_attention(attention: Any) -> bool:
    """Whether diffusers computes the attention by the textbook, with nothing added to keys, queries or the result."""
    return type(attention.processor).__name__ in ("AttnProcessor", "AttnProcessor2_0") and not any(
        getattr(attention, name, None) for name in ("spatial_norm", "norm_cross", "norm_q", "norm_k", "is_causal")
    )


def self_attention(attention: Any, rows: Tensor, offset: Tensor | None = None) -> Tensor:
    """Attention among the pixels of (f p c), separately for each frame; plus an offset (c) of the result."""
    if not is_common_attention(attention):
        return attention(rows) if offset is None else attention(rows) + offset
    heads = (attention.heads, -1)
    query, key, value = (
        project(rows).unflatten(-1, heads).transpose(1, 2)
        for project in (attention.to_q, attention.to_k, attention.to_v)
    )
    result = F.scaled_dot_product_attention(query, key, value, scale=attention.scale)
    return linear(attention.to_out[0], result.transpose(1, 2).flatten(2), offset)


def time_attention(attention: Any, clip: Tensor, offset: Tensor | None = None) -> Tensor:
    """Attention among the frames of (f p c), separately for each pixel; plus an offset (c) of the result.

    A head of one pixel knows as little of the heads of another pixel as of its own others, so the pixels are taken for
    further heads: a view, where pixels as a batch would be a copy.
    """
    if not is_common_attention(attention):
        result = attention(clip.transpose(0, 1)).transpose(0, 1)
        return result if offset is None else result + offset
    frames, pixels, _ = clip.shape
    query, key, value = (
        project(clip).reshape(1, frames, pixels * attention.heads, -1).transpose(1, 2)
        for project in (attention.to_q, attention.to_k, attention.to_v)
    )
    result = F.scaled_dot_product_attention(query, key, value, scale=attention.scale)
    return linear(attention.to_out[0], result.transpose(1, 2).reshape(frames, pixels, -1), offset)


def feed_forward(module: Any, rows: Tensor) -> Tensor:
    """diffusers' FeedForward of (... c) rows, without the copies of its gate."""
    gate, *rest = module.net
    if type(gate).__name__ == "GEGLU":
        values, gates = gate.proj(rows).chunk(2, dim=-1)
        rows = F.gelu(gates).mul_(values)
    else:
        rows = gate(rows)
    for layer in rest:
        rows = layer(rows)
    return rows


def add_feed_forward_(clip: Tensor, norm: nn.Module, module: Any) -> None:
    """Add the normalized feed-forward of (f p c), contiguous, some rows at a time: inside it is 8 times as wide."""
    rows = clip.view(-1, clip.shape[-1])
    for some in slices(len(rows), rows_at_once(rows, 12 * rows.shape[-1])):
        rows[some] += feed_forward(module, norm(rows[some]))
