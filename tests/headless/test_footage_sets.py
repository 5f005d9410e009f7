"""`zoetrope footage choose, split, caption, pairs, zip, unzip` on small sets."""

import sys

import pytest
from PIL import Image

from zoetrope.clips.footage import MANIFEST, read_footage, read_manifest
from zoetrope.headless.command import main
from zoetrope.headless.footage import SUBCOMMANDS


@pytest.fixture
def root(tmp_path):
    """Ten groups of two clips, of three frames each."""
    for group in range(1, 11):
        for number in (1, 2):
            folder = tmp_path / "set" / "YoYo" / f"v_YoYo_g{group:02}_c{number:02}"
            folder.mkdir(parents=True)
            for frame in range(3):
                color = (100 + 2 * frame, 100, 10 * group)
                Image.new("RGB", (8, 6), color).save(folder / f"{folder.name}_frame_{frame + 1}.png")
    return tmp_path / "set"


@pytest.fixture
def videos(tmp_path):
    for name in ("Archery/v_Archery_g01_c01.avi", "Archery/v_Archery_g02_c01.avi", "YoYo/v_YoYo_g01_c01.avi"):
        (tmp_path / "UCF" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "UCF" / name).write_bytes(name.encode())
    return tmp_path / "UCF"


def run(*arguments):
    return main(["footage", *map(str, arguments)])


@pytest.mark.parametrize("name", ["choose", "split", "caption", "pairs", "zip", "unzip"])
def test_each_command_teaches_what_it_does(name, capsys):
    with pytest.raises(SystemExit) as end:
        run(name, "--help")

    printed = capsys.readouterr().out
    assert end.value.code == 0
    assert f"  zoetrope footage {name} " in printed


def test_the_help_of_all_of_them_shows_each_at_work(capsys):
    with pytest.raises(SystemExit):
        run("--help")

    printed = capsys.readouterr().out
    assert [name for name in SUBCOMMANDS if f"  zoetrope footage {name} " not in printed] == []


def test_videos_are_listed_and_then_copied(videos, tmp_path, capsys):
    assert run("choose", videos, "--per-class", 1) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split("/")[-2] for line in listed] == ["Archery", "YoYo"]
    assert not (tmp_path / "out").exists()

    assert run("choose", videos, "--per-class", 1, "--out", tmp_path / "out") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: 2 videos of 2 classes.\n"
    assert {path.name for path in (tmp_path / "out").rglob("*.avi")} == {line.split("/")[-1] for line in listed}

    assert run("choose", videos, "--per-class", 2, "--classes", "archery", "--out", tmp_path / "out") == 0
    told = capsys.readouterr()
    assert "2 videos of 1 class, 1 of them were there already" in told.out
    assert "holds 1 other videos too" in told.err


def test_a_split_is_written_and_shown(root, capsys):
    assert run("split", root, "--train", 0.6, "--validation", 0.2, "--test", 0.2, "--seed", 4) == 0

    shown = capsys.readouterr().out
    assert "YoYo        12           4       4   20" in shown
    splits = [clip.split for clip in read_footage(root)[0].clips]
    assert splits[::2] == splits[1::2], "a group is on one side"
    assert run("split", root, "--show") == 0
    assert capsys.readouterr().out == shown


def test_a_split_may_tear_groups_apart(root):
    assert run("split", root, "--by", "clip") == 0

    splits = [clip.split for clip in read_footage(root)[0].clips]
    assert splits.count("test") == splits.count("validation") == 2


@pytest.mark.parametrize(
    "arguments, why",
    [
        (["split", "--train", "0.9"], "which is 1.1 in all"),
        (["split", "--show", "--seed", "1"], "--show only shows"),
        (["pairs", "--step", "1", "--out", "new", "--split", "train"], "Split it first"),
        (["pairs", "--step", "0", "--out", "new"], "step is 0"),
        (["caption", "--frames", "2"], "--frames belongs to --model"),
        (["caption", "--template", "{clas}"], "These are filled in"),
        (["caption", "--model", "nowhere"], "does not exist. Nothing is downloaded"),
        (["zip", "--out", "a.zip", "--name", "../a"], "The folder in the zip is called"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_changes_nothing(root, tmp_path, monkeypatch, capsys, arguments, why):
    monkeypatch.chdir(tmp_path)

    assert run(arguments[0], root, *arguments[1:]) == 2

    told = capsys.readouterr().err
    assert why in told and "Traceback" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert not (root / MANIFEST).exists()


def test_pairs_are_written_for_one_split(root, tmp_path, capsys):
    run("split", root)
    capsys.readouterr()

    assert run("pairs", root, "--out", tmp_path / "pairs", "--step", 1, "--context", 2, "--split", "test") == 0

    out = tmp_path / "pairs"
    assert capsys.readouterr().out.splitlines() == [
        "2 pairs of 2 clips, 0 cuts in them.",
        *(str(out / name) for name in ("input", "input-1", "target")),
    ]
    assert len(list((out / "target").iterdir())) == 2


def test_pairs_keep_to_scenes_unless_told_otherwise(tmp_path, capsys):
    (tmp_path / "set" / "clip").mkdir(parents=True)
    for frame in range(12):
        color = (20 + frame, 30, 40) if frame < 7 else (220, 200 - frame, 30)
        Image.new("RGB", (40, 40), color).save(tmp_path / "set" / "clip" / f"{frame}.png")

    assert run("pairs", tmp_path / "set", "--out", tmp_path / "a", "--step", 1, "--copy") == 0
    assert capsys.readouterr().out.startswith("10 pairs of 1 clip, 1 cut in")
    assert run("pairs", tmp_path / "set", "--out", tmp_path / "b", "--step", 1, "--no-cuts") == 0
    assert capsys.readouterr().out.startswith("11 pairs of 1 clip, 0 cuts")


def test_a_folder_that_is_taken_is_told_before_every_frame_is_looked_at(root, tmp_path, capsys):
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "mine.txt").write_text("mine")

    assert run("pairs", root, "--out", tmp_path / "pairs", "--step", 1) == 2

    told = capsys.readouterr().err
    assert "not an empty folder" in told and "Looking for cuts" not in told


def test_captions_come_from_names_and_stay(root, capsys):
    clip = "YoYo/v_YoYo_g01_c01"
    (root / f"{clip}.txt").write_text("by hand")

    assert run("caption", root, "--from-names", "--pictures") == 0

    assert capsys.readouterr().out.endswith("20 of 20 clips have a caption, 19 of them a new one.\n")
    assert read_footage(root)[0].clip(clip).caption == "by hand"
    assert (root / "YoYo" / "v_YoYo_g01_c02.txt").read_text() == "yo yo\n"
    assert (root / clip / "v_YoYo_g01_c01_frame_2.txt").read_text() == "by hand\n"


def test_a_template_takes_up_the_caption_that_is_there(root):
    (root / "YoYo" / "v_YoYo_g01_c01.txt").write_text("by hand")

    assert run("caption", root) == 0
    assert run("caption", root, "--template", "{caption}, a video of {class}", "--overwrite") == 0

    captions = [clip.caption for clip in read_footage(root)[0].clips]
    assert captions[:2] == ["by hand, a video of yo yo", "a video of yo yo"]


def test_an_interruption_keeps_the_captions_that_were_made(root, monkeypatch):
    def two_and_no_more(footage, clips):
        for clip in clips[:2]:
            yield clip, "seen"
        raise KeyboardInterrupt

    monkeypatch.setattr("zoetrope.headless.footage_caption._way", lambda arguments: two_and_no_more)

    assert run("caption", root, "--from-names") == 130
    assert len(list((root / "YoYo").glob("*.txt"))) == 2


def test_without_the_library_a_model_is_told_how_to_get_it(root, tmp_path, monkeypatch, capsys):
    (tmp_path / "blip").mkdir()
    (tmp_path / "blip" / "config.json").write_text('{"model_type": "blip"}')
    (tmp_path / "blip" / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "transformers", None)

    assert run("caption", root, "--model", tmp_path / "blip") == 2
    assert "pip install transformers" in capsys.readouterr().err


def test_a_set_goes_into_a_zip_and_comes_back(root, tmp_path, capsys):
    run("caption", root, "--from-names")
    run("split", root)
    (root / "notes.doc").write_text("stray")
    capsys.readouterr()

    assert run("zip", root, "--out", tmp_path / "finetuning.zip") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'finetuning.zip'}\n"
    assert run("unzip", tmp_path / "finetuning.zip", "--out", tmp_path / "again") == 0

    assert capsys.readouterr().out == f"{tmp_path / 'again'}: 81 files.\n"
    assert read_footage(tmp_path / "again")[0].clips == read_footage(root)[0].clips
    assert run("unzip", tmp_path / "finetuning.zip", "--out", tmp_path / "again") == 2
    assert "not an empty folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["split"], ["caption", "--from-names"], ["report", "--write"]], ids=lambda c: c[0])
def test_what_is_missing_just_now_stays_in_the_manifest(root, tmp_path, command):
    run("split", root)
    before = read_manifest(root)
    (root / "YoYo" / "v_YoYo_g01_c01").rename(tmp_path / "elsewhere")
    lost = root / "YoYo" / "v_YoYo_g02_c01" / "v_YoYo_g02_c01_frame_2.png"
    lost.unlink()

    assert run(command[0], root, *command[1:]) == 0

    after = read_manifest(root)
    assert [(clip.name, clip.frames) for clip in after] == [(clip.name, clip.frames) for clip in before]
    assert after[0] == before[0]
    if command[0] != "split":
        assert after[1] != before[1], "what is there was written"


def test_captions_beside_clips_are_written_with_the_split(root):
    (root / "YoYo" / "v_YoYo_g01_c01.txt").write_bytes("\ufeffa man\r\nthrows a yo-yo\r\n".encode())

    run("split", root)

    assert read_manifest(root)[0].caption == "a man throws a yo-yo"
