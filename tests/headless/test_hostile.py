"""What strangers, broken downloads and slips of the pen hand to the pack: one clear sentence each, and no file left.

Every row goes through the whole `zoetrope run` command, as a user would meet it.
"""

import io
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from zoetrope.headless.command import main

Workflow = dict[str, Any]


EVERY_FRAME = {"choose": "every nth", "choose.every": 1}
WHOLE_CLIP = {"range": "whole clip"}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def saved(images: list[Any], **settings: Any) -> dict[str, Any]:
    inputs = {"images": images, "folder": "frames", "name": "frame_{n:05}", "format": "png"}
    return node("ZoetropeSaveFrames", **{**inputs, **settings})


def from_video(name: str, choose: dict[str, Any] = EVERY_FRAME, extent: dict[str, Any] = WHOLE_CLIP) -> Workflow:
    return {
        "1": node("LoadVideo", file=name),
        "2": node("ZoetropeExtractFrames", video=["1", 0], **choose, **extent),
        "3": saved(["2", 0]),
    }


def by_core_nodes(name: str) -> Workflow:
    return {
        "1": node("LoadVideo", file=name),
        "2": node("GetVideoComponents", video=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix="frame"),
    }


def copied(name: str) -> Workflow:
    settings = {"filename_prefix": "copy", "format": "auto", "format.codec": "auto"}
    return {"1": node("LoadVideo", file=name), "2": node("SaveVideo", video=["1", 0], **settings)}


def from_sound(name: str) -> Workflow:
    return {"1": node("LoadAudio", audio=name), "2": node("SaveAudio", audio=["1", 0], filename_prefix="sound")}


def from_file(name: str) -> Workflow:
    return {"2": node("ZoetropeExtractFrames", file=name, **EVERY_FRAME, **WHOLE_CLIP), "3": saved(["2", 0])}


def from_picture(name: str) -> Workflow:
    return {"1": node("LoadImage", image=name), "2": node("SaveImage", images=["1", 0], filename_prefix="picture")}


def from_toys(frames_to: Callable[[list[Any]], dict[str, Any]] = saved, **settings: Any) -> Workflow:
    toys = {"scene": "shapes", "seconds": 0.5, "frames_per_second": 8.0, "width": 32, "height": 32, "seed": 1}
    return {
        "1": node("ZoetropeToyWorldClip", **{**toys, **settings}),
        "2": node("ZoetropeExtractFrames", video=["1", 0], **EVERY_FRAME, **WHOLE_CLIP),
        "3": frames_to(["2", 0]),
    }


def gif(images: list[Any], **settings: Any) -> dict[str, Any]:
    inputs = {"frames_per_second": 8.0, "filename_prefix": "clip", "colors": 64, "dither": "none", "loop": 0}
    return node("ZoetropeSaveGif", images=images, **{**inputs, **settings})


def resized(**settings: Any) -> Workflow:
    inputs = {"images": ["2", 0], "width": 16, "height": 0, "fit": "stretch", "multiple_of": 1, "filter": "lanczos"}
    workflow = from_toys()
    return {**workflow, "3": node("ZoetropeResizeFrames", **{**inputs, **settings}), "4": saved(["3", 0])}


def clip_bytes(suffix: str = ".mp4", frames: int = 12, **options: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{suffix}"
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream("libx264", rate=12)
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
            for number in range(frames):
                pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            container.mux(stream.encode(None))
        return path.read_bytes()


def hollow_bytes() -> bytes:
    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        container.start_encoding()
    return held.getvalue()


def song_bytes() -> bytes:
    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as container:
        voice = container.add_stream("aac", rate=44100, layout="mono")
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), "fltp", "mono")
        heard.sample_rate = 44100
        container.mux([*voice.encode(heard), *voice.encode(None)])
    return held.getvalue()


def picture_bytes(format: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    held = io.BytesIO()
    picture = Image.new("RGB", size, "teal")
    picture.paste(Image.radial_gradient("L").resize((8, 8)), (0, 0))
    picture.save(held, format, compress_level=1)
    return held.getvalue()


def bomb_bytes() -> bytes:
    """A PNG of a few bytes that announces 60000 x 60000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


def zip_bytes() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("clip.txt", "not a video")
    return held.getvalue()


def two_sizes() -> bytes:
    small, held = clip_bytes(".ts"), io.BytesIO()
    with av.open(held, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(12):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return small + held.getvalue()


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


FILES: dict[str, Callable[[], bytes]] = {
    "clip.mp4": clip_bytes,
    "cut.mp4": lambda: half(clip_bytes()),
    "cut early.mp4": lambda: half(clip_bytes(movflags="faststart")),
    "empty.mp4": bytes,
    "hollow.mp4": hollow_bytes,
    "text.mp4": lambda: b"dear diary, today I renamed a file\n" * 50,
    "noise.mp4": lambda: np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes(),
    "page.mp4": lambda: b"<!doctype html><html><body>404: not found</body></html>" * 20,
    "archive.mp4": zip_bytes,
    "picture.mp4": picture_bytes,
    "photo.webm": lambda: picture_bytes("JPEG"),
    "song.mp4": song_bytes,
    "list.mp4": lambda: b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
    "concat.mp4": lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
    "sizes.mp4": two_sizes,
    "text.png": lambda: b"not a picture at all\n" * 50,
    "empty.png": bytes,
    "cut.png": lambda: half(picture_bytes(size=(64, 64))),
    "drawing.png": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>' * 9,
    "bomb.png": bomb_bytes,
}

SENTENCES: dict[str, tuple[Workflow, str]] = {
    # broken videos
    "a video cut off at its end": (from_video("cut.mp4"), "cut.mp4 is not a video or sound that can be read"),
    "a video cut off after its header": (from_video("cut early.mp4"), "cut early.mp4 is cut off: it announces 12"),
    "an empty file": (from_video("empty.mp4"), "empty.mp4 is an empty file"),
    "a video without frames": (from_video("hollow.mp4"), "hollow.mp4"),
    "a text named as a video": (from_video("text.mp4"), "text.mp4 is not a video"),
    "noise named as a video": (from_video("noise.mp4"), "noise.mp4 is not a video"),
    "a web page named as a video": (from_video("page.mp4"), "page.mp4 is not a video"),
    "an archive named as a video": (from_video("archive.mp4"), "archive.mp4 is not a video"),
    "a PNG named as a video": (from_video("picture.mp4"), "picture.mp4 is a picture, not a video"),
    "a JPEG named as a video": (from_video("photo.webm"), "photo.webm is a picture, not a video"),
    "a song named as a video": (from_video("song.mp4"), "song.mp4 holds only sound"),
    "a playlist named as a video": (from_video("list.mp4"), "list.mp4"),
    "a list of other files named as a video": (from_video("concat.mp4"), "concat.mp4"),
    "a video that changes its size": (from_video("sizes.mp4"), "sizes.mp4 changes its size from 32x32 to 64x48"),
    # the same by ComfyUI's own nodes
    "core: a text": (by_core_nodes("text.mp4"), "text.mp4 is not a video or sound that can be read"),
    "core: a video cut off": (by_core_nodes("cut.mp4"), "cut.mp4 is not a video or sound that can be read"),
    "core: an empty file": (by_core_nodes("empty.mp4"), "empty.mp4 is an empty file"),
    "core: a playlist": (by_core_nodes("list.mp4"), "list.mp4 is a playlist that names other files"),
    "core: a list of files": (by_core_nodes("concat.mp4"), "concat.mp4 is a playlist that names other files"),
    "core: a song": (by_core_nodes("song.mp4"), "song.mp4 has no picture"),
    "core: a text to copy": (copied("text.mp4"), "text.mp4 is not a video or sound that can be read"),
    "core: an empty file to copy": (copied("empty.mp4"), "empty.mp4 is an empty file"),
    "core: a playlist to copy": (copied("list.mp4"), "list.mp4 is a playlist that names other files"),
    "core: a text as a sound": (from_sound("text.mp4"), "text.mp4 is not a video or sound that can be read"),
    "core: a playlist as a sound": (from_sound("list.mp4"), "list.mp4 is a playlist that names other files"),
    "core: a playlist as a picture": (from_picture("list.mp4"), "list.mp4 is a playlist that names other files"),
    # broken pictures
    "a text named as a picture": (from_picture("text.png"), "text.png"),
    "an empty picture": (from_picture("empty.png"), "empty.png"),
    "a picture cut off": (from_picture("cut.png"), "cut.png"),
    "a drawing named as a picture": (from_picture("drawing.png"), "drawing.png"),
    "a picture that would fill the memory": (from_picture("bomb.png"), "bomb.png"),
    # names that lead elsewhere
    "a path that climbs out": (from_video("../../etc/passwd"), "'../../etc/passwd'"),
    "the same, to a file": (from_file("../../etc/passwd"), "'../../etc/passwd'"),
    "an absolute path": (from_file("/etc/passwd"), "'/etc/passwd'"),
    "an absolute path of Windows": (from_file("C:\\Windows\\win.ini"), "win.ini"),
    "a path that climbs in Windows' way": (from_file("..\\..\\secret.mp4"), "secret.mp4"),
    "a NUL in a name": (from_file("clip\0.mp4"), "NUL"),
    "a link that leaves the folder": (from_file("link.mp4"), "leads out of the input folder"),
    "a folder named as a video": (from_file("folder.mp4"), "folder.mp4"),
    "a file that is not there": (from_file("gone.mp4"), "'gone.mp4' is not a file in the input folder"),
    "a name a letter off": (from_file("clop.mp4"), "Did you mean 'clip.mp4'?"),
    "a picture outside": (from_picture("../secret.png"), "../secret.png"),
    "a prefix that climbs out": (from_toys(lambda i: gif(i, filename_prefix="../../evil")), "../../evil"),
    "an absolute prefix": (from_toys(lambda i: gif(i, filename_prefix="/tmp/evil/x")), "/tmp/evil/x"),
    "a folder that climbs out": (from_toys(lambda i: saved(i, folder="../evil")), "../evil"),
    "a frame name that climbs out": (from_toys(lambda i: saved(i, name="../{n}")), "../{n}"),
    "a frame name that reaches into Python": (from_toys(lambda i: saved(i, name="{n.__class__}")), "{n.__class__}"),
    "one name for all frames": (from_toys(lambda i: saved(i, name="frame")), "'frame'"),
    "a frame name that Windows keeps for itself": (from_toys(lambda i: saved(i, name="con")), "con"),
    # requests that cannot be met
    "a frame that is not there": (
        from_video("clip.mp4", {"choose": "list", "choose.indices": "0, 99"}),
        "Frame 99 is not there: the range has 12 frames",
    ),
    "a list of words": (
        from_video("clip.mp4", {"choose": "list", "choose.indices": "first, last"}),
        '"first" in the list of frames is not understood',
    ),
    "more frames than there are": (
        from_video("clip.mp4", {"choose": "count", "choose.count": 50}),
        "50 frames cannot be spread over a range that has 12",
    ),
    "a range after the end": (
        from_video("clip.mp4", extent={"range": "seconds", "range.start": 60.0, "range.end": 0.0}),
        "No frame appears between 60 s and 1 s",
    ),
    "a clip larger than any memory": (
        from_toys(seconds=3600.0, frames_per_second=60.0, width=8192, height=8192),
        "GiB are free",
    ),
    "a colour that is none": (
        resized(**{"fit": "pad", "height": 32, "fit.ground": "color", "fit.ground.color": "sky-ish"}),
        "'sky-ish' is no colour",
    ),
    "no video at all": (from_file("none"), "There is no video to take frames from"),
    # broken workflows
    "a circle": (
        {
            "1": node("ZoetropeResizeFrames", images=["2", 0], width=8, height=8, fit="stretch", multiple_of=1),
            "2": node("ZoetropeResizeFrames", images=["1", 0], width=8, height=8, fit="stretch", multiple_of=1),
            "3": saved(["2", 0]),
        },
        "linked in a circle",
    ),
    "a node linked to itself": ({"1": saved(["1", 0])}, "linked in a circle"),
    "an unknown node": ({"1": node("ZoetropeSaveGiff"), "2": saved(["1", 0])}, "Did you mean ZoetropeSaveGif?"),
    "a link to no node": ({"1": saved(["9", 0])}, "linked to node 9, which does not exist"),
    "a link to no output": (from_toys(lambda i: saved(["2", 7])), "output 7"),
    "a link of the wrong type": (from_toys(lambda i: saved(["1", 0])), "takes IMAGE, but output 0"),
    "a missing input": ({"1": node("SaveImage", filename_prefix="picture")}, "input images is missing"),
    "an unknown input": (from_toys(lambda i: saved(i, colour="red")), "it has no input colour"),
    "a text for a number": (from_toys(width="wide"), "input width is 'wide'. It is a whole number"),
    "yes for a number": (from_toys(width=True), "input width is True"),
    "a number out of range": (from_toys(width=-5), "input width is -5. It is a whole number from"),
    "an option that is none": (from_toys(scene="shape"), "Did you mean shapes?"),
    "NaN": (from_toys(seconds=float("nan")), "input seconds is nan. It is a number from 0.05"),
    "infinity": (from_toys(seconds=float("inf")), "input seconds is inf. It is a number from 0.05"),
    "nothing that saves": ({"1": from_toys()["1"]}, "no node that saves or shows anything"),
    "a node without a kind": ({"1": {"inputs": {}}}, "class_type"),
    "inputs that are a list": ({"1": {"class_type": "SaveImage", "inputs": [1, 2]}}, "inputs"),
}

TEXTS: dict[str, tuple[bytes, str]] = {
    "no text at all": (b"", "empty"),
    "words": (b"make me a video please", "JSON"),
    "half a file": (json.dumps(from_toys()).encode()[:80], "JSON"),
    "a picture": (picture_bytes(), "is no text"),
    "a list": (b"[1, 2, 3]", "workflow"),
    "a number": (b"42", "workflow"),
    "a deep hole": (b"[" * 100_000, "nested too deeply"),
    "a graph with a subgraph": (
        json.dumps(
            {
                "version": 0.4,
                "nodes": [{"id": 1, "type": "3f0c2c4e-7a33-4c5b-9d1c-0f4f5d1f2a11", "mode": 0, "inputs": []}],
                "links": [],
                "definitions": {"subgraphs": [{"id": "3f0c2c4e-7a33-4c5b-9d1c-0f4f5d1f2a11", "name": "Part"}]},
            }
        ).encode(),
        "choose Export (API)",
    ),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "input"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content())
    (folder / "folder.mp4").mkdir()
    (folder.parent / "secret.png").write_bytes(picture_bytes())
    (folder.parent / "secret.mp4").write_bytes(clip_bytes())
    (folder / "link.mp4").symlink_to(folder.parent / "secret.mp4")
    return folder


def refused(workflow: Path, inputs: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run what must be refused; gives the sentence, having checked that nothing else came of it."""
    before = {path: path.stat().st_mtime_ns for path in inputs.parent.rglob("*")}
    code = main(["run", str(workflow), "--input", str(inputs), "--output", str(folder / "output")])
    said = capsys.readouterr()

    assert code == 2
    assert not [path for path in (folder / "output").rglob("*") if not path.is_dir()]
    assert {path: path.stat().st_mtime_ns for path in inputs.parent.rglob("*")} == before
    assert "Traceback" not in said.err
    assert "Error" not in said.err  # no name of a Python class: a sentence for a person
    sentence = said.err.strip().splitlines()[-1]
    assert sentence.endswith((".", "?"))
    assert len(sentence) < 600
    assert "root:" not in said.err  # nothing of /etc/passwd
    return sentence


def test_there_are_fifty_rows_at_least():
    assert len(SENTENCES) + len(TEXTS) >= 50


@pytest.mark.parametrize("row", SENTENCES)
def test_what_cannot_be_done_gets_a_sentence_and_leaves_nothing(row, inputs, tmp_path, capsys):
    workflow, phrase = SENTENCES[row]
    (tmp_path / "workflow.json").write_text(json.dumps(workflow), encoding="utf-8")

    assert phrase in refused(tmp_path / "workflow.json", inputs, tmp_path, capsys)


@pytest.mark.parametrize("row", TEXTS)
def test_what_is_no_workflow_gets_a_sentence(row, inputs, tmp_path, capsys):
    content, phrase = TEXTS[row]
    (tmp_path / "workflow.json").write_bytes(content)

    assert phrase in refused(tmp_path / "workflow.json", inputs, tmp_path, capsys)


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_workflow_file_that_is_none_gets_a_sentence(name, inputs, tmp_path, capsys):
    refused(tmp_path / name, inputs, tmp_path, capsys)


def test_an_output_folder_that_is_a_file_gets_a_sentence(inputs, tmp_path, capsys):
    (tmp_path / "workflow.json").write_text(json.dumps(from_toys()), encoding="utf-8")
    (tmp_path / "output").write_text("mine", encoding="utf-8")

    code = main(["run", str(tmp_path / "workflow.json"), "--output", str(tmp_path / "output")])

    assert code == 2
    assert (tmp_path / "output").read_text(encoding="utf-8") == "mine"
    assert "Error" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("1.png", (1, 1)),
        ("eight thousand.png", (7680, 4320)),
        ("\u6708\u306e\u6e80\u3061\u6b20\u3051 moon.png", (8, 6)),
    ],
)
def test_unusual_pictures_and_names_are_served(name, size, tmp_path):
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / name).write_bytes(picture_bytes(size=size))
    (tmp_path / "workflow.json").write_text(json.dumps(from_picture(name)), encoding="utf-8")

    code = main(
        ["run", str(tmp_path / "workflow.json"), "--input", str(tmp_path / "input"), "--output", str(tmp_path / "out")]
    )

    assert code == 0
    (made,) = (tmp_path / "out").iterdir()
    with Image.open(made) as picture, Image.open(tmp_path / "input" / name) as given:
        assert picture.size == size
        assert np.array_equal(np.asarray(picture), np.asarray(given))


@pytest.mark.parametrize("name", ["clip.mp4", "\u6708 clip with spaces.mp4", "wrong suffix.avi", "a%20b#c&d.mp4"])
def test_videos_of_any_name_and_suffix_are_served(name, tmp_path):
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / name).write_bytes(clip_bytes())
    (tmp_path / "workflow.json").write_text(json.dumps(from_video(name)), encoding="utf-8")

    code = main(
        ["run", str(tmp_path / "workflow.json"), "--input", str(tmp_path / "input"), "--output", str(tmp_path / "out")]
    )

    assert code == 0
    assert sum(len(files) for _, _, files in os.walk(tmp_path / "out")) == 12
