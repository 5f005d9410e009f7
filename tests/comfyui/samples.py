"""Pictures, clips and sounds of many kinds, made anew for each session."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

SOUND_RATE = 48000


def make_samples(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0)
    _make_pictures(folder, noise)
    _make_clip(folder / "clip.mp4", noise, (128, 80), 30, Fraction(10), "libx264", "yuv420p")
    _make_clip(folder / "deep.mkv", noise, (64, 48), 24, Fraction(24000, 1001), "libx264", "yuv420p10le")
    _make_clip(folder / "web.webm", noise, (64, 64), 12, Fraction(12), "libvpx-vp9", "yuv420p")
    _make_clip(folder / "silent.mp4", noise, (64, 64), 10, Fraction(5), "libx264", "yuv420p", sound=False)
    _make_clip(folder / "odd.mp4", noise, (100, 60), 8, Fraction(8), "libx264", "yuv420p")
    _make_sound(folder / "tone.wav", noise)


def _make_pictures(folder: Path, noise: np.random.Generator) -> None:
    picture = Image.fromarray(noise.integers(0, 255, (37, 51, 4), dtype=np.uint8))
    picture.save(folder / "transparent.png")
    picture.convert("L").save(folder / "grey.png")
    picture.convert("P").save(folder / "palette.png")
    picture.convert("RGB").save(folder / "still.webp", quality=80)
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.convert("RGB").save(folder / "turned.jpg", exif=turned)
    Image.fromarray(noise.integers(0, 65535, (20, 30), dtype=np.uint16)).save(folder / "deep.png")
    frames = [Image.fromarray(noise.integers(0, 255, (24, 32, 3), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])


def _make_clip(
    path: Path,
    noise: np.random.Generator,
    size: tuple[int, int],
    frames: int,
    rate: Fraction,
    encoder: str,
    pixels: str,
    sound: bool = True,
) -> None:
    width, height = size
    rough = Image.fromarray(noise.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8))
    ground = np.asarray(rough.resize(size, Image.Resampling.BICUBIC))
    with av.open(str(path), "w") as output:
        picture = output.add_stream(encoder, rate=rate)
        picture.width, picture.height, picture.pix_fmt = width, height, pixels
        codec = "libopus" if path.suffix == ".webm" else "aac"
        voice = output.add_stream(codec, rate=SOUND_RATE, layout="stereo") if sound else None
        for index in range(frames):
            moved = np.ascontiguousarray(np.roll(ground, index * 3, axis=1))
            output.mux(picture.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        output.mux(picture.encode(None))
        if voice is not None:
            times = np.arange(int(SOUND_RATE * frames / rate)) / SOUND_RATE
            wave = np.stack([np.sin(2 * np.pi * tone * times) for tone in (440, 220)]).astype(np.float32) / 2
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = SOUND_RATE, 0
            output.mux(voice.encode(frame))
            output.mux(voice.encode(None))


def _make_sound(path: Path, noise: np.random.Generator) -> None:
    samples = (noise.normal(size=(1, 2 * 11025)) * 3000).astype(np.int16)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=22050, layout="stereo")
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 22050, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
