import json
import resource
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from zoetrope.media.errors import MediaError
from zoetrope.media.writing import VideoOptions, write_video

BT709_PRIMARIES = BT709_MATRIX = 1
SRGB_TRANSFER = 13
SUFFIXES = [".mp4", ".mov", ".mkv", ".webm"]


class Cancelled(BaseException):
    """As ComfyUI's: not an Exception."""


def flat(color, frames=3, width=80, height=64):
    return [np.full((height, width, 3), color, np.uint8)] * frames


def noise(frames=8, width=128, height=96):
    return list(np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8))


def stream_facts(path):
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        return stream.codec.canonical_name, (context.width, context.height), context.pix_fmt, stream.average_rate


def first_picture(path):
    """The first frame by the matrix of BT.709, which an older PyAV does not read from the tags."""
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        # It converts between matrices only where they differ, although the one of RGB means nothing.
        frame = frame.reformat(format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU601")
        return frame.to_ndarray().astype(int)


def starts_of_frames(path):
    with av.open(str(path)) as file:
        return [frame.time for frame in file.decode(video=0)]


def heard(path):
    """The sound (c t) of a file as a player puts it in time, and its rate."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        pieces = {round(frame.pts * frame.time_base * frame.sample_rate): frame for frame in file.decode(audio=0)}
        waveform = np.zeros((stream.layout.nb_channels, max(at + piece.samples for at, piece in pieces.items())))
        for at, piece in pieces.items():
            samples = piece.to_ndarray()
            waveform[:, max(at, 0) : at + piece.samples] = samples[:, max(-at, 0) :]
        return waveform, stream.rate


def sound_of(waveform, sample_rate=48000):
    return {"waveform": torch.as_tensor(waveform, dtype=torch.float32)[None], "sample_rate": sample_rate}


def tone(seconds, channels=1, sample_rate=48000):
    t = np.arange(int(seconds * sample_rate)) / sample_rate
    return sound_of(np.stack([0.5 * np.sin(2 * np.pi * 440 * (1 + c) * t) for c in range(channels)]), sample_rate)


@pytest.mark.parametrize(
    "suffix, codec, expected",
    [
        (".mp4", "auto", "h264"),
        (".mov", "auto", "h264"),
        (".mkv", "auto", "h264"),
        (".webm", "auto", "vp9"),
        (".webm", "av1", "av1"),
        (".mp4", "vp9", "vp9"),
        (".mp4", "av1", "av1"),
        (".MP4", "auto", "h264"),
    ],
)
def test_each_container_takes_its_codecs(tmp_path, suffix, codec, expected, played):
    path = write_video(tmp_path / f"clip{suffix}", flat((200, 60, 30), 5), 24, VideoOptions(codec=codec))

    assert stream_facts(path) == (expected, (80, 64), "yuv420p", 24)
    assert len(played(path)) == 5
    assert starts_of_frames(path) == pytest.approx([index / 24 for index in range(5)], abs=0.001)


@pytest.mark.parametrize("codec, suffix", [("h264", ".mp4"), ("h264", ".mkv"), ("vp9", ".webm"), ("av1", ".mp4")])
def test_players_are_told_the_colors(tmp_path, codec, suffix):
    path = write_video(tmp_path / f"clip{suffix}", flat((9, 200, 30)), 24, VideoOptions(codec=codec))

    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        tags = file.streams.video[0].codec_context
        assert (tags.color_primaries, tags.color_trc) == (BT709_PRIMARIES, SRGB_TRANSFER)
        assert (tags.colorspace, frame.color_range) == (BT709_MATRIX, 1)


@pytest.mark.parametrize("color", [(255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (12, 140, 201)])
def test_luma_and_chroma_are_what_bt709_says(tmp_path, color):
    path = write_video(tmp_path / "clip.mp4", flat(color), 24, VideoOptions(crf=0))
    r, g, b = np.array(color) / 255
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    expected = 16 + 219 * luma, 128 + 224 * (b - luma) / 1.8556, 128 + 224 * (r - luma) / 1.5748

    with av.open(str(path)) as file:
        planes = next(file.decode(video=0)).to_ndarray().reshape(-1)

    got = planes[0], planes[80 * 64], planes[80 * 64 * 5 // 4]
    assert np.abs(np.subtract(got, expected, dtype=float)).max() <= 1


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("width, height", [(63, 48), (64, 47), (33, 31), (1, 1), (2, 2)])
def test_an_odd_side_is_padded_by_its_edge(tmp_path, suffix, width, height, played):
    ramp = np.linspace(40, 220, width * height).reshape(height, width, 1).repeat(3, axis=2).astype(np.uint8)

    path = write_video(tmp_path / f"clip{suffix}", [ramp] * 2, 24, VideoOptions(crf=0))

    pixels = played(path)[0].astype(int)
    assert pixels.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(pixels[:height, :width] - ramp).max() <= 6
    assert np.abs(pixels[-1] - pixels[height - 1]).max() <= 6
    assert np.abs(pixels[:, -1] - pixels[:, width - 1]).max() <= 6


def test_full_color_keeps_odd_sizes_and_sharp_color(tmp_path):
    picture = np.zeros((31, 33, 3), np.uint8)
    picture[:, ::2, 0] = 255

    path = write_video(tmp_path / "a.mp4", [picture], 24, VideoOptions(pixel_format="yuv444p", crf=1))

    assert stream_facts(path)[1:3] == ((33, 31), "yuv444p")
    assert np.abs(first_picture(path) - picture).max() <= 8


@pytest.mark.parametrize("codec, suffix", [("h264", ".mp4"), ("vp9", ".webm"), ("av1", ".webm")])
def test_a_higher_crf_makes_a_smaller_file(tmp_path, codec, suffix):
    sizes = [
        write_video(tmp_path / f"{crf}{suffix}", noise(), 24, VideoOptions(codec=codec, crf=crf)).stat().st_size
        for crf in (0, 15, 50)
    ]

    assert sizes[0] > sizes[1] > 1.5 * sizes[2]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "given, rate",
    [(Fraction(30000, 1001), Fraction(30000, 1001)), (25, 25), (12.5, 12.5), (23.976, Fraction(24000, 1001))],
)
def test_the_rate_is_kept(tmp_path, suffix, given, rate):
    path = write_video(tmp_path / f"clip{suffix}", flat((1, 2, 3), 30), given)

    assert starts_of_frames(path) == pytest.approx([float(n / rate) for n in range(30)], abs=0.0011)
    if suffix in (".mp4", ".mov"):
        with av.open(str(path)) as file:
            assert file.streams.video[0].average_rate == rate
            assert file.duration / 1e6 == pytest.approx(float(30 / rate), abs=0.001)


def test_the_workflow_is_kept_as_comfyui_keeps_it(tmp_path):
    metadata = {"prompt": {"3": {"inputs": {"text": "Z\u00fcrich"}}}, "workflow": {"nodes": []}, "note": "plain"}

    for suffix in SUFFIXES:
        path = write_video(tmp_path / f"clip{suffix}", flat((1, 2, 3)), 24, metadata=metadata)
        with av.open(str(path)) as file:
            tags = {key.lower(): value for key, value in file.metadata.items()}  # Matroska writes them in capitals
        assert {key: json.loads(tags[key]) for key in metadata} == metadata


def test_a_browser_can_play_an_mp4_while_it_loads(tmp_path):
    data = write_video(tmp_path / "a.mp4", noise(), 24).read_bytes()

    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("channels, layout", [(1, "mono"), (2, "stereo"), (6, "5.1")])
def test_the_sound_has_its_channels(tmp_path, suffix, channels, layout):
    path = write_video(tmp_path / f"a{suffix}", flat((1, 2, 3), 24), 24, sound=tone(1, channels))

    with av.open(str(path)) as file:
        assert file.streams.audio[0].codec.canonical_name == ("opus" if suffix == ".webm" else "aac")
        assert file.streams.audio[0].layout.name == layout
    if channels == 2:
        waveform, rate = heard(path)
        tones = [np.abs(np.fft.rfft(one[: rate // 2])).argmax() * 2 for one in waveform]
        assert tones == pytest.approx([440, 880], abs=20)  # Matroska rounds times to milliseconds


@pytest.mark.parametrize(
    "suffix, given, written",
    [
        (".mp4", 44100, 44100),
        (".mp4", 7000, 7350),
        (".mp4", 37800, 44100),
        (".mp4", 192000, 96000),
        (".webm", 44100, 48000),
        (".webm", 8000, 48000),
        (".mkv", 22050, 22050),
    ],
)
def test_sound_is_resampled_where_the_codec_needs_it(tmp_path, suffix, given, written):
    path = write_video(tmp_path / f"a{suffix}", flat((1, 2, 3), 24), 24, sound=tone(1, 1, given))

    waveform, rate = heard(path)
    assert rate == written
    assert waveform.shape[1] == pytest.approx(rate, abs=1200)  # AAC fills up blocks of 1024
    middle = waveform[0, rate // 4 : rate * 3 // 4]
    assert np.abs(np.fft.rfft(middle)).argmax() * 2 == 440
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_sound_is_trimmed_to_the_pictures(tmp_path, suffix):
    path = write_video(tmp_path / f"a{suffix}", flat((1, 2, 3), 12), 24, sound=tone(5))

    waveform, rate = heard(path)
    assert waveform.shape[1] / rate == pytest.approx(0.5, abs=0.03)  # a codec fills up its last block


def test_sound_shorter_than_the_pictures_ends_early(tmp_path):
    path = write_video(tmp_path / "a.mp4", flat((1, 2, 3), 48), 24, sound=tone(0.5))

    assert len(starts_of_frames(path)) == 48
    assert heard(path)[0].shape[1] / 48000 == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("rate", [24, Fraction(30000, 1001)])
@pytest.mark.parametrize("sample_rate", [44100, 48000])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_tick_is_heard_when_its_flash_is_seen(tmp_path, suffix, sample_rate, rate, played):
    frames = flat((0, 0, 0), 60)
    waveform = np.zeros((1, 3 * sample_rate))
    for flash in (7, 41):
        frames[flash] = np.full_like(frames[0], 255)
        at = int(flash / rate * sample_rate)
        waveform[0, at : at + 200] = 0.9 * np.sin(np.arange(200) / 200 * 20 * np.pi)

    path = write_video(tmp_path / f"a{suffix}", frames, rate, sound=sound_of(waveform, sample_rate))

    seen = [time for time, pixels in zip(starts_of_frames(path), played(path), strict=True) if pixels.mean() > 128]
    sound, written_rate = heard(path)
    loud = np.flatnonzero(np.abs(sound[0]) > 0.45) / written_rate
    ticks = [loud[0], loud[loud > loud[0] + 0.5][0]]
    assert len(seen) == 2
    assert ticks == pytest.approx(seen, abs=0.003)


def test_sound_lies_beside_its_pictures_in_the_file(tmp_path):
    path = write_video(tmp_path / "a.mp4", noise(4) * 180, 24, VideoOptions(crf=40), sound=tone(30))

    with av.open(str(path)) as file:
        clocks = {"video": 0.0, "audio": 0.0}
        for packet in file.demux():
            if packet.dts is not None:
                clocks[packet.stream.type] = float(packet.dts * packet.time_base)
                assert abs(clocks["video"] - clocks["audio"]) < 1.5


@pytest.mark.parametrize("sound", [None, {"waveform": torch.zeros(1, 2, 0), "sample_rate": 44100}])
def test_no_sound_is_no_track(tmp_path, sound):
    with av.open(str(write_video(tmp_path / "a.mp4", flat((1, 2, 3)), 24, sound=sound))) as file:
        assert not file.streams.audio


def test_frames_are_taken_one_by_one_and_told(tmp_path):
    taken, told = [], []

    def frames():
        for index, frame in enumerate(noise(5)):
            taken.append(index)
            yield frame

    write_video(tmp_path / "a.mp4", frames(), 24, on_frame=lambda done, frame: told.append((done, len(taken))))

    assert told == [(done, done) for done in range(1, 6)]


def test_alpha_is_left_out(tmp_path):
    rgba = np.full((16, 16, 4), (200, 100, 50, 0), np.uint8)

    assert np.abs(first_picture(write_video(tmp_path / "a.mp4", [rgba], 24)) - (200, 100, 50)).max() <= 4


def fail_at(done, error):
    def on_frame(at, frame):
        if at == done:
            raise error

    return on_frame


BAD_SOUNDS = {
    "3 channels": sound_of(np.zeros((3, 100))),
    "which is no sound": sound_of(np.full((1, 100), np.nan)),
    "0 samples a second": sound_of(np.zeros((1, 100)), 0),
}
REFUSED = {
    "no frames": dict(frames=[]),
    "Frame 1 is 32x16": dict(frames=[np.zeros((16, 16, 3), np.uint8), np.zeros((16, 32, 3), np.uint8)]),
    "float64": dict(frames=[np.zeros((16, 16, 3))]),
    "frames per second is 0": dict(frames_per_second=0),
    "frames per second is nan": dict(frames_per_second=float("nan")),
    "crf is 52": dict(options=VideoOptions(crf=52)),
    "holds no vp9": dict(name="a.mov", options=VideoOptions(codec="vp9")),
    "holds no h264": dict(name="a.webm", options=VideoOptions(codec="h264")),
    "a.avi does not end": dict(name="a.avi"),
    "a does not end": dict(name="a"),
    "AV1 is written from 64": dict(frames=flat((1, 2, 3), 2, 63, 64), options=VideoOptions(codec="av1")),
    "The encoder refused": dict(frames=[np.zeros((2, 40000, 3), np.uint8)]),
} | {sentence: dict(sound=sound) for sentence, sound in BAD_SOUNDS.items()}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_cannot_be_written_is_told_in_a_sentence_and_leaves_nothing(tmp_path, sentence):
    given = dict(name="a.mp4", frames=flat((1, 2, 3)), frames_per_second=24) | REFUSED[sentence]
    path = tmp_path / given.pop("name")

    with pytest.raises(MediaError, match=sentence):
        write_video(path, given.pop("frames"), given.pop("frames_per_second"), **given)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [dict(codec="h265"), dict(pixel_format="rgb24")])
def test_unknown_options_are_refused(options):
    with pytest.raises(MediaError, match="Choose"):
        VideoOptions(**options)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("done", [1, 8])
def test_a_cancelled_clip_leaves_nothing(tmp_path, suffix, error, done):
    with pytest.raises(error):
        write_video(tmp_path / f"a{suffix}", noise(), 24, sound=tone(1), on_frame=fail_at(done, error))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("missing", [300, 20000])
def test_a_full_disk_is_told_whenever_it_fills(tmp_path, suffix, missing):
    frames = noise(8, 256, 256)
    needed = write_video(tmp_path / f"whole{suffix}", frames, 24, sound=tone(1)).stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (needed - missing, limits[1]))
    try:
        with pytest.raises(MediaError, match=r"cannot be written\. The file is larger than this disk allows"):
            write_video(tmp_path / f"half{suffix}", frames, 24, sound=tone(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert [path.name for path in tmp_path.iterdir()] == [f"whole{suffix}"]
