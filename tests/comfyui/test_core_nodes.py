"""The core nodes' equivalents make here exactly what ComfyUI 0.33 makes of the same prompt."""

from typing import Any

import pytest

from zoetrope.headless import run_workflow

from .comparing import assert_equal_results

REENCODED = {"format": "mkv", "format.codec": "h264", "format.codec.encoding": "re-encode"}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def save(video: list[Any], prefix: str, **options: Any) -> dict[str, Any]:
    return node(
        "SaveVideo", video=video, filename_prefix=prefix, **(options or {"format": "auto", "format.codec": "auto"})
    )


def picture(name: str) -> dict[str, Any]:
    return {
        "1": node("LoadImage", image=name),
        "2": node("SaveImage", images=["1", 0], filename_prefix="loaded/%width%x%height%"),
        "3": node("LoadImageMask", image=name, channel="green"),
        "4": node("PreviewImage", images=["1", 0]),
        "5": node("PreviewAny", source=7),
    }


def components(name: str) -> dict[str, Any]:
    """Take a clip apart, put it together again, and save frames of it in every way."""
    return {
        "1": node("LoadVideo", file=name),
        "2": node("GetVideoComponents", video=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix="frames/a"),
        "4": node("PreviewAny", source=["2", 2]),
        "5": node("PreviewAny", source=["2", 3]),
        "6": node("PreviewAny", source=["2", 4]),
        "7": node("SaveAnimatedWEBP", images=["2", 0], filename_prefix="a", fps=8, lossless=False, quality=80,
                  method="default"),
        "8": node("SaveAnimatedPNG", images=["2", 0], filename_prefix="p", fps=8, compress_level=4),
        "9": node("ImageFromBatch", image=["2", 0], batch_index=-3, length=2),
        "10": node("RepeatImageBatch", image=["9", 0], amount=2),
        "11": node("SaveImage", images=["10", 0], filename_prefix="few"),
        "12": node("CreateVideo", images=["2", 0], fps=["2", 2], audio=["2", 1], bit_depth=8),
        "13": save(["12", 0], "made"),
        "14": save(["12", 0], "hdr", **REENCODED, **{
            "format.codec.encoding.crf": 20.0, "format.codec.encoding.color_space": "HDR"}),
        "15": save(["12", 0], "web", **{"format": "webm", "format.codec": "av1"}),
        "16": node("CreateVideo", images=["2", 0], fps=["2", 2], audio=["2", 1], bit_depth=10),
        "17": save(["16", 0], "ten", **{"format": "mp4", "format.codec": "h264"}),
        "18": node("Video Slice", video=["12", 0], start_time=0.2, duration=0.5, strict_duration=True),
        "19": save(["18", 0], "slice"),
    }  # fmt: skip


def frames(name: str) -> dict[str, Any]:
    return {
        "1": node("LoadVideo", file=name),
        "2": node("GetVideoComponents", video=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix="frames/a"),
        "4": save(["1", 0], "copy"),
    }


def files(name: str) -> dict[str, Any]:
    """Save a file as it is, encoded anew, and spans of it from the start and from the end."""
    return {
        "1": node("LoadVideo", file=name),
        "2": save(["1", 0], "copy"),
        "3": save(["1", 0], "anew", **REENCODED, **{
            "format.codec.encoding.crf": 30.0, "format.codec.encoding.color_space": "auto"}),
        "4": node("Video Slice", video=["1", 0], start_time=0.35, duration=0.8, strict_duration=False),
        "5": save(["4", 0], "cut"),
        "6": node("GetVideoComponents", video=["4", 0]),
        "7": node("SaveImage", images=["6", 0], filename_prefix="cut"),
        "8": node("Video Slice", video=["1", 0], start_time=-0.7, duration=0, strict_duration=False),
        "9": node("GetVideoComponents", video=["8", 0]),
        "10": node("SaveImage", images=["9", 0], filename_prefix="tail"),
    }  # fmt: skip


def sounds(name: str) -> dict[str, Any]:
    return {
        "1": node("LoadVideo", file=name),
        "2": node("Video Slice", video=["1", 0], start_time=0.3, duration=0.5, strict_duration=False),
        "3": node("GetVideoComponents", video=["2", 0]),
        "4": node("SaveAudio", audio=["3", 1], filename_prefix="span"),
        "5": node("LoadAudio", audio=name),
        "6": node("SaveAudio", audio=["5", 0], filename_prefix="whole"),
        "7": node("LoadAudio", audio="tone.wav"),
        "8": node("PreviewAudio", audio=["7", 0]),
    }


VALUES = {
    "1": node("PrimitiveInt", value=3),
    "2": node("PreviewAny", source=["1", 0]),
    "3": node("PrimitiveFloat", value=3),
    "4": node("PreviewAny", source=["3", 0]),
    "5": node("PrimitiveString", value="two\nlines"),
    "6": node("PreviewAny", source=["5", 0]),
    "7": node("PrimitiveBoolean", value=True),
    "8": node("PreviewAny", source=["7", 0]),
    "9": node("PrimitiveStringMultiline", value="ü"),
    "10": node("PreviewAny", source=["9", 0]),
}

PICTURES = (
    "transparent.png", "grey.png", "palette.png", "still.webp", "turned.jpg", "deep.png", "moving.webp", "moving.gif",
)  # fmt: skip
CLIPS = ("clip.mp4", "deep.mkv", "web.webm", "silent.mp4")
PROMPTS = (
    {f"picture {name}": picture(name) for name in PICTURES}
    | {f"components of {name}": components(name) for name in CLIPS}
    | {f"file {name}": files(name) for name in CLIPS}
    | {f"sound of {name}": sounds(name) for name in CLIPS if name != "silent.mp4"}
    | {"frames of odd.mp4": frames("odd.mp4"), "values": VALUES}
)


@pytest.mark.parametrize("what", PROMPTS)
def test_a_prompt_gives_here_what_it_gives_in_comfyui(what, comfyui_033, tmp_path):
    prompt = {id: {**entry, "_meta": {"title": f"{what} {id}"}} for id, entry in PROMPTS[what].items()}
    for entry in prompt.values():  # numbers go on from what earlier prompts wrote, so each has a folder of its own
        if "filename_prefix" in entry["inputs"]:
            entry["inputs"]["filename_prefix"] = f"{what.replace(' ', '_')}/{entry['inputs']['filename_prefix']}"

    there = comfyui_033.run(prompt)
    here = run_workflow(prompt, input=comfyui_033.base / "input", output=tmp_path / "output", temp=tmp_path / "temp")

    assert_equal_results(comfyui_033, there, here, tmp_path)
