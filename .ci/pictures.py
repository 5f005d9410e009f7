"""Make the pictures that the README, the pages in web/docs and ComfyUI's template browser show, from real runs.

    python .ci/pictures.py

Each shipped workflow runs as it is, and its own files become its thumbnail; those that make clips do it with the small
models that ship. It takes minutes, for one of them trains a LoRA. Run it again when a workflow or a model changes.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageSequence

from zoetrope.headless.runner import run_workflow
from zoetrope.media.pictures import as_images, to_bytes
from zoetrope.media.reading import load_frames, probe
from zoetrope.media.resizing import ResizeOptions, resize
from zoetrope.media.watermark import bits_of_text, embed
from zoetrope.pipelines.camera import Keyframe, keyframes
from zoetrope.pipelines.camera_picture import picture_of
from zoetrope.toyworld.demo import run_demo, write_demo
from zoetrope.toyworld.scenes import draw
from zoetrope.toyworld.shapes import ShapesOptions

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS, DOCS = ROOT / "workflows", ROOT / "web" / "docs"
SIZE = (768, 432)
STILL = {"seconds": 0.2, "frames_per_second": 5.0}  # a clip of one frame, as the workflows have it
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
        (marked,) = made["watermark"]
        save(beside_its_mark(video(marked)[12]), "watermark")
        for name in ("evaluate_against_truth", "compare_three_clips", "evaluate_before_and_after"):
            save(top_of(next(path for path in made[name] if path.suffix == ".png")), name)
        sharp = toy_picture(512, 288, 3)
        save(grid([sharp, sharp.resize((64, 36), Image.Resampling.BOX).resize(sharp.size)], 2), "clip_similarity")
        save_clips(made)
        shutil.copyfile(gif, DOCS / "video_to_gif.gif")
        save(fits(video(clip)[20]), "resize_frames", DOCS)
        save_demo(Path(folder))


def save_clips(made: dict[str, list[Path]]) -> None:
    """The thumbnails of workflows that make clips of pictures: frames of their videos."""

    def frames(name: str, *numbers: int, clip: int = 0) -> list[Image.Image]:
        every = video([path for path in made[name] if path.suffix == ".mp4"][clip])
        return [Image.fromarray(every[number]) for number in numbers]

    save(grid(frames("image_to_video", 0, 2, 5, 8, 11, 13), 3), "image_to_video")
    rows = [frames("images_to_videos", 0, 3, 6, 10, 13, clip=clip) for clip in range(3)]
    save(grid([frame for row in rows for frame in row], 5), "images_to_videos")
    save(grid(frames("long_video", *range(0, 36, 4)), 3), "long_video")
    save(grid(frames("object_orbit", *range(21)), 7), "object_orbit")
    keys = [Keyframe(1, 0, 0), Keyframe(11, 45, 180), Keyframe(21, 0, 360)]
    views = grid(frames("object_camera_path", *range(0, 21, 2), 20), 3, size=(432, 432))
    save(side_by_side(Image.fromarray(picture_of(keyframes(keys))), views), "object_camera_path")
    (sheet,) = [path for path in made["lora_before_and_after"] if path.suffix == ".png"]
    with Image.open(sheet) as picture:
        save(grid([picture], 1), "lora_before_and_after")
    save(grid(frames("train_svd_lora", 0, 6, 13), 1), "train_svd_lora")


def save_demo(folder: Path) -> None:
    """The GIF on top of the README, as `zoetrope demo` makes it."""
    (folder / "demo").mkdir()
    write_demo(folder / "demo", run_demo())
    shutil.copyfile(folder / "demo" / "side_by_side.gif", DOCS / "before_and_after.gif")


def toy_picture(width: int, height: int, seed: int) -> Image.Image:
    options = ShapesOptions(**STILL, width=width, height=height, seed=seed)
    return Image.fromarray(next(to_bytes(draw(options).images)))


def side_by_side(*pictures: Image.Image) -> Image.Image:
    height = SIZE[1] - 40
    fitted = [picture.resize((round(picture.width * height / picture.height), height), 1) for picture in pictures]
    gap = (SIZE[0] - sum(picture.width for picture in fitted)) // (len(fitted) + 1)
    sheet, left = Image.new("RGB", SIZE, PAPER), gap
    for picture in fitted:
        sheet.paste(picture, (left, 20))
        left += picture.width + gap
    return sheet


def top_of(path: Path) -> Image.Image:
    """The upper part of a report's picture, as wide as a thumbnail."""
    with Image.open(path) as picture:
        drawn = picture.convert("RGB").resize((SIZE[0], round(picture.height * SIZE[0] / picture.width)), 1)
    sheet = Image.new("RGB", SIZE, "white")
    sheet.paste(drawn.crop((0, 0, SIZE[0], min(SIZE[1], drawn.height))))
    return sheet


def beside_its_mark(frame: Pixels) -> Image.Image:
    """A frame, and what the watermark changes in it, thirty times as strong."""
    clip = as_images(frame)
    change = embed(clip, bits_of_text("made by AI")) - clip
    shown = Image.fromarray(next(to_bytes((0.5 + 30 * change).clamp(0, 1))))
    return grid([Image.fromarray(frame), shown], 2)


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


def grid(pictures: list[Image.Image], columns: int, gap: int = 10, size: tuple[int, int] = SIZE) -> Image.Image:
    """Pictures side by side and below each other, as large as they can be in the middle of a thumbnail.

    Small ones are enlarged by a whole number, so that their pixels stay what they are.
    """
    rows = -(-len(pictures) // columns)
    width, height = pictures[0].size
    scale = min((size[0] - gap * (columns + 1)) / columns / width, (size[1] - gap * (rows + 1)) / rows / height)
    tiny = max(width, height) <= 64
    how = Image.Resampling.NEAREST if tiny else Image.Resampling.LANCZOS
    scale = int(scale) if tiny else scale
    width, height = round(width * scale), round(height * scale)
    left = (size[0] - columns * width - (columns - 1) * gap) // 2
    top = (size[1] - rows * height - (rows - 1) * gap) // 2
    sheet = Image.new("RGB", size, PAPER)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        small = picture.convert("RGB").resize((width, height), how)
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
