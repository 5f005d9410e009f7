"""Inputs that the nodes which sample clips have in common; their names are those of SamplingOptions."""

from __future__ import annotations

from typing import Any

from ..diffusion.guidance import SCALES
from ..diffusion.samplers import SAMPLERS
from ..host import folders, io
from ..host.weights import Weights, managed
from ..models.svd import SVDModel
from ..models.tiny_decoder import load_tiny_decoder
from ..pipelines.sampling import SamplingOptions

MOST_FRAMES = 1024
MOST_STEPS = 1000
LARGEST_SEED = 2**63 - 1
OWN = "the model's own"


def steps_input(default: SamplingOptions, own: str) -> io.Int.Input:
    return io.Int.Input(
        "steps",
        default=default.steps,
        min=0,
        max=MOST_STEPS,
        tooltip=f"How often noise is taken away. {own} Fewer are faster and rougher.",
    )


def cond_aug_input(default: SamplingOptions) -> io.Float.Input:
    return io.Float.Input(
        "cond_aug",
        default=default.cond_aug,
        min=0.0,
        max=10.0,
        step=1e-5,
        tooltip="How much noise is added to the picture before the model sees it. More lets the clip depart further "
        "from it, which helps at sizes that the model was not trained on.",
    )


def seed_input(default: SamplingOptions) -> io.Int.Input:
    return io.Int.Input(
        "seed",
        default=default.seed,
        min=0,
        max=LARGEST_SEED,
        control_after_generate=True,
        tooltip="Another number is another clip of the same picture. The same one is the same clip on every device.",
    )


def guidance_input(default: SamplingOptions, lowest: float, highest: float) -> io.DynamicCombo.Input:
    def scale(name: str, value: float, tooltip: str) -> io.Float.Input:
        return io.Float.Input(name, default=value, min=0.0, max=100.0, step=0.1, tooltip=tooltip)

    def both(what_is_low: str, what_is_high: str) -> list[Any]:
        return [
            scale("min_guidance", lowest, f"{what_is_low} 1 is the model left to itself."),
            scale("max_guidance", highest, what_is_high),
        ]

    kinds = {
        "linear": both("The first frame's.", "The last frame's. More keeps to the picture, and burns colours."),
        "triangle": both("That of the first and last frames.", "That of the frame in the middle."),
        "constant": [scale("max_guidance", highest, "That of all frames. 1 is the model left to itself.")],
    }
    return io.DynamicCombo.Input(
        "guidance",
        options=[io.DynamicCombo.Option(OWN, []), *(io.DynamicCombo.Option(*each) for each in kinds.items())],
        tooltip=f"How strongly each frame is held to the picture: as the model's version does it ({default.guidance}), "
        "evenly from the first frame to the last, up to the middle and down again, or all frames alike.",
    )


def guidance_of(choice: dict[str, Any] | None) -> dict[str, Any]:
    """The options that the choice of guidance sets."""
    settings = dict(choice or {})
    kind = settings.get("guidance")
    if kind == OWN:
        return {}
    if kind not in SCALES:  # ComfyUI passes on nothing where a prompt's key is unknown to it
        raise ValueError(f"guidance is not set to one of its options. Choose one of: {OWN}, {', '.join(SCALES)}.")
    return settings


def decoding_input(default: SamplingOptions) -> io.Int.Input:
    return io.Int.Input(
        "decoding_t",
        default=default.decoding_t,
        min=1,
        max=MOST_FRAMES,
        tooltip="So many frames are decoded at a time. Fewer take less memory; with the temporal decoder they also "
        "make a seam between every two groups, as the reference has it. Halved where memory runs out.",
    )


def seams_input(default: SamplingOptions) -> io.Boolean.Input:
    return io.Boolean.Input(
        "seams",
        default=default.seams,
        optional=True,
        advanced=True,
        tooltip="On: groups of decoding_t frames are decoded each for itself, as the reference does it. Off: the clip "
        "is decoded as one, without seams. Decoders that look at one frame at a time have none either way.",
    )


def advanced_inputs(default: SamplingOptions) -> list[Any]:
    def share(name: str, tooltip: str) -> io.Float.Input:
        value = getattr(default, name)
        return io.Float.Input(
            name, default=value, min=0.0, max=1.0, step=0.01, optional=True, advanced=True, tooltip=tooltip
        )

    return [
        io.Combo.Input(
            "sampler",
            options=list(SAMPLERS),
            default=default.sampler,
            optional=True,
            advanced=True,
            tooltip="euler is the reference's. dpm++2m gets along with fewer steps; heun is more exact and takes twice "
            "the time for each step.",
        ),
        share("guidance_start", "Guidance acts from this share of the steps on. Outside, a step takes half the time."),
        share("guidance_end", "Guidance acts up to this share of the steps. Less is faster and changes the clip."),
        io.Boolean.Input(
            "lean",
            default=default.lean,
            optional=True,
            advanced=True,
            tooltip="On: the network is computed in a way that takes less time and memory and gives the same up to "
            "rounding. Off: layer by layer as diffusers does it.",
        ),
        io.Int.Input(
            "cache_interval",
            default=default.cache_interval,
            min=1,
            max=20,
            optional=True,
            advanced=True,
            tooltip="1 computes every step in full. Above that, the deep layers are computed in every so many steps "
            "only: faster, and another clip.",
        ),
        io.Int.Input(
            "cache_branch",
            default=default.cache_branch,
            min=0,
            max=11,
            optional=True,
            advanced=True,
            tooltip="With a cache_interval above 1: how many layers are computed in each step beside the deep ones. 0 "
            "is the fewest, and the fastest.",
        ),
        io.Combo.Input(
            "decoder",
            options=[OWN, *folders.list_models("vae_approx")],
            default=OWN,
            optional=True,
            advanced=True,
            tooltip="What decodes the frames. taesd_decoder.safetensors in models/vae_approx takes a fraction of the "
            "time and memory, and blurs them a little: to look for a seed with.",
        ),
    ]


def tiny_decoder_of(name: str, model: SVDModel) -> Weights[Any] | None:
    """The decoder that a value names, None for the model's own."""
    if name == OWN:
        return None
    return load_tiny_decoder(folders.resolve_model("vae_approx", name), dtype=model.dtype, device="cpu", place=managed)


def clip_outputs() -> list[Any]:
    return [
        io.Image.Output(display_name="images", tooltip="The frames; of several pictures, one clip after another."),
        io.Int.Output(display_name="frames", tooltip="How many frames each clip has."),
        io.Int.Output(display_name="clips", tooltip="How many clips there are, one for each picture."),
    ]
