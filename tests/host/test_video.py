from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from zoetrope.host import standin_video_saving as saving
from zoetrope.host import video
from zoetrope.host.standin_video import VideoComponents, VideoFromComponents, VideoFromFile

FRAMES, WIDTH, HEIGHT, RATE = 20, 64, 48, Fraction(10)


def brightness(frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT) -> torch.Tensor:
    """A (f h w 3) clip in which frame n is evenly n/frames grey."""
    return (torch.arange(frames) / frames)[:, None, None, None].expand(frames, height, width, 3).clone()


def tone(seconds: float, rate: int = 8000) -> dict:
    wave = torch.sin(torch.arange(int(seconds * rate)) * 0.3) * 0.5
    return {"waveform": wave.expand(1, 2, -1), "sample_rate": rate}


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "clip.mp4"
    clip = VideoFromComponents(VideoComponents(brightness(), RATE, tone(2.0)))
    saving.save(clip, target, saving.Encoding(crf=0, metadata={"prompt": {"1": "ü"}}))
    return target


def greys(clip: torch.Tensor) -> list[int]:
    """Which frames of `brightness` these are."""
    return [round(float(frame.mean()) * FRAMES) for frame in clip]


def test_a_clip_comes_back_from_its_file(path):
    components = video.components_of(video.VideoFromFile(path))

    assert_close(components.images, brightness(), atol=0.02, rtol=0)
    assert components.frame_rate == RATE
    assert components.audio["sample_rate"] == 8000
    assert components.audio["waveform"].shape[:2] == (1, 2)


def test_a_file_tells_of_itself(path):
    clip = VideoFromFile(str(path))

    assert clip.get_dimensions() == (WIDTH, HEIGHT)
    assert clip.get_frame_rate() == RATE
    assert clip.get_duration() == pytest.approx(2.0, abs=0.2)
    assert (clip.get_bit_depth(), clip.get_color_space()) == (8, "sRGB")


@pytest.mark.parametrize(
    ("start", "duration", "frames"),
    [(0.5, 0.5, range(5, 10)), (1.5, 0, range(15, 20)), (0, 0.3, range(3)), (-0.5, 0, range(15, 20))],
)
def test_a_span_is_cut_by_seconds(path, start, duration, frames):
    # Without sound the container is exactly as long as its frames, which a start from the end needs.
    silent = path.with_name("silent.mp4")
    saving.save(VideoFromComponents(VideoComponents(brightness(), RATE)), silent, saving.Encoding(crf=0))

    trimmed = VideoFromFile(str(silent)).as_trimmed(start, duration, strict_duration=False)

    assert greys(trimmed.get_components().images) == list(frames)


def test_a_span_that_is_not_all_there_is_none_where_it_must_be(path):
    assert VideoFromFile(str(path)).as_trimmed(1.5, 5.0, strict_duration=True) is None
    assert VideoFromFile(str(path)).as_trimmed(1.5, 5.0, strict_duration=False) is not None
    assert VideoFromComponents(VideoComponents(brightness(), RATE)).as_trimmed(1.5, 5.0) is None


def test_a_clip_in_memory_is_cut_too():
    clip = VideoFromComponents(VideoComponents(brightness(), RATE))

    assert greys(clip.as_trimmed(1.0, 0.5).get_components().images) == [10, 11, 12, 13, 14]


def test_the_file_and_span_behind_a_video_are_known(path):
    trimmed = VideoFromFile(str(path)).as_trimmed(0.5, 0.5)

    assert video.source_of(video.VideoFromFile(path)) == video.Source(str(path))
    assert video.source_of(trimmed) == video.Source(str(path), 0.5, 0.5)
    assert video.source_of(video.VideoFromFile(BytesIO(path.read_bytes()))).start_seconds == 0
    assert video.source_of(video.VideoFromComponents(brightness(), RATE)) is None


def test_frames_of_any_width_keep_their_edges(tmp_path):
    # At a width that is no multiple of 32 the converter reads beyond the picture; the last column must still be right.
    clip = brightness(2, width=50, height=34)
    clip[:, :, -1] = 1.0
    saving.save(VideoFromComponents(VideoComponents(clip, RATE)), tmp_path / "odd.mkv", saving.Encoding(crf=0))

    images = VideoFromFile(str(tmp_path / "odd.mkv")).get_components().images

    assert images.shape == (2, 34, 50, 3)
    assert images[0, :, -1].mean() > 0.4
    assert images[0, :, :40].mean() < 0.02


@pytest.mark.parametrize(
    ("encoding", "suffix", "codec"),
    [
        (saving.Encoding(), ".mp4", "h264"),
        (saving.Encoding(container="mkv", codec="av1"), ".mkv", "av1"),
        (saving.Encoding(container="webm"), ".webm", "av1"),
    ],
)
def test_a_video_gets_the_container_and_codec_that_were_chosen(tmp_path, encoding, suffix, codec):
    target = tmp_path / f"clip{suffix}"

    saving.save(VideoFromComponents(VideoComponents(brightness(4), RATE, tone(0.4))), target, encoding)

    with av.open(str(target)) as container:
        assert container.streams.video[0].codec.canonical_name == codec
        assert container.streams.audio[0].codec.canonical_name == ("opus" if suffix == ".webm" else "aac")
        assert sum(1 for _ in container.decode(video=0)) == 4


def test_the_workflow_is_kept_in_the_file_and_in_copies_of_it(path, tmp_path):
    saving.save(VideoFromFile(str(path)), tmp_path / "copy.mp4", saving.Encoding(metadata={"workflow": {"nodes": []}}))

    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert container.metadata["prompt"] == '{"1": "\\u00fc"}'
        assert container.metadata["workflow"] == '{"nodes": []}'


def test_saving_a_file_as_it_is_copies_its_packets(path, tmp_path):
    saving.save(VideoFromFile(str(path)), tmp_path / "copy.mp4", saving.Encoding())

    def packets(file):
        with av.open(str(file)) as container:
            return [bytes(packet) for packet in container.demux(video=0)]

    assert packets(path) == packets(tmp_path / "copy.mp4")


def test_a_span_of_a_file_is_encoded_with_its_sound(path, tmp_path):
    trimmed = VideoFromFile(str(path)).as_trimmed(0.5, 1.0)

    saving.save(trimmed, tmp_path / "cut.mp4", saving.Encoding(crf=0))

    components = VideoFromFile(str(tmp_path / "cut.mp4")).get_components()
    assert greys(components.images) == list(range(5, 15))
    # AAC pads the first and the last of its frames of 1024 samples.
    assert components.audio["waveform"].shape[-1] == pytest.approx(8000, abs=2048)


def test_high_dynamic_range_is_tagged_and_has_ten_bits(tmp_path):
    target = tmp_path / "hdr.mkv"
    encoding = saving.Encoding(container="mkv", crf=20, color_space="HDR")

    saving.save(VideoFromComponents(VideoComponents(brightness(2), RATE)), target, encoding)

    clip = VideoFromFile(str(target))
    assert (clip.get_color_space(), clip.get_bit_depth()) == ("HDR", 10)
    with pytest.raises(ValueError, match="The video is HDR, and saving it as sRGB would need a conversion"):
        saving.save(clip, tmp_path / "sdr.mkv", saving.Encoding(color_space="sRGB"))


def test_what_cannot_be_encoded_is_told_in_a_sentence(tmp_path):
    clip = VideoFromComponents(VideoComponents(brightness(2, 51, 33), RATE))

    with pytest.raises(ValueError, match="The frames are 51x33, and h264 video needs even sides"):
        saving.save(clip, tmp_path / "a.mp4", saving.Encoding())
    with pytest.raises(ValueError, match="A WebM file cannot hold h264"):
        saving.save(clip, tmp_path / "a.webm", saving.Encoding(codec="h264"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_picture_says_what_it_has_instead(tmp_path):
    with av.open(str(tmp_path / "tone.wav"), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    with pytest.raises(ValueError, match=r"tone.wav has no picture, only audio. Choose a video file."):
        VideoFromFile(str(tmp_path / "tone.wav")).get_components()


def test_a_rate_too_slow_for_a_file_is_told_in_a_sentence(tmp_path):
    clip = VideoFromComponents(VideoComponents(brightness(2), Fraction(1, 4000)))

    with pytest.raises(ValueError, match="0.00025 frames per second is too slow for a video file"):
        saving.save(clip, tmp_path / "a.mp4", saving.Encoding())
