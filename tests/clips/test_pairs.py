import pickle
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoetrope.clips.footage import Clip, Footage, FootageError, read_footage
from zoetrope.clips.pairs import FramePairs, PairOptions, cuts_of, write_pairs
from zoetrope.media.errors import MediaError


def footage_of(*lengths):
    """Clips of so many frames each, without any file."""
    clips = (
        Clip(name=f"clip{number}", frames=tuple(f"{place}.png" for place in range(length)), width=8, height=6)
        for number, length in enumerate(lengths)
    )
    return Footage(Path("root"), tuple(clips))


@pytest.fixture
def root(tmp_path):
    """Two clips whose frames tell by their colour which they are, and which clip's."""
    for number, (name, length) in enumerate((("dance/one", 5), ("two", 3))):
        for place in range(length):
            path = tmp_path / "set" / name / f"f_{place + 1}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6), (50 * number, 10 * place, 7)).save(path)
    return tmp_path / "set"


def plain_pairs(footage, options, cuts):
    """The same in other words: try every window, and keep those that no cut lies in."""
    found = []
    for clip in footage.clips:
        scenes = sorted({0, *cuts.get(clip.name, ())})
        for t in range(len(clip.frames)):
            places = tuple(t - options.spacing * back for back in reversed(range(options.context)))
            target = t + options.step
            if places[0] < 0 or target >= len(clip.frames):
                continue
            scene = max(start for start in scenes if start <= places[0])
            is_cut = any(places[0] < start <= target for start in scenes)
            if not is_cut and (places[0] - scene) % options.stride == 0:
                found.append((clip.name, places, target))
    return found


sizes = st.integers(1, 5)
options_of_pairs = st.builds(
    lambda step, stride, context, spacing: PairOptions(step=step, stride=stride, context=context, spacing=spacing),
    sizes,
    sizes,
    sizes,
    sizes,
)


@given(
    st.lists(st.integers(0, 30), max_size=5),
    options_of_pairs,
    st.dictionaries(st.integers(0, 4), st.lists(st.integers(0, 29), max_size=4), max_size=3),
)
def test_pairs_are_those_that_trying_every_window_finds(lengths, options, cuts):
    footage = footage_of(*lengths)
    cuts = {
        f"clip{number}": [place for place in places if place < lengths[number]]
        for number, places in cuts.items()
        if number < len(lengths)
    }

    pairs = FramePairs(footage, options, cuts)

    assert [(pair.clip, pair.places, pair.target) for pair in pairs] == plain_pairs(footage, options, cuts)


def test_a_pair_is_as_the_picture_in_the_module_shows():
    pairs = FramePairs(footage_of(9), PairOptions(context=3, spacing=2, step=4))

    assert len(pairs) == 1
    assert (pairs[0].places, pairs[0].target) == ((0, 2, 4), 8)
    assert [path.as_posix() for path in pairs[0].paths] == ["root/clip0/0.png", "root/clip0/2.png", "root/clip0/4.png"]
    assert pairs[0].target_path.as_posix() == "root/clip0/8.png"


def test_no_pair_reaches_across_a_cut():
    pairs = FramePairs(footage_of(10), PairOptions(step=2, context=2), {"clip0": [4]})

    assert [(pair.places, pair.target) for pair in pairs] == [
        ((0, 1), 3),
        ((4, 5), 7),
        ((5, 6), 8),
        ((6, 7), 9),
    ]


def test_pairs_are_a_sequence():
    pairs = FramePairs(footage_of(4, 3))

    assert len(pairs) == 5
    assert pairs[-1] == pairs[4] == pairs[torch.tensor(4)] == pairs[np.int64(4)]
    assert pairs[1:5:2] == [pairs[1], pairs[3]]
    assert list(reversed(pairs)) == list(pairs)[::-1]
    for outside in (5, -6):
        with pytest.raises(IndexError, match="There are 5 pairs"):
            pairs[outside]
    with pytest.raises(TypeError):
        pairs["one"]


def test_without_pairs_the_sequence_is_empty():
    assert list(FramePairs(footage_of(1, 0, 5), PairOptions(step=9))) == []
    assert len(FramePairs(footage_of())) == 0


def test_a_million_frames_are_cheap():
    frames = tuple(map(str, range(1000)))
    footage = Footage(Path("root"), tuple(Clip(name=f"c{number}", frames=frames) for number in range(1000)))
    started = time.process_time()

    pairs = FramePairs(footage, PairOptions(step=3))
    own = {name: value for name, value in vars(pairs).items() if name not in ("footage", "options")}
    for index in range(0, len(pairs), 1000):
        pairs[index]

    assert len(pairs) == 997_000
    assert sum(sys.getsizeof(value) for value in own.values()) < 50_000
    assert time.process_time() - started < 1  # asking each pair in turn for its place would take minutes


def test_pixels_are_read_when_they_are_asked_for(root):
    pairs = FramePairs(read_footage(root)[0], PairOptions(context=2, step=2))

    loaded = pairs.load(1)

    assert loaded.context.shape == (2, 6, 8, 3) and loaded.target.shape == (1, 6, 8, 3)
    assert loaded.context.dtype == torch.float32
    assert (loaded.context[:, 0, 0, 1] * 255).round().tolist() == [10, 20]
    assert (loaded.target[:, 0, 0] * 255).round().tolist() == [[0, 40, 7]]


@pytest.mark.parametrize(
    "mode, value, expected", [("L", 90, [90] * 3), ("RGBA", (9, 8, 7, 0), [9, 8, 7]), ("1", 1, [255] * 3)]
)
def test_other_kinds_of_pictures_become_colours(root, mode, value, expected):
    Image.new(mode, (8, 6), value).save(root / "two" / "f_2.png")

    loaded = FramePairs(read_footage(root)[0].with_clips([read_footage(root)[0].clip("two")])).load(0)

    assert (loaded.target[0, 0, 0] * 255).round().tolist() == expected


def test_mixed_sizes_are_told_with_both(root, tmp_path):
    Image.new("RGB", (10, 6)).save(root / "two" / "f_2.png")
    pairs = FramePairs(read_footage(root)[0])

    with pytest.raises(FootageError, match="f_2.png of two is 10x6, and f_1.png is 8x6"):
        pairs.load(4)
    with pytest.raises(FootageError, match="10x6"):
        write_pairs(pairs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_picture_is_told(root):
    pairs = FramePairs(read_footage(root)[0])
    (root / "two" / "f_3.png").write_bytes(b"broken")

    with pytest.raises(MediaError, match="f_3.png is no picture"):
        pairs.load(-1)


def test_pairs_travel_to_other_processes_and_are_shared_by_threads(root):
    pairs = FramePairs(read_footage(root)[0], PairOptions(context=2), {"two": [2]})

    there = pickle.loads(pickle.dumps(pairs))  # noqa: S301 - as a loader with workers does
    with ThreadPoolExecutor(4) as threads:
        loaded = list(threads.map(there.load, list(range(len(pairs))) * 4))

    assert list(there) == list(pairs)
    for index, each in enumerate(loaded):
        assert torch.equal(each.target, pairs.load(index % len(pairs)).target)


def test_a_loader_of_torch_takes_them(root):
    pairs = FramePairs(read_footage(root)[0])
    loader = torch.utils.data.DataLoader(
        range(len(pairs)), batch_size=3, collate_fn=lambda batch: list(map(pairs.load, batch))
    )

    assert [len(batch) for batch in loader] == [3, 3]


@pytest.mark.parametrize("name", ["step", "stride", "context", "spacing"])
def test_options_count_frames(name):
    with pytest.raises(FootageError, match=f"{name} is 0"):
        PairOptions(**{name: 0})


@pytest.mark.parametrize(
    "cuts, why",
    [({"clip0": [4]}, "cut at frame 4"), ({"clip0": [-1, 2]}, "frame -1"), ({"other": [1]}, "'other', which is no")],
)
def test_cuts_that_cannot_be_are_told(cuts, why):
    with pytest.raises(FootageError, match=why):
        FramePairs(footage_of(4), cuts=cuts)


def test_cuts_are_found_in_the_pictures(tmp_path):
    for place in range(12):
        color = (20 + place, 30, 40) if place < 7 else (220, 200 - place, 30)
        (tmp_path / "clip").mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), color).save(tmp_path / "clip" / f"{place}.png")
    told = []

    cuts = cuts_of(read_footage(tmp_path)[0], lambda done, total: told.append((done, total)))

    assert cuts == {"clip": [7]}
    assert told == [(0, 1), (1, 1)]


# Written out


def green(path):
    return Image.open(path).getpixel((0, 0))[1]


@pytest.mark.parametrize("link", [True, False])
def test_pairs_are_written_as_folders_of_equal_names(root, tmp_path, link):
    folders = write_pairs(FramePairs(read_footage(root)[0], PairOptions(step=2)), tmp_path / "out", link=link)

    assert folders == {"input": tmp_path / "out" / "input", "target": tmp_path / "out" / "target"}
    names = ["dance_one_000000.png", "dance_one_000001.png", "dance_one_000002.png", "two_000000.png"]
    for folder in folders.values():
        assert sorted(path.name for path in folder.iterdir()) == names
    assert [green(folders["input"] / name) for name in names] == [0, 10, 20, 0]
    assert [green(folders["target"] / name) for name in names] == [20, 30, 40, 20]
    shares_room = (folders["input"] / names[2]).samefile(folders["target"] / names[0])
    assert shares_room == link


def test_each_frame_of_the_context_has_a_folder(root, tmp_path):
    folders = write_pairs(FramePairs(read_footage(root)[0], PairOptions(context=3)), tmp_path / "out")

    assert list(folders) == ["input", "input-1", "input-2", "target"]
    first = {name: green(folder / "dance_one_000002.png") for name, folder in folders.items()}
    assert first == {"input-2": 0, "input-1": 10, "input": 20, "target": 30}


def test_where_the_disk_makes_no_links_files_are_copied(root, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("zoetrope.clips.pairs.os.link", refuse)

    folders = write_pairs(FramePairs(read_footage(root)[0]), tmp_path / "out")

    assert green(folders["target"] / "two_000001.png") == 20
    assert (folders["target"] / "two_000001.png").stat().st_nlink == 1


def test_clips_whose_names_would_be_one_keep_apart(root, tmp_path):
    footage = read_footage(root)[0]
    clip = footage.clip("two")
    for name in ("dance_one", "Dance_One-2"):
        (root / name).mkdir()
        for frame in clip.frames:
            (root / name / frame).write_bytes((root / "two" / frame).read_bytes())
    footage = footage.with_clips([*footage.clips, replace(clip, name="dance_one"), replace(clip, name="Dance_One-2")])

    folders = write_pairs(FramePairs(footage), tmp_path / "out")

    names = {path.name.casefold() for path in folders["input"].iterdir()}
    assert len(names) == len(FramePairs(footage))


def test_a_clip_of_two_formats_is_told(root, tmp_path):
    Image.new("RGB", (8, 6)).save(root / "two" / "f_4.jpg")

    with pytest.raises(FootageError, match=r"two holds \.jpg and \.png files"):
        write_pairs(FramePairs(read_footage(root)[0]), tmp_path / "out")


def test_writing_that_is_given_up_leaves_nothing(root, tmp_path):
    def cancel(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(FramePairs(read_footage(root)[0]), tmp_path / "out", on_pair=cancel)

    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_no_pair_at_all_is_told_with_what_one_needs(root, tmp_path):
    with pytest.raises(FootageError, match="has the 8 frames that one needs"):
        write_pairs(FramePairs(read_footage(root)[0], PairOptions(step=3, context=5)), tmp_path / "out")


def test_frames_in_the_root_itself_take_its_name(root, tmp_path):
    folders = write_pairs(FramePairs(read_footage(root / "two")[0]), tmp_path / "out")

    assert sorted(path.name for path in folders["target"].iterdir()) == ["two_000000.png", "two_000001.png"]


def test_a_frame_that_has_gone_is_told(root, tmp_path):
    pairs = FramePairs(read_footage(root)[0])
    (root / "two" / "f_3.png").unlink()

    with pytest.raises(FootageError, match=r"f_3\.png is not there any more"):
        write_pairs(pairs, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
