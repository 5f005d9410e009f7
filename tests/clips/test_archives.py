import io
import os
import stat
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from zoetrope.clips import archives
from zoetrope.clips.archives import unzip_footage, zip_footage
from zoetrope.clips.footage import MANIFEST, Footage, FootageError, read_footage, write_manifest
from zoetrope.media.errors import MediaError


def everything_in(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path):
    """Two clips with a manifest, captions, and a file that is none of footage's."""
    root = tmp_path / "set"
    noise = np.random.default_rng(3)
    for name in ("archery/v_Archery_g01_c02", "walk"):
        for number in (1, 2, 10):
            path = root / name / f"{name.split('/')[-1]}_frame_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(path)
    write_manifest(read_footage(root)[0])
    (root / "walk.txt").write_text("a walk\n" * 40)
    (root / "walk" / "walk_frame_2.txt").write_text("a step")
    (root / "notes.doc").write_text("stray")
    return root


def made(path, entries):
    """A zip of (name or ZipInfo, bytes)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in entries:
            archive.writestr(entry, data)
    return path


# Out


def test_a_zip_holds_the_footage_below_one_folder_and_nothing_else(root, tmp_path):
    path = zip_footage(read_footage(root)[0], tmp_path / "finetuning.zip")

    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        packed = {entry.filename.rpartition(".")[2]: entry.compress_type for entry in archive.infolist()}
    assert names == [
        "finetuning/footage.jsonl",
        *(f"finetuning/archery/v_Archery_g01_c02/v_Archery_g01_c02_frame_{number}.png" for number in (1, 2, 10)),
        "finetuning/walk.txt",
        "finetuning/walk/walk_frame_2.txt",
        *(f"finetuning/walk/walk_frame_{number}.png" for number in (1, 2, 10)),
    ]
    assert packed == {"jsonl": zipfile.ZIP_DEFLATED, "txt": zipfile.ZIP_DEFLATED, "png": zipfile.ZIP_STORED}


def test_what_was_zipped_comes_back_as_it_was(root, tmp_path):
    (root / "notes.doc").unlink()
    path = zip_footage(read_footage(root)[0], tmp_path / "a.zip", name="any name")

    unzipped = unzip_footage(path, tmp_path / "again")

    assert everything_in(tmp_path / "again") == everything_in(root)
    assert (unzipped.root, unzipped.files, unzipped.left_out) == (tmp_path / "again", 9, ())
    assert read_footage(tmp_path / "again")[0].clips == read_footage(root)[0].clips


def test_the_same_footage_gives_the_same_bytes(root, tmp_path):
    footage = read_footage(root)[0]
    first = zip_footage(footage, tmp_path / "a.zip").read_bytes()
    for path in root.rglob("*.png"):
        os.utime(path, (0, 0))
        path.chmod(0o600)

    second = zip_footage(footage.with_clips(reversed(footage.clips)), tmp_path / "b.zip").read_bytes()

    assert first == second


def test_frames_may_lie_in_the_root_itself(tmp_path):
    (tmp_path / "one").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "one" / "a.png")

    path = zip_footage(read_footage(tmp_path / "one")[0], tmp_path / "one.zip")

    assert zipfile.ZipFile(path).namelist() == ["finetuning/a.png"]


def test_footage_without_clips_is_refused(tmp_path):
    with pytest.raises(FootageError, match="no clip"):
        zip_footage(Footage(tmp_path, ()), tmp_path / "new.zip")

    assert not (tmp_path / "new.zip").exists()


def test_a_zip_that_is_given_up_leaves_the_old_one(root, tmp_path):
    target = tmp_path / "finetuning.zip"
    target.write_bytes(b"old")
    told = []

    def cancel(done, total):
        told.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        zip_footage(read_footage(root)[0], target, on_file=cancel)

    assert told == [(0, 9), (1, 9), (2, 9), (3, 9)]
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["finetuning.zip", "set"]


def test_a_frame_that_has_gone_is_told(root, tmp_path):
    footage = read_footage(root)[0]
    (root / "walk" / "walk_frame_10.png").unlink()

    with pytest.raises(FootageError, match="walk_frame_10.png is not there any more"):
        zip_footage(footage, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "/a", "C:", "a\\b", "aux", "a.", "x" * 300])
def test_a_folder_in_the_zip_has_a_plain_name(root, tmp_path, name):
    with pytest.raises(FootageError, match="The folder in the zip is called"):
        zip_footage(read_footage(root)[0], tmp_path / "a.zip", name=name)


def test_names_that_others_could_not_unpack_are_refused_before_they_are_sent(tmp_path):
    for name in ("Walk", "walk"):
        (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / "set" / name / "a.png")
    footage = read_footage(tmp_path / "set")[0]
    if len(footage.clips) < 2:
        pytest.skip("this system takes the two for one already")

    with pytest.raises(FootageError, match="one file on some systems"):
        zip_footage(footage, tmp_path / "a.zip")


# In


@pytest.mark.parametrize(
    "name, why",
    [
        ("../a.png", "lead out"),
        ("a/../../b.png", "lead out"),
        ("/etc/passwd", "lead out"),
        ("C:/a.png", "lead out"),
        ("c:a.png", "lead out"),
        ("//server/share/a.png", "lead out"),
        ("a//b.png", "lead out"),
        ("./a.png", "lead out"),
        ("a/./b.png", "lead out"),
        ("..\\a.png", "Windows"),
        ("\\\\server\\a.png", "Windows"),
        ("a\\b.png", "Windows"),
        ("a/nul.png", "device"),
        ("COM1", "device"),
        ("a:b.png", "lead out"),
        ("ab:c.png", "character"),
        ("a?.png", "character"),
        ("a\nb.png", "character"),
        ("a\x1b[2Jb.png", "character"),
        ("a/b.png.", "ends in one"),
        ("a /b.png", "ends in one"),
        ("x" * 250 + ".png", "too long"),
        ("d/" * 600 + "a.png", "too long"),
    ],
)
def test_an_entry_with_a_name_that_is_not_plain_is_refused_and_nothing_is_left(tmp_path, name, why):
    path = made(tmp_path / "a.zip", [("good/a.png", b"1"), (name, b"2")])

    with pytest.raises(FootageError, match=why) as refused:
        unzip_footage(path, tmp_path / "out")

    assert "\x1b" not in str(refused.value)
    assert [each.name for each in tmp_path.iterdir()] == ["a.zip"]


def test_a_name_with_a_hidden_end_is_refused(tmp_path):
    """zipfile cuts a name at a NUL, so that what is checked would not be what is announced."""
    path = made(tmp_path / "a.zip", [("aXpng", b"1")])
    path.write_bytes(path.read_bytes().replace(b"aXpng", b"a\0png"))

    with pytest.raises(FootageError, match="character"):
        unzip_footage(path, tmp_path / "out")


@pytest.mark.parametrize("kind, what", [(stat.S_IFLNK, "a link"), (stat.S_IFIFO, "neither"), (stat.S_IFCHR, "neither")])
def test_links_and_devices_are_refused(tmp_path, kind, what):
    entry = zipfile.ZipInfo("a/frame.png")
    entry.external_attr = (kind | 0o777) << 16

    with pytest.raises(FootageError, match=f"is {what}"):
        unzip_footage(made(tmp_path / "a.zip", [(entry, b"/etc/passwd")]), tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("other", ["a/b.png", "A/b.PNG", "a/b.png/"])
def test_two_entries_of_one_name_are_refused(tmp_path, other):
    with pytest.raises(FootageError, match="one file on some systems"):
        unzip_footage(made(tmp_path / "a.zip", [("a/b.png", b"1"), (other, b"")]), tmp_path / "out")


def test_accents_in_two_spellings_are_one_name(tmp_path):
    with pytest.raises(FootageError, match="one file on some systems"):
        unzip_footage(made(tmp_path / "a.zip", [("caf\u00e9", b"1"), ("cafe\u0301", b"2")]), tmp_path / "out")


def test_a_file_is_no_folder(tmp_path):
    with pytest.raises(FootageError, match="as a file and 'a/b.png' in a folder"):
        unzip_footage(made(tmp_path / "a.zip", [("a", b"1"), ("a/b.png", b"2")]), tmp_path / "out")


def test_a_bomb_is_not_unpacked(tmp_path):
    zeros = bytes(2**20)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a", "w") as file:
        for _ in range(300):
            file.write(zeros)

    with pytest.raises(FootageError, match=r"its 0\.3 MiB would unpack to 0\.3 GiB"):
        unzip_footage(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_black_pictures_are_no_bomb(tmp_path):
    path = made(tmp_path / "a.zip", [(f"a/{number}.bmp", bytes(2**20)) for number in range(3)])

    assert unzip_footage(path, tmp_path / "out").files == 3


def test_entries_that_share_their_bytes_are_refused(tmp_path):
    """A small file whose list names the same bytes many times unpacks to a large one."""
    path = made(tmp_path / "a.zip", [("aaa.png", os.urandom(5000)), ("aab.png", os.urandom(5000))])
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entry = bytes(data[directory : directory + 46 + 7])
    extra = b"".join(entry[:46] + f"ac{letter}.png".encode() for letter in "abcdefgh")
    counts = struct.pack("<HHL", 10, 10, end - directory + len(extra))
    path.write_bytes(data[:end] + extra + data[end : end + 8] + counts + data[end + 16 :])
    assert len(zipfile.ZipFile(path).namelist()) == 10

    with pytest.raises(FootageError, match="share their bytes"):
        unzip_footage(path, tmp_path / "out")


@pytest.mark.parametrize(
    "limit, value, why",
    [
        ("MOST_ENTRIES", 2, "it holds 3 entries"),
        ("LARGEST_FILE_BYTES", 10, "'b.png' would unpack"),
        ("LARGEST_TOTAL_BYTES", 20, "as no pictures do"),
        ("LARGEST_DIRECTORY_BYTES", 100, "list of entries"),
    ],
)
def test_limits_hold_before_anything_is_written(tmp_path, monkeypatch, limit, value, why):
    path = made(tmp_path / "a.zip", [("a.png", b"1" * 5), ("b.png", b"2" * 11), ("c.png", b"3" * 9)])
    monkeypatch.setattr(archives, limit, value)

    with pytest.raises(FootageError, match=why):
        unzip_footage(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_disk_without_room_is_told_before_it_is_full(tmp_path, monkeypatch):
    path = made(tmp_path / "a.zip", [("a.png", b"1" * 5000)])
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100}))

    with pytest.raises(FootageError, match="are free on that disk"):
        unzip_footage(path, tmp_path / "out")


def announced(path, size):
    """Change what the zip's list says of the size of its only entry."""
    data = bytearray(path.read_bytes())
    data[(place := data.index(b"PK\x01\x02") + 24) : place + 4] = struct.pack("<L", size)
    path.write_bytes(data)


@pytest.mark.parametrize("size", [1, 999, 1001, 5000])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_entry_of_another_size_than_announced_is_refused(tmp_path, size, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.png", b"x" * 1000)
    announced(tmp_path / "a.zip", size)

    with pytest.raises(FootageError, match="damaged or cut off|is cut off"):
        unzip_footage(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_copying_stops_at_the_announced_size_whatever_the_reader_does():
    entry = zipfile.ZipInfo("a.png")
    entry.file_size = 10

    written = io.BytesIO()
    with pytest.raises(FootageError, match="goes on after"):
        archives._copied(io.BytesIO(b"x" * 11), written, entry, "a.zip")

    assert not written.getvalue()


def test_a_password_is_told(tmp_path):
    path = made(tmp_path / "a.zip", [("a.png", b"1")])
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)

    with pytest.raises(FootageError, match="protected by a password"):
        unzip_footage(path, tmp_path / "out")


def test_a_method_that_others_lack_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", b"1")

    with pytest.raises(FootageError, match="packed by method 14"):
        unzip_footage(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("damage", [lambda data: b"no zip", lambda data: b"", lambda data: data[: len(data) // 2]])
def test_what_is_no_zip_is_told(root, tmp_path, damage):
    path = zip_footage(read_footage(root)[0], tmp_path / "a.zip")
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(FootageError, match=r"a\.zip is no zip file, or is damaged"):
        unzip_footage(path, tmp_path / "out")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.zip", "set"]


def test_a_flipped_bit_is_noticed(root, tmp_path):
    path = zip_footage(read_footage(root)[0], tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    data[data.index(b"\x89PNG") + 60] ^= 1
    path.write_bytes(data)

    with pytest.raises(FootageError, match="Bad CRC"):
        unzip_footage(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name, why", [("none.zip", "does not exist"), ("set", "is a folder")])
def test_a_file_that_is_not_there_is_told(root, tmp_path, name, why):
    with pytest.raises(FootageError, match=why):
        unzip_footage(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("entries", [[], [("a/", b"")], [("__MACOSX/._a.png", b"1")]])
def test_a_zip_without_files_is_told(tmp_path, entries):
    with pytest.raises(FootageError, match="holds no files"):
        unzip_footage(made(tmp_path / "a.zip", entries), tmp_path / "out")


def test_litter_of_systems_is_left_out_and_told(tmp_path):
    litter = ["__MACOSX/a/._1.png", "a/.DS_Store", "a/._1.png", "a/Thumbs.db"]
    path = made(tmp_path / "x.zip", [("a/1.png", b"1"), ("b/.hidden/2.png", b"2"), *((name, b"0") for name in litter)])

    unzipped = unzip_footage(path, tmp_path / "out")

    assert unzipped.left_out == tuple(litter)
    assert everything_in(tmp_path / "out") == {"a/1.png": b"1", "b/.hidden/2.png": b"2"}


@pytest.mark.parametrize(
    "names, expected",
    [
        (["finetuning/a/1.png", "finetuning/b/1.png"], {"a/1.png", "b/1.png"}),
        (["x/a/1.png", "x/b/1.png"], {"a/1.png", "b/1.png"}),  # the zip is called x.zip
        ([f"any/{MANIFEST}", "any/a.png"], {MANIFEST, "a.png"}),
        (["archery/a/1.png", "archery/b/1.png"], {"archery/a/1.png", "archery/b/1.png"}),  # a class, not a wrapping
        (["finetuning/1.png"], {"finetuning/1.png"}),  # a clip
        (["finetuning/a/1.png", "b/1.png"], {"finetuning/a/1.png", "b/1.png"}),
        (["1.png"], {"1.png"}),
    ],
)
def test_the_folder_around_all_footage_is_taken_off(tmp_path, names, expected):
    unzip_footage(made(tmp_path / "x.zip", [(name, b"") for name in names]), tmp_path / "out")

    assert set(everything_in(tmp_path / "out")) == expected


def test_a_folder_in_use_is_left_alone(root, tmp_path):
    path = zip_footage(read_footage(root)[0], tmp_path / "a.zip")
    before = everything_in(root)

    with pytest.raises(MediaError, match="not an empty folder"):
        unzip_footage(path, root)

    assert everything_in(root) == before


def test_unpacking_that_is_given_up_leaves_nothing(root, tmp_path):
    path = zip_footage(read_footage(root)[0], tmp_path / "a.zip")

    def cancel(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unzip_footage(path, tmp_path / "deep" / "out", on_file=cancel)

    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.zip", "set"]
