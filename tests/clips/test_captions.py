import pytest
from PIL import Image

from zoetrope.clips.captions import (
    LARGEST_CAPTION_BYTES,
    Template,
    caption_files,
    captioned,
    current_caption,
    load_footage,
    picture_captions,
    read_caption_file,
    read_captions,
    write_captions,
    write_picture_captions,
)
from zoetrope.clips.footage import Clip, Footage, FootageError, update_manifest
from zoetrope.clips.naming import words_of


@pytest.fixture
def footage(tmp_path):
    """Two clips of three frames; no caption reads pixels, so there are none."""
    clips = []
    for name in ("Archery/v_ApplyEyeMakeup_g01_c02", "dance"):
        frames = tuple(f"frame_{number}.png" for number in (1, 2, 3))
        (tmp_path / name).mkdir(parents=True)
        for frame in frames:
            (tmp_path / name / frame).write_bytes(b"")
        clips.append(Clip(name=name, frames=frames))
    return Footage(tmp_path, tuple(clips))


@pytest.mark.parametrize(
    "data",
    [
        "a b\u00e9ar\ndances".encode(),
        "\ufeffa b\u00e9ar\r\ndances\r\n".encode(),
        "a b\u00e9ar \r dances\n\n\n".encode(),
        "a b\u00e9ar\u2028dances".encode(),
        "a b\u00e9ar dances".encode("utf-16"),
        "\ufeffa b\u00e9ar\ndances".encode("utf-16-be"),
    ],
)
def test_a_caption_is_read_whatever_wrote_it(tmp_path, data):
    (tmp_path / "a.txt").write_bytes(data)

    assert read_caption_file(tmp_path / "a.txt") == "a b\u00e9ar dances"


@pytest.mark.parametrize(
    "data, why",
    [
        (b"x" * (LARGEST_CAPTION_BYTES + 1), "64 KiB"),
        (b"caf\xe9", "not text in UTF-8 .at byte 3"),
        (b"\xff\xfea", "not text"),
        (b"a\0b", "NUL"),
    ],
)
def test_what_is_no_caption_is_refused(tmp_path, data, why):
    (tmp_path / "a.txt").write_bytes(data)

    with pytest.raises(FootageError, match=why):
        read_caption_file(tmp_path / "a.txt")


def test_a_caption_of_the_largest_size_is_read(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"x" * LARGEST_CAPTION_BYTES)

    assert len(read_caption_file(tmp_path / "a.txt")) == LARGEST_CAPTION_BYTES


def test_a_huge_file_is_not_read_whole(tmp_path):
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk, and would take a terabyte of memory

    with pytest.raises(FootageError, match="is no caption"):
        read_caption_file(tmp_path / "a.txt")


def test_beside_the_clip_comes_before_in_it_before_the_manifest(footage):
    clip = Clip(name="dance", frames=("frame_1.png",), caption="from the manifest")

    assert current_caption(footage, clip) == "from the manifest"
    (footage.root / "dance" / "caption.txt").write_text("in it")
    assert current_caption(footage, clip) == "in it"
    (footage.root / "dance.caption").write_text("beside it, as others call it")
    assert current_caption(footage, clip) == "beside it, as others call it"
    (footage.root / "dance.txt").write_text("beside it")
    assert current_caption(footage, clip) == "beside it"
    assert [path.name for path in caption_files(footage, clip)] == ["dance.txt"]


def test_an_empty_file_says_nothing(footage):
    (footage.root / "dance.txt").write_text(" \n")

    assert current_caption(footage, Clip(name="dance", frames=(), caption="kept")) == "kept"


def test_a_picture_has_its_own_caption_or_its_clips(footage):
    (footage.root / "dance.txt").write_text("a dance")
    (footage.root / "dance" / "frame_2.txt").write_text("a jump")

    captions = picture_captions(footage, footage.clip("dance"))

    assert captions == {"frame_1.png": "a dance", "frame_2.png": "a jump", "frame_3.png": "a dance"}


def test_a_clip_that_is_the_root_has_its_caption_in_it(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "root.txt").write_text("not ours")
    (tmp_path / "..txt").write_text("not ours either")
    footage = Footage(root, (Clip(name=".", frames=("a.png",)),))

    assert read_captions(footage).clips[0].caption == ""
    written = write_captions(captioned(footage, lambda clip: "the sea"))

    assert written == [root / "caption.txt"]
    assert read_captions(footage).clips[0].caption == "the sea"


def test_a_link_that_leads_out_is_no_caption(footage, tmp_path_factory):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.txt"
    secret.write_text("secret")
    try:
        (footage.root / "dance.txt").symlink_to(secret)
        (footage.root / "dance" / "frame_1.txt").symlink_to(secret)
    except OSError:
        pytest.skip("this system makes no links")

    assert current_caption(footage, footage.clip("dance")) == ""
    assert caption_files(footage, footage.clip("dance")) == []
    write_captions(captioned(footage, lambda clip: "new"))
    assert secret.read_text() == "secret"


def test_captions_are_written_beside_clips_and_pictures_and_read_again(footage):
    (footage.root / "dance" / "frame_2.txt").write_text("a jump")
    captioned_footage = captioned(footage, words_of)

    written = write_captions(captioned_footage, pictures=True)

    assert (footage.root / "dance.txt").read_bytes() == b"dance\n"
    assert (footage.root / "dance" / "frame_2.txt").read_text() == "a jump"
    assert len(written) == 1 + 3 + 1 + 2
    assert read_captions(footage) == captioned_footage
    assert [clip.caption for clip in captioned_footage.clips] == ["apply eye makeup", "dance"]
    assert not list(footage.root.rglob(".*"))


def test_a_caption_goes_into_the_file_that_it_was_read_from(footage):
    (footage.root / "dance" / "caption.txt").write_text("old")

    write_captions(captioned(footage, lambda clip: "new", overwrite=True))

    assert (footage.root / "dance" / "caption.txt").read_text() == "new\n"
    assert not (footage.root / "dance.txt").exists()


def test_captions_of_pictures_are_replaced_where_that_is_asked_for(footage):
    (footage.root / "dance" / "frame_2.caption").write_text("old")
    clip = captioned(footage, lambda clip: "new").clip("dance")

    assert len(write_picture_captions(footage, clip)) == 2
    assert (footage.root / "dance" / "frame_2.caption").read_text() == "old"
    assert len(write_picture_captions(footage, clip, overwrite=True)) == 3
    assert set(picture_captions(footage, clip).values()) == {"new"}


def test_captions_that_are_there_stay_unless_told_otherwise(footage):
    (footage.root / "dance.txt").write_text("a dance")

    def describe(clip):
        return f"new, after {clip.caption!r}" if clip.name == "dance" else ""

    assert [clip.caption for clip in captioned(footage, describe).clips] == ["", "a dance"]
    overwritten = captioned(footage, describe, overwrite=True)
    assert [clip.caption for clip in overwritten.clips] == ["", "new, after 'a dance'"]


def test_a_clip_without_a_caption_gets_no_file(footage):
    assert write_captions(footage, pictures=True) == []


def test_progress_is_told_and_cancels(footage):
    told = []
    captioned(footage, words_of, on_clip=lambda done, total: told.append((done, total)))

    def cancel(done, total):
        raise KeyboardInterrupt

    assert told == [(0, 2), (1, 2), (2, 2)]
    with pytest.raises(KeyboardInterrupt):
        write_captions(captioned(footage, words_of), on_clip=cancel)


@pytest.mark.parametrize(
    "template, caption",
    [
        ("a video of {class}", "a video of archery"),
        ("{caption}, {words}", "old, apply eye makeup"),
        ("{name} {source}", "v_ApplyEyeMakeup_g01_c02 a.avi"),
        ("{{{class}}} in {split}", "{archery} in train"),
        ("no token\nat all", "no token at all"),
    ],
)
def test_a_template_is_filled_in(template, caption):
    clip = Clip(name="Archery/v_ApplyEyeMakeup_g01_c02", frames=(), source="a.avi", split="train", caption="old")

    assert Template(template)(clip) == caption


@pytest.mark.parametrize(
    "template, caption",
    [("{caption}, {words}", "dance"), ("{words}, {caption}", "dance"), ("a, {caption}, {words}", "a, dance")],
)
def test_commas_around_nothing_go(template, caption):
    assert Template(template)(Clip(name="dance", frames=())) == caption


def test_what_is_filled_in_is_not_a_template():
    assert Template("{caption}")(Clip(name="a", frames=(), caption="{name} {0.__class__}")) == "{name} {0.__class__}"


@pytest.mark.parametrize(
    "template", ["{clas}", "{", "a } b", "{}", "{class.__init__}", "{0}", "{class!r}", "{class:>9}"]
)
def test_a_template_that_cannot_be_filled_in_is_refused_at_once(template):
    with pytest.raises(FootageError, match=r"These are filled in: \{class\}"):
        Template(template)


def test_an_empty_template_is_refused():
    with pytest.raises(FootageError, match="empty"):
        Template("  ")


def put_pictures(folder, count=2):
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (8, 6)).save(folder / f"{number}.png")


def test_a_folder_as_people_have_it_is_loaded_with_its_captions(tmp_path):
    for name in ("beside", "within", "each", "differ", "half", "none"):
        put_pictures(tmp_path / name)
    (tmp_path / "beside.txt").write_text("a man\nwalks")
    (tmp_path / "within" / "caption.txt").write_text("a dog")
    for place in (0, 1):
        (tmp_path / "each" / f"{place}.txt").write_text("a ball")
        (tmp_path / "differ" / f"{place}.txt").write_text(f"ball {place}")
    (tmp_path / "half" / "0.txt").write_text("a cat")

    footage, notes = load_footage(tmp_path)

    captions = {clip.name: clip.caption for clip in footage.clips}
    assert captions == {
        "beside": "a man walks",
        "within": "a dog",
        "each": "a ball",
        "differ": "",
        "half": "",
        "none": "",
    }
    assert notes == []


def test_a_file_comes_before_the_manifest_and_the_manifest_before_what_the_pictures_say(tmp_path):
    put_pictures(tmp_path / "clip")
    footage, _ = load_footage(tmp_path)
    update_manifest(footage.with_clips([Clip(name="clip", frames=("0.png", "1.png"), caption="manifest")]), "caption")
    for place in (0, 1):
        (tmp_path / "clip" / f"{place}.txt").write_text("pictures")

    assert load_footage(tmp_path)[0].clips[0].caption == "manifest"
    (tmp_path / "clip.txt").write_text("file")
    assert load_footage(tmp_path)[0].clips[0].caption == "file"


def test_a_caption_that_cannot_be_read_is_told_and_the_clip_is_there(tmp_path):
    put_pictures(tmp_path / "bad")
    put_pictures(tmp_path / "good")
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9")
    (tmp_path / "good.txt").write_text("good")

    footage, (note,) = load_footage(tmp_path)

    assert [clip.caption for clip in footage.clips] == ["", "good"]
    assert "cannot be read: bad. The first:" in note and "UTF-8" in note
