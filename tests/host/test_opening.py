"""A file that names other files is refused before any of them is opened."""

from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest

from zoetrope.host.opening import PLAYLISTS, open_local, refuse_playlist

SECONDS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
CAMERA = "o=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "secret.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    return path


def id3(size: int) -> bytes:
    return b"ID3\x04\x00\x00\x00\x00" + bytes([size >> 7, size & 127]) + bytes(size)


def refused(path: Path) -> None:
    with pytest.raises(ValueError, match=f"{path.name} is a playlist that names other files"), open_local(str(path)):
        pass


def test_a_playlist_that_ffmpeg_would_follow_is_refused(secret, tmp_path):
    path = tmp_path / "x.m3u8"
    path.write_text(SECONDS.format(secret), encoding="utf-8")
    with av.open(str(path)) as container:  # what the refusal is for: the other file would be read
        assert PLAYLISTS & set(container.format.name.split(","))

    refused(path)


@pytest.mark.parametrize("name", ["x.m3u8", "x.mp4"])
@pytest.mark.parametrize("text", [SECONDS, "ffconcat version 1.0\nfile '{}'\n", "v=0\n" + CAMERA, CAMERA])
@pytest.mark.parametrize("before", [b"", id3(300), id3(20) + id3(5)])
def test_a_playlist_is_known_by_what_it_holds(name, text, before, secret, tmp_path, monkeypatch):
    path = tmp_path / name
    path.write_bytes(before + text.format(f"file://{secret}").encode())
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("a playlist was opened"))

    refused(path)
    with pytest.raises(ValueError, match="is a playlist"):
        refuse_playlist(BytesIO(path.read_bytes()))


def test_a_playlist_that_was_not_known_by_its_words_is_refused_by_its_format(secret, tmp_path, monkeypatch):
    path = tmp_path / "x.m3u8"
    path.write_text(SECONDS.format(secret), encoding="utf-8")
    monkeypatch.setattr("zoetrope.host.opening.refuse_playlist", lambda _: None)

    refused(path)


def test_a_video_is_opened(secret):
    with open_local(str(secret)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 10
    with open_local(BytesIO(secret.read_bytes())) as container:
        assert sum(1 for _ in container.decode(video=0)) == 10


def test_an_error_of_the_block_itself_passes(secret):
    with pytest.raises(KeyError), open_local(str(secret)):
        raise KeyError("mine")
