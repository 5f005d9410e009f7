"""Make the pictures that the README, the pages in web/docs and ComfyUI's template browser show, from real runs.

    python .ci/pictures.py

Each shipped workflow runs as it is, and its own files become its thumbnail. Run it again when a workflow changes.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageSequence

from zoetrope.headless.runner import run_workflow
from zoetrope.media.pictures import to_bytes
from zoetrope.media.reading import load_frames, probe
from zoetrope.media.resizing import ResizeOptions, resize

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS, DOCS = ROOT / "workflows", ROOT / "web" / "docs"
SIZE = (768, 432)
PAPER, INK = (30, 31, 36), (236, 236, 230)
Pixels = NDArray[np.uint8]  # (h w c)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = {
            path.stem: run_workflow(path, output=Path(folder) / path.stem).files for path in WORKFLOWS.glob("*.json")
        }
        gif, clip = made["video_to_gif"]
        save(grid([at(gif, share) for share in (0.1, 0.35, 0.6, 0.85)], 2), "video_to_gif")
        save(grid([Image.open(path) for path in made["video_to_frames_folder"][:9]], 3), "video_to_frames_folder")
        (square,) = made["video_to_frames_to_video"]
        save(grid([Image.fromarray(frame) for frame in video(square)[2::5][:6]], 3), "video_to_frames_to_video")
        save(grid([at(path, share) for share in (0.2, 0.7) for path in made["square_to_wide"]], 2), "square_to_wide")
        shutil.copyfile(gif, DOCS / "video_to_gif.gif")
        save(fits(video(clip)[20]), "resize_frames", DOCS)


def save(picture: Image.Image, name: str, folder: Path = WORKFLOWS) -> None:
    picture.convert("RGB").save(folder / f"{name}.jpg", quality=88, optimize=True)


def video(path: Path) -> list[Pixels]:
    facts = probe(path)
    return list(to_bytes(load_frames(path, range(facts.frames), facts)))


def at(path: Path, share: float) -> Image.Image:
    """The frame of a GIF at a share of its length."""
    with Image.open(path) as gif:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(gif)]
    return frames[int(share * len(frames))]


def grid(pictures: list[Image.Image], columns: int, gap: int = 10) -> Image.Image:
    """Pictures side by side and below each other, as large as they can be in the middle of a thumbnail."""
    rows = -(-len(pictures) // columns)
    width, height = pictures[0].size
    scale = min((SIZE[0] - gap * (columns + 1)) / columns / width, (SIZE[1] - gap * (rows + 1)) / rows / height)
    width, height = round(width * scale), round(height * scale)
    left = (SIZE[0] - columns * width - (columns - 1) * gap) // 2
    top = (SIZE[1] - rows * height - (rows - 1) * gap) // 2
    sheet = Image.new("RGB", SIZE, PAPER)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(small, (left + column * (width + gap), top + row * (height + gap)))
    return sheet


def fits(frame: Pixels) -> Image.Image:
    """What each way to fit makes of a wide picture that is to become square."""
    ways = {
        "stretch": ResizeOptions(width=180, height=180, fit="stretch"),
        "cover": ResizeOptions(width=180, height=180, fit="cover"),
        "pad, color": ResizeOptions(width=180, height=180, fit="pad", ground="#f4c95d"),
        "pad, blurred edges": ResizeOptions(width=180, height=180, fit="pad", ground="blur"),
    }
    sheet = Image.new("RGB", (len(ways) * 192 + 12, 222), PAPER)
    clip = torch.from_numpy(frame)[None] / 255
    for column, (name, options) in enumerate(ways.items()):
        left = 12 + column * 192
        sheet.paste(Image.fromarray(next(to_bytes(resize(clip, options)[0]))), (left, 12))
        ImageDraw.Draw(sheet).text((left + 90, 207), name, fill=INK, font=ImageFont.load_default(14), anchor="mm")
    return sheet


if __name__ == "__main__":
    main()
