"""The demo's page: what was made, how it compares with the truth, and what to do next. It needs nothing beside it."""

from __future__ import annotations

import base64
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .demo import Demo

STYLE = """
:root { color-scheme: light dark; --ink: #202226; --faint: #62666e; --line: #d8dade; --paper: #fafaf8;
  --code: #eeeeea; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4de; --faint: #9a9ea8; --line: #3a3c44; --paper: #17181c; --code: #26282e; } }
body { font: 17px/1.6 system-ui, sans-serif; max-width: 56rem; margin: 3rem auto; padding: 0 1.25rem;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 2rem; line-height: 1.2; margin-bottom: .5rem; } h2 { font-size: 1.3rem; margin: 2.75rem 0 .75rem; }
p { max-width: 42rem; } .lead { font-size: 1.15rem; } .note { color: var(--faint); font-size: .95rem; }
img { display: block; max-width: 100%; height: auto; border-radius: 6px; margin: 1.25rem 0; }
table { border-collapse: collapse; width: 100%; } .scroll { overflow-x: auto; }
th, td { padding: .45rem .9rem .45rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } tbody th { font-weight: 400; color: var(--faint); } td { font-variant-numeric: tabular-nums; }
code { background: var(--code); padding: .15rem .4rem; border-radius: 4px; font-size: .9em; overflow-wrap: anywhere; }
li { margin: .5rem 0; max-width: 42rem; }
"""


def report_of(demo: Demo, gif: Path, phases: Path) -> str:
    """The page as HTML, with these pictures in it."""
    truth, *found = demo.sentences()
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>A moon before and after a LoRA</title><style>{STYLE}</style></head><body>",
            "<h1>A moon before and after a LoRA</h1>",
            f'<p class="lead">{escape(truth)} Two clips were made of its first frame: one by a small video model, and '
            "one by the same model with a LoRA on it, which was trained on clips of other moons that wane.</p>",
            _picture(gif, "image/gif", "Three clips side by side: the truth, before and after"),
            *(f"<p>{escape(sentence)}</p>" for sentence in found),
            "<h2>In numbers</h2>",
            _numbers(demo),
            '<p class="note">The lit fraction is how much of the moon\'s disc is lit, measured from the pixels of each '
            "frame; the truth is known, because the moon was drawn by code. PSNR says how near two clips are to each "
            "other, pixel by pixel: more is nearer.</p>",
            "<h2>Frame by frame</h2>",
            _picture(phases, "image/png", "Curves of the lit fraction by frame, and the frames below"),
            "<h2>How it was made</h2>",
            _settings(demo),
            "<h2>What to do next</h2>",
            NEXT,
            '<p class="note">The models are small ones of a world that code draws, so that all of this runs on any '
            "computer. What they show is how the method works; the numbers say nothing of the full-size checkpoints."
            "</p>",
            "</body></html>\n",
        ]
    )


NEXT = """<ul>
<li>Another moon: <code>zoetrope demo --moon 7</code></li>
<li>The same numbers over a hundred moons: <code>zoetrope toyworld measure svd-moon-lora</code></li>
<li>Train the LoRA yourself, from the same footage: <code>zoetrope toyworld train svd-moon-lora</code></li>
<li>In ComfyUI, open the template <b>lora_before_and_after</b> and press Run: the same as a graph, in which any picture
and any checkpoint can be put.</li>
<li>With the full-size model: the README tells where its checkpoints come from, and
<code>zoetrope svd picture.jpg --model svd_xt.safetensors --out clips</code> makes a clip of a picture of yours.</li>
</ul>"""


def _picture(path: Path, kind: str, words: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(words)}" src="data:{kind};base64,{data}">'


def _numbers(demo: Demo) -> str:
    before, after = demo.before.phases, demo.after.phases
    rows = [
        ("error of the lit fraction, median", f"{before.error:.3f}", f"{after.error:.3f}", "0"),
        ("its correlation with the truth", _number(before.correlation), _number(after.correlation), "1"),
        ("PSNR", f"{before.psnr:.1f} dB", f"{after.psnr:.1f} dB", ""),
        ("PSNR of the first frame, held still", f"{before.still_psnr:.1f} dB", f"{after.still_psnr:.1f} dB", ""),
    ]
    head = "".join(f"<th>{word}</th>" for word in ("", "before", "after", "at best"))
    lines = (f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for name, *cells in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _number(value: float) -> str:
    return "none: it does not change" if value != value else f"{value:.3f}"


def _settings(demo: Demo) -> str:
    images, sampling, options = demo.moon.images, demo.sampling, demo.options
    rows = {
        "model": options.model,
        "LoRA": options.lora,
        "the moon": f"{demo.moon.caption}; held-out moon {options.moon}, seed {options.moon_seed}",
        "clips": f"{len(images)} frames of {images.shape[2]} x {images.shape[1]} at {sampling.fps_id + 1:g} a second",
        "steps": sampling.steps,
        "seed of the noise": sampling.seed,
        "guidance": _guidance(demo),
        "motion bucket": f"{sampling.motion_bucket_id:g}",
        "made on": f"{options.device}, in {demo.before.seconds:.0f} and {demo.after.seconds:.0f} seconds",
        "by": f"Zoetrope {_version()}",
    }
    lines = (f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    return f'<div class="scroll"><table><tbody>{"".join(lines)}</tbody></table></div>'


def _guidance(demo: Demo) -> str:
    low, high = demo.sampling.min_guidance, demo.sampling.max_guidance
    if low == high:
        return "none" if high == 1 else f"{high:g}"
    return f"{low:g} to {high:g}, from the first frame to the last"


def _version() -> str:
    try:
        return version("comfyui-zoetrope")
    except PackageNotFoundError:  # in custom_nodes, not installed by pip
        return ""
