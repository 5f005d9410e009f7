from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoetrope.media import reading
from zoetrope.media.errors import MediaError
from zoetrope.media.reading import load_frames, probe, read_frames

KINDS = {
    "H.264 with B-frames, one long group": dict(options={"g": "250", "bf": "3"}),
    "H.264, short groups": dict(frames=120, options={"g": "12", "bf": "2"}),
    "H.264, open groups": dict(frames=120, options={"g": "12", "bf": "3", "x264-params": "open-gop=1:b-pyramid=2"}),
    "H.264, two slices": dict(options={"g": "30", "x264-params": "slices=2"}),
    "H.264 in a transport stream": dict(name="clip.ts", frames=120, options={"g": "12", "bf": "2"}),
    "H.264 in Matroska": dict(name="clip.mkv", frames=120, options={"g": "12", "bf": "2"}),
    "H.264 without a container": dict(name="clip.h264", options={"g": "12", "bf": "2"}),
    "H.264 refreshed without key frames": dict(
        name="clip.ts", frames=90, options={"x264-params": "intra-refresh=1:keyint=20", "bf": "0"}
    ),
    "HEVC": dict(codec="libx265", options={"x265-params": "keyint=15:bframes=3:log-level=none"}),
    "VP9": dict(name="clip.webm", codec="libvpx-vp9", options={"g": "20", "deadline": "realtime", "cpu-used": "8"}),
    "VP8": dict(name="clip.webm", codec="libvpx", options={"g": "20", "deadline": "realtime", "cpu-used": "8"}),
    "MPEG-4 in AVI": dict(name="clip.avi", codec="mpeg4", options={"g": "12", "bf": "2"}),
    "MPEG-2 program stream": dict(
        name="clip.mpg", codec="mpeg2video", rate=Fraction(25), options={"g": "12", "bf": "2"}
    ),
    "Motion JPEG": dict(name="clip.avi", codec="mjpeg", pixel_format="yuvj420p"),
    "FFV1": dict(name="clip.mkv", codec="ffv1"),
    "animated GIF": dict(name="clip.gif", codec="gif", pixel_format="rgb8", rate=Fraction(25)),
    "variable rate": dict(name="clip.mkv", stamps=[40 * n + 15 * (n % 3) for n in range(60)], options={"g": "12"}),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_frame_n_is_the_nth_frame_that_a_player_shows(kind, make_clip, played):
    path = make_clip(**KINDS[kind])
    truth = played(path)
    facts = probe(path)

    assert facts.frames == len(truth)
    assert (facts.width, facts.height) == (96, 64)
    for numbers in ([0], [len(truth) - 1], range(3, len(truth), 10), [2, 29, 30, 31, 58], range(len(truth))):
        found = dict(read_frames(path, list(numbers), facts))
        assert list(found) == list(numbers)
        for number, pixels in found.items():
            assert np.array_equal(pixels, truth[number]), f"frame {number}"


@pytest.fixture(scope="module")
def open_groups(tmp_path_factory, write_clip):
    path = tmp_path_factory.mktemp("open") / "clip.mp4"
    return write_clip(path, frames=120, options={"g": "15", "bf": "3", "x264-params": "open-gop=1"})


@settings(max_examples=40, deadline=None)
@given(numbers=st.lists(st.integers(0, 119), max_size=12))
def test_any_frames_in_any_order_come_as_asked(numbers, open_groups, played):
    truth = played(open_groups)

    clip = load_frames(open_groups, numbers)

    expected = [torch.from_numpy(truth[number]) / 255 for number in numbers]
    assert torch.equal(clip, torch.stack(expected) if expected else torch.empty(0, 64, 96, 3))


def test_sparse_frames_cost_their_groups_only(make_clip, monkeypatch):
    path = make_clip(frames=600, options={"g": "30", "bf": "2"})
    decoded, was_misled = [], reading._Cursor._was_misled
    monkeypatch.setattr(
        reading._Cursor, "_was_misled", lambda cursor, frames: decoded.extend(frames) or was_misled(cursor, frames)
    )

    numbers = [number for number, _ in read_frames(path, [60, 240, 599])]

    assert numbers == [60, 240, 599]
    assert len(decoded) < 60  # of 600: three groups of 30 at the most, less the frames that nothing refers to


def test_a_rate_that_a_container_rounds_is_named_exactly(make_clip):
    path = make_clip("clip.mkv", rate=Fraction(30000, 1001))  # Matroska keeps milliseconds
    facts = probe(path)

    assert facts.frames_per_second == Fraction(30000, 1001)
    assert not facts.variable_rate
    assert facts.seconds == pytest.approx(60 * 1001 / 30000, abs=0.002)


def test_a_variable_rate_is_told_and_its_times_kept(make_clip):
    stamps = [0, 40, 80, 200, 1000, 1040, 1500]
    facts = probe(make_clip("clip.mkv", stamps=stamps))

    assert facts.variable_rate
    assert [float(facts.timeline.start_of(n)) for n in range(7)] == [stamp / 1000 for stamp in stamps]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_clip_that_asks_to_be_turned_is_turned(degrees, make_clip, played):
    path = make_clip(turned=degrees)
    upright = np.rot90(played(path)[7], round(degrees / 90))
    facts = probe(path)

    ((number, pixels),) = read_frames(path, [7], facts)

    assert number == 7
    assert pixels.shape == (facts.height, facts.width, 3)
    assert (facts.width, facts.height) == ((64, 96) if degrees % 180 else (96, 64))
    assert np.array_equal(pixels, upright)


@pytest.mark.parametrize("matrix", [1, 2, 6, 9], ids=["BT.709", "not said", "BT.601", "BT.2020"])
@pytest.mark.parametrize("spread", [1, 2], ids=["limited", "full"])
def test_colours_come_back_as_they_were_tagged(matrix, spread, tmp_path):
    brick = np.full((64, 64, 3), (200, 100, 50), np.uint8)
    path = tmp_path / "tagged.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, spread
        meant = 5 if matrix in (2, 6) else matrix  # BT.601 has another number for converting
        frame = av.VideoFrame.from_ndarray(brick, "rgb24").reformat(
            format="yuv420p", src_colorspace=5, dst_colorspace=meant, src_color_range=2, dst_color_range=spread
        )
        container.mux([*stream.encode(frame), *stream.encode(None)])

    ((_, pixels),) = read_frames(path, [0])

    assert np.abs(pixels.astype(int) - brick).max() <= 4


def test_frames_cut_away_by_an_edit_list_are_not_counted(make_clip, tmp_path):
    source, trimmed = make_clip(frames=60, options={"g": "30", "bf": "0"}), tmp_path / "trimmed.mp4"
    with av.open(str(source)) as inside, av.open(str(trimmed), "w") as outside:
        stream = inside.streams.video[0]
        copy = outside.add_stream_from_template(stream)
        for packet in inside.demux(stream):
            if packet.size:
                packet.pts -= 10 * packet.duration
                packet.dts -= 10 * packet.duration
                packet.stream = copy
                outside.mux(packet)
    with av.open(str(trimmed)) as container:
        truth = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    facts = probe(trimmed)

    assert facts.frames == len(truth)
    for number in (0, 1, 19, 20, len(truth) - 1):
        ((_, pixels),) = read_frames(trimmed, [number], facts)
        assert np.array_equal(pixels, truth[number])


def test_an_edit_that_leaves_most_of_a_file_out_is_no_damage(make_clip, played, tmp_path, monkeypatch):
    path = make_clip(frames=100, options={"g": "12", "bf": "0"})
    facts = probe(path)
    monkeypatch.setattr(reading, "_packet_facts", lambda *a, real=reading._packet_facts: real(*a)[:36])

    assert probe(path).frames == 36  # a demuxer that follows an edit list gives fewer packets than the file announces
    assert facts.frames == 100


def test_frames_dropped_by_a_recorder_leave_a_gap_and_not_an_error(tmp_path, played):
    path = tmp_path / "gap.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(40):
            if number not in (20, 21, 22):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 6, np.uint8), "rgb24")
                frame.pts = number
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    facts = probe(path)

    assert facts.frames == 37
    assert facts.variable_rate
    assert float(facts.timeline.start_of(20)) == pytest.approx(23 / 25)
    truth = played(path)
    assert all(np.array_equal(pixels, truth[number]) for number, pixels in read_frames(path, range(37), facts))


def test_a_video_in_memory_reads_like_one_on_disk(make_clip):
    path = make_clip()
    held = BytesIO(path.read_bytes())

    assert probe(held).frames == 60
    assert torch.equal(load_frames(held, [5, 50]), load_frames(path, [5, 50]))


def test_a_frame_that_is_not_there_is_refused(make_clip):
    with pytest.raises(MediaError, match=r"Frame 60 is not in clip.mp4, which has 60 frames, numbered 0 to 59"):
        list(read_frames(make_clip(), [3, 60]))


def test_more_frames_than_memory_holds_are_refused_before_any_is_read(make_clip, monkeypatch):
    monkeypatch.setattr(reading, "read_frames", lambda *a: pytest.fail("it began to read"))
    path = make_clip()

    with pytest.raises(MediaError, match=r"take [\d.]+ GiB of memory, and [\d.]+ GiB are free"):
        load_frames(path, [0] * 10_000_000, probe(path))


def _cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.mp4", b"", "empty.mp4 is an empty file"),
        ("text.mp4", b"dear diary, today I renamed a file\n" * 40, "text.mp4 is not a video or sound that can be read"),
        ("noise.mp4", bytes(np.random.default_rng(0).integers(0, 256, 4096, np.uint8)), "noise.mp4 is not a video"),
        ("list.mp4", b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n", "list.mp4"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile /etc/passwd\n", "list.ffconcat"),
    ],
)
def test_a_file_that_is_no_video_gets_a_sentence(name, content, sentence, tmp_path):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(MediaError, match=sentence) as caught:
        probe(tmp_path / name)

    assert "passwd" not in str(caught.value)


@pytest.mark.parametrize(("faststart", "sentence"), [(False, "is not a video"), (True, "is cut off: it announces 60")])
def test_a_download_that_broke_off_gets_a_sentence(faststart, sentence, make_clip, tmp_path):
    path = make_clip()
    if faststart:
        whole = tmp_path / "fast.mp4"
        with av.open(str(path)) as inside, av.open(str(whole), "w", options={"movflags": "faststart"}) as outside:
            copy = outside.add_stream_from_template(inside.streams.video[0])
            for packet in inside.demux(inside.streams.video[0]):
                if packet.size:
                    packet.stream = copy
                    outside.mux(packet)
        path = whole
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(_cut(path.read_bytes()))

    with pytest.raises(MediaError, match=sentence):
        load_frames(broken, [0])


def test_a_picture_named_as_a_video_is_told_for_what_it_is(tmp_path):
    import cv2

    (tmp_path / "still.mp4").write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())

    with pytest.raises(MediaError, match="still.mp4 is a picture, not a video"):
        probe(tmp_path / "still.mp4")


def test_a_song_is_not_a_video(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        voice = container.add_stream("aac", rate=44100, layout="mono")
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), "fltp", "mono")
        heard.sample_rate = 44100
        container.mux([*voice.encode(heard), *voice.encode(None)])

    with pytest.raises(MediaError, match="holds only sound and no video"):
        probe(path)


def test_a_video_without_frames_is_told(tmp_path):
    path = tmp_path / "hollow.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        container.start_encoding()

    with pytest.raises(MediaError, match=r"hollow.mp4"):
        probe(path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("gone.mp4", "does not exist"), (".", "is a folder"), ("a\0b.mp4", "holds a NUL character")],
)
def test_a_path_that_is_no_file_gets_a_sentence(name, sentence, tmp_path):
    with pytest.raises(MediaError, match=sentence):
        probe(tmp_path / name)
