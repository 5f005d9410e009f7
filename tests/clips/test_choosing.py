import os
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoetrope.clips.choosing import (
    ActionVideo,
    SplitOptions,
    choose_per_class,
    copy_videos,
    count_table,
    drawn_number,
    find_actions,
    groups_on_two_sides,
    missing_classes,
    notes_on_split,
    others_in,
    split_footage,
)
from zoetrope.clips.footage import SPLITS, Clip, Footage, FootageError, write_manifest
from zoetrope.clips.naming import class_of, group_of

# K videos of each class


@pytest.fixture
def source(tmp_path):
    """Three classes in UCF's layout, their files empty but for their names."""
    for action, groups in (("Archery", 3), ("ApplyEyeMakeup", 2), ("YoYo", 1)):
        for group in range(1, groups + 1):
            for number in (1, 2):
                path = tmp_path / "UCF" / action / f"v_{action}_g{group:02}_c{number:02}.avi"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(path.name.encode())
    return tmp_path / "UCF"


def names(videos):
    return [video.below for video in videos]


def test_videos_are_found_with_the_class_of_their_folder(source, tmp_path):
    videos, notes = find_actions(source, tmp_path / "out")

    assert Counter(video.action for video in videos) == {"Archery": 6, "ApplyEyeMakeup": 4, "YoYo": 2}
    assert notes == []


def test_case_and_odd_names_are_tolerated_and_told(source, tmp_path):
    for name in ("archery/V_ARCHERY_G09_C01.AVI", "Archery/holiday.mp4", "YoYo/v_Yo_Yo_g02_c01.avi"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(b"")
    (source / "YoYo" / "v_Archery_g01_c09.avi").write_bytes(b"")
    (source / "v_Fencing_g01_c01.avi").write_bytes(b"")
    (source / "alone.avi").write_bytes(b"")

    videos, notes = find_actions(source, tmp_path / "out")

    by_class = Counter(video.action.casefold() for video in videos)
    assert by_class == {"archery": 8, "applyeyemakeup": 4, "yoyo": 4, "fencing": 1}
    assert len({video.action for video in videos}) == 4, "one spelling a class"
    assert sorted(notes) == [
        "Left out, because neither a folder nor the name tells the class of these: alone.avi.",
        "Their folder and not their name is taken for the class of these: YoYo/v_Archery_g01_c09.avi.",
        "These are not called like v_Class_g01_c02, so each is a group of its own: Archery/holiday.mp4.",
    ]


def test_a_folder_without_classes_is_told(tmp_path):
    (tmp_path / "alone.avi").write_bytes(b"")

    with pytest.raises(FootageError, match="tells its class"):
        find_actions(tmp_path, tmp_path / "out")


def test_so_many_of_each_class_are_drawn(source, tmp_path):
    videos, _ = find_actions(source, tmp_path / "out")

    chosen, notes = choose_per_class(videos, 3, seed=5)

    assert Counter(video.action for video in chosen) == {"ApplyEyeMakeup": 3, "Archery": 3, "YoYo": 2}
    assert notes == ["All that there is was taken of the classes with fewer than 3: YoYo (2)."]
    assert names(choose_per_class(videos[::-1], 3, seed=5)[0]) == names(chosen)
    assert any(names(choose_per_class(videos, 3, seed=seed)[0]) != names(chosen) for seed in range(5))


def test_more_of_a_class_are_the_same_and_more(source, tmp_path):
    videos, _ = find_actions(source, tmp_path / "out")

    few, many = (set(names(choose_per_class(videos, count)[0])) for count in (2, 4))

    assert few < many


def test_some_classes_may_be_named(source, tmp_path):
    videos, _ = find_actions(source, tmp_path / "out")

    chosen, _ = choose_per_class(videos, 1, classes=["yoyo", "ARCHERY", "YoYo"])

    assert [video.action for video in chosen] == ["YoYo", "Archery"]


def test_wishes_that_cannot_be_met_are_told(source, tmp_path):
    videos, _ = find_actions(source, tmp_path / "out")

    with pytest.raises(FootageError, match="no class 'Arch'.*Did you mean Archery"):
        choose_per_class(videos, 1, classes=["Arch"])
    with pytest.raises(FootageError, match="no class 'zzz' among the 3. There are ApplyEyeMakeup, Archery, YoYo"):
        choose_per_class(videos, 1, classes=["zzz"])
    with pytest.raises(FootageError, match="Ask for 1 or more"):
        choose_per_class(videos, 0)


def test_two_videos_for_one_place_are_refused(tmp_path):
    videos = [ActionVideo(tmp_path / "one" / "Run" / "a.avi", "Run"), ActionVideo(tmp_path / "Run" / "A.avi", "Run")]

    with pytest.raises(FootageError, match="would both become"):
        choose_per_class(videos, 2)


def test_chosen_videos_are_copied_once(source, tmp_path):
    out = tmp_path / "chosen"
    chosen, _ = choose_per_class(find_actions(source, out)[0], 2)
    os.utime(chosen[0].path, (1e9, 1e9))

    copied = copy_videos(chosen, out)

    assert [path.relative_to(out).as_posix() for path in copied] == names(chosen)
    assert [path.read_bytes() for path in copied] == [video.path.read_bytes() for video in chosen]
    assert copy_videos(chosen, out) == []
    assert len(list(out.rglob("*.*"))) == 6


def test_copying_goes_on_where_it_was_given_up(source, tmp_path):
    chosen, _ = choose_per_class(find_actions(source, tmp_path / "out")[0], 2)

    def cancel(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_videos(chosen, tmp_path / "out", cancel)
    half = sorted(path.name for path in (tmp_path / "out").rglob("*.*"))
    assert len(half) == 2

    assert len(copy_videos(chosen, tmp_path / "out")) == len(chosen) - 2


def test_a_video_that_cannot_be_read_is_told(source, tmp_path):
    chosen, _ = choose_per_class(find_actions(source, tmp_path / "out")[0], 1)
    chosen[1].path.unlink()
    chosen[1].path.symlink_to("nowhere.avi")

    with pytest.raises(FootageError, match=f"{chosen[1].path.name} cannot be copied"):
        copy_videos(chosen, tmp_path / "out")


def test_a_video_that_changed_is_copied_again(source, tmp_path):
    chosen, _ = choose_per_class(find_actions(source, tmp_path / "out")[0], 1)
    copy_videos(chosen, tmp_path / "out")
    chosen[1].path.write_bytes(b"new")

    assert [path.read_bytes() for path in copy_videos(chosen, tmp_path / "out")] == [b"new"]


def test_what_was_chosen_earlier_is_neither_a_source_nor_forgotten(source):
    out = source / "chosen"
    chosen, _ = choose_per_class(find_actions(source, out)[0], 2)
    copy_videos(chosen, out)

    again, _ = find_actions(source, out)

    assert len(again) == 12
    assert others_in(out, chosen) == []
    assert others_in(out, chosen[1:]) == [chosen[0].below]


# Train, validation and test


def clips_of(*layout, frames=2):
    """Clips class/v_Class_g01_c01 of (class, group, how many)."""
    return tuple(
        Clip(name=f"{action}/v_{action}_g{group:02}_c{number:02}", frames=tuple(f"{n}.png" for n in range(frames)))
        for action, group, count in layout
        for number in range(1, count + 1)
    )


@pytest.fixture(scope="module")
def ucf(tmp_path_factory):
    """As large as UCF101: 101 classes of 25 groups of 4 to 7 clips."""
    layout = [
        (f"Class{action}", group, 4 + (7 * action + 5 * group) % 4) for action in range(101) for group in range(1, 26)
    ]
    return Footage(tmp_path_factory.mktemp("ucf"), clips_of(*layout))


def sides(footage):
    return {clip.name: clip.split for clip in footage.clips}


def shares(footage):
    counts = Counter(clip.split for clip in footage.clips)
    return [counts[split] / len(footage.clips) for split in SPLITS]


@pytest.mark.parametrize(
    "options, within",
    [
        (SplitOptions(), 0.001),
        (SplitOptions(seed=7, train=0.5, validation=0.25, test=0.25), 0.001),
        (SplitOptions(by="clip"), 0.0002),
        (SplitOptions(across_classes=True), 0.05),  # there are but 25 groups, of 4 % each
        (SplitOptions(train=0.7, validation=0, test=0.3), 0.001),
        (SplitOptions(train=0, validation=0, test=1), 0),
    ],
)
def test_a_data_set_is_split_as_asked(ucf, options, within):
    split = split_footage(ucf, options)

    assert shares(split) == pytest.approx(list(map(float, options.ratios.values())), abs=within)
    assert missing_classes(split, options) == []
    if options.by == "group":
        assert groups_on_two_sides(split, across_classes=options.across_classes) == []
    for action in ("Class0", "Class57"):
        own = Footage(ucf.root, tuple(clip for clip in split.clips if class_of(clip) == action))
        assert shares(own) == pytest.approx(list(map(float, options.ratios.values())), abs=0.12)


def test_splitting_by_clip_tears_groups_apart_and_says_so(ucf):
    assert len(groups_on_two_sides(split_footage(ucf, SplitOptions(by="clip")))) > 100


def test_another_seed_gives_another_split(ucf):
    one, other = (sides(split_footage(ucf, SplitOptions(seed=seed))) for seed in (0, 1))

    assert sum(one[name] != other[name] for name in one) > len(one) / 10


layouts = st.lists(
    st.tuples(st.sampled_from(["Run", "walk", "Jump Rope"]), st.integers(1, 12), st.integers(1, 5)),
    min_size=1,
    max_size=25,
    unique_by=lambda entry: entry[:2],
)
ratios = st.sampled_from(
    [
        (0.8, 0.1, 0.1),
        (0.5, 0.25, 0.25),
        (0.9, 0.1, 0),
        (0, 0.5, 0.5),
        (1, 0, 0),
        (0.34, 0.33, 0.33),
        (0.98, 0.01, 0.01),
    ]
)
options_of_splits = st.builds(
    lambda shares, seed, by, across: SplitOptions(
        train=shares[0],
        validation=shares[1],
        test=shares[2],
        seed=seed,
        by=by,
        across_classes=across and by == "group",
    ),
    ratios,
    st.integers(-(2**63), 2**63),
    st.sampled_from(["group", "clip"]),
    st.booleans(),
)


def footage_of(layout):
    return Footage("nowhere", clips_of(*layout))


@given(layouts, options_of_splits)
def test_no_group_is_on_two_sides_and_no_clip_is_lost(layout, options):
    footage = footage_of(layout)

    split = split_footage(footage, options)

    assert [clip.name for clip in split.clips] == [clip.name for clip in footage.clips]
    assert {clip.split for clip in split.clips} <= {name for name in SPLITS if options.ratios[name]}
    groups = defaultdict(set)
    for clip in split.clips:  # said in other words than the code says it
        together = {"clip": clip.name, "group": (group_of(clip), "" if options.across_classes else class_of(clip))}
        groups[together[options.by]].add(clip.split)
    assert all(len(found) == 1 for found in groups.values())


@given(layouts, options_of_splits, st.randoms(use_true_random=False))
def test_the_same_seed_gives_the_same_split_in_whatever_order_clips_come(layout, options, shuffler):
    footage = footage_of(layout)
    shuffled = list(footage.clips)
    shuffler.shuffle(shuffled)

    assert sides(split_footage(footage, options)) == sides(split_footage(footage.with_clips(shuffled), options))


@given(layouts, options_of_splits.filter(lambda options: not options.across_classes))
def test_every_class_with_enough_groups_is_in_every_split(layout, options):
    split = split_footage(footage_of(layout), options)

    asked = {name for name in SPLITS if options.ratios[name]}
    units, present = defaultdict(set), defaultdict(set)
    for clip in split.clips:
        units[class_of(clip)].add(group_of(clip) if options.by == "group" else clip.name)
        present[class_of(clip)].add(clip.split)
    for action in units:
        if len(units[action]) >= len(asked):
            assert present[action] == asked


@given(layouts, options_of_splits.filter(lambda options: not options.across_classes))
def test_counts_are_near_the_ratios(layout, options):
    """Off by less than two groups, but for what small classes need to be in every split."""
    footage = footage_of(layout)
    largest = max(count for *_, count in layout) if options.by == "group" else 1
    asked = [ratio for ratio in options.ratios.values() if ratio]
    classes = Counter(class_of(clip) for clip in footage.clips)
    small = sum(min(asked) * count < 2 * largest for count in classes.values())

    counts = Counter(clip.split for clip in split_footage(footage, options).clips)

    for name, ratio in options.ratios.items():
        assert abs(counts[name] - ratio * len(footage.clips)) <= 2 * largest + small * largest * (len(asked) - 1)


@given(st.integers(0, 200), st.integers(0, 5))
def test_clips_of_no_class_are_shared_out_to_the_clip(count, seed):
    footage = Footage("nowhere", tuple(Clip(name=f"clip {number}", frames=()) for number in range(count)))

    counts = Counter(clip.split for clip in split_footage(footage, SplitOptions(seed=seed)).clips)

    if count >= 10:
        assert all(abs(counts[name] - ratio * count) < 1 for name, ratio in SplitOptions().ratios.items())


def test_one_video_under_two_names_stays_on_one_side():
    clips = [
        Clip(name=f"{name}/{name}", frames=(), sha256=sha) for name, sha in zip("abcdefgh", "11233455", strict=True)
    ]
    for seed in range(10):
        split = split_footage(
            Footage("nowhere", tuple(clips)), SplitOptions(train=0.5, validation=0.25, test=0.25, seed=seed)
        )
        side = [clip.split for clip in split.clips]

        assert side[0] == side[1] and side[3] == side[4] and side[6] == side[7]
        assert set(side) == set(SPLITS)


def test_a_split_is_the_same_on_every_platform(golden):
    """Names with capitals, accents and numbers, held against a file that every system compares with."""
    layout = [("Archery", 1, 4), ("Archery", 2, 5), ("Archery", 3, 4), ("Archery", 10, 7), ("caf\u00e9", 1, 3)]
    layout += [("caf\u00e9", 2, 1), ("Jump Rope", 1, 2), ("Jump Rope", 2, 2), ("Jump Rope", 3, 2)]
    footage = Footage("nowhere", (*clips_of(*layout), Clip(name="holiday", frames=()), Clip(name="beach", frames=())))
    splits = {
        "by group": SplitOptions(),
        "by group, seed 23": SplitOptions(seed=23, train=0.6, validation=0.2, test=0.2),
        "by group across classes": SplitOptions(across_classes=True),
        "by clip": SplitOptions(by="clip"),
    }

    golden("footage_splits", {title: sides(split_footage(footage, options)) for title, options in splits.items()})


def test_an_accent_in_two_spellings_is_drawn_alike():
    """macOS hands out names taken apart, other systems as they were written."""
    assert drawn_number(1, "caf\u00e9") == drawn_number(1, "cafe\u0301")
    one, other = (
        split_footage(Footage("nowhere", clips_of((name, 1, 1), (name, 2, 1), (name, 3, 1))))
        for name in ("\u00e9", "e\u0301")
    )
    assert [clip.split for clip in one.clips] == [clip.split for clip in other.clips]


@pytest.mark.parametrize(
    "wish, why",
    [
        (dict(train=0.8, validation=0.1, test=0.2), r"which is 1\.1 in all"),
        (dict(train=0.5, validation=0, test=0), r"which is 0\.5 in all"),
        (dict(train=-0.1), r"train is -0\.1"),
        (dict(test=1.5), r"test is 1\.5"),
        (dict(validation=float("nan")), "validation is nan"),
        (dict(train=float("inf")), "train is inf"),
        (dict(by="frame"), "'frame'. Choose group or clip"),
        (dict(by="clip", across_classes=True), "only mean something"),
    ],
)
def test_a_split_that_cannot_be_is_told(wish, why):
    with pytest.raises(FootageError, match=why):
        SplitOptions(**wish)


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.333333, 0.333333, 0.333334), (1, 0, 0)])
def test_shares_are_taken_as_they_are_written(shares):
    SplitOptions(train=shares[0], validation=shares[1], test=shares[2])


# Telling


def test_the_counts_are_a_table():
    clips = [Clip(name=f"Run/v_Run_g{group:02}_c01", frames=("a", "b"), split="train") for group in range(10)]
    clips += [Clip(name="walk/v_walk_g01_c01", frames=("a",), split="test"), Clip(name="alone", frames=("a", "b", "c"))]

    assert count_table(Footage("nowhere", tuple(clips))).splitlines() == [
        "class        train  validation   test   none  all",
        "-------------------------------------------------",
        "(no class)       0           0      0      1    1",
        "Run             10           0      0      0   10",
        "walk             0           0      1      0    1",
        "-------------------------------------------------",
        "clips           10           0      1      1   12",
        "frames          20           0      1      3   24",
        "share       83.3 %       0.0 %  8.3 %  8.3 %",
    ]


def test_classes_that_a_split_lacks_are_told():
    split = split_footage(Footage("nowhere", clips_of(("Run", 1, 3), ("Run", 2, 3), ("Walk", 1, 1))))

    notes = missing_classes(split, SplitOptions())

    assert any("Run" in note for note in notes) and all("too few groups" in note for note in notes)


def test_small_classes_come_as_near_to_the_ratios_as_their_groups_allow():
    """Of groups of 2, 1, 1 and 1 clips only 3, 1 and 1 is nearest, whichever comes first."""
    footage = Footage("nowhere", clips_of(("Run", 1, 1), ("Run", 2, 2), ("Run", 3, 1), ("Run", 4, 1)))

    for seed in range(20):
        counts = Counter(clip.split for clip in split_footage(footage, SplitOptions(seed=seed)).clips)
        assert counts == {"train": 3, "validation": 1, "test": 1}


def test_a_group_that_another_clip_of_the_manifest_puts_on_a_second_side_is_told(tmp_path):
    here, there = clips_of(("Run", 1, 2))
    footage = Footage(tmp_path, (replace(here, split="train"),))
    write_manifest(Footage(tmp_path, (*footage.clips, replace(there, split="test"))))
    told = "Clips of one group or video are in more than one split"

    assert any(told in note for note in notes_on_split(footage, SplitOptions()))
    assert not any(told in note for note in notes_on_split(footage, SplitOptions(by="clip")))
    write_manifest(Footage(tmp_path, (*footage.clips, replace(there, split="train"))))
    assert not any(told in note for note in notes_on_split(footage, SplitOptions()))


def test_a_split_that_gets_no_clip_at_all_is_told_also_without_classes():
    footage = split_footage(Footage("nowhere", (Clip(name="a", frames=("1.png",)),)))

    assert [note.split(":")[0] for note in missing_classes(footage, SplitOptions())] == [
        "No clip is left for validation",
        "No clip is left for test",
    ]
