"""`zoetrope toyworld render` on small clips."""

import json

import pytest

from zoetrope.clips.footage import read_footage
from zoetrope.headless.command import main

SMALL = ("--clips", 2, "--size", "32x24", "--frames", 3)


def run(*arguments):
    return main(["toyworld", "render", *map(str, arguments)])


@pytest.mark.parametrize(
    ("scene", "true"),
    [("moons", "lit_fractions"), ("shapes", "positions"), ("objects", "azimuths_degrees")],
)
def test_a_scene_becomes_footage_with_its_truth(scene, true, tmp_path, capsys):
    assert run(scene, "--out", tmp_path / "set", *SMALL, "--seed", 5) == 0

    assert capsys.readouterr().out == f"{tmp_path / 'set'}: 2 clips.\n"
    footage, notes = read_footage(tmp_path / "set")
    assert not notes
    assert [clip.name for clip in footage.clips] == [f"{scene}_00005", f"{scene}_00006"]
    assert all((clip.width, clip.height, clip.frames_per_second) == (32, 24, 7.0) for clip in footage.clips)
    for clip in footage.clips:
        truth = json.loads((footage.folder(clip) / "truth.json").read_text())
        assert len(truth[true]) == len(clip.frames) == 3
        assert truth["caption"] == clip.caption


def test_a_second_run_draws_only_what_is_new(tmp_path, capsys):
    run("moons", "--out", tmp_path, *SMALL)
    capsys.readouterr()

    assert run("moons", "--out", tmp_path, *SMALL, "--clips", 3) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 3 clips, 2 of them were there already.\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("moons", "--phases", "steady", "--speed", 0.1), "drifts"),
        (("shapes", "--shapes", 1, "--speed", 0), "stands still"),
        (("objects", "--kind", "mug", "--orbit", "wander"), "mug"),
    ],
)
def test_the_options_of_a_scene_change_what_is_drawn(arguments, word, tmp_path):
    assert run(*arguments, "--out", tmp_path, *SMALL) == 0

    assert all(word in clip.caption for clip in read_footage(tmp_path)[0].clips)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("moons", "--kind", "mug"), "--kind is not for moons."),
        (("objects", "--tilt", "5"), "--tilt is not for objects."),
        (("moons", "--size", "64"), '--size is "64". Write width and height'),
        (("moons", "--frames", "0"), "frames is 0."),
        (("moons", "--fps", "0"), "frames_per_second is 0.0."),
        (("objects", "--kind", "spoon"), "kind is 'spoon'."),
        (("moons", "--clips", "0"), "clips is 0."),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(arguments, sentence, tmp_path, capsys):
    assert run(*arguments, "--out", tmp_path / "set") == 2

    assert capsys.readouterr().err.startswith(sentence)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("arguments", [(), ("render",)])
def test_each_command_teaches_what_it_does(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(["toyworld", *arguments, "--help"])

    assert end.value.code == 0
    assert "  zoetrope toyworld render moons " in capsys.readouterr().out


def test_the_help_names_the_kinds_and_defaults_that_there_are(capsys):
    from zoetrope.headless.toyworld_render import KINDS
    from zoetrope.toyworld.footage import RenderingOptions
    from zoetrope.toyworld.moons import PHASES, MoonsOptions
    from zoetrope.toyworld.object_kinds import KINDS as OBJECTS
    from zoetrope.toyworld.objects import ORBITS
    from zoetrope.toyworld.scenes import SCENES

    with pytest.raises(SystemExit):
        main(["toyworld", "render", "--help"])
    printed = " ".join(capsys.readouterr().out.split())

    assert set(KINDS) == set(SCENES)
    assert all(word in printed for word in (*PHASES, *OBJECTS, *ORBITS))
    assert f"how many ({RenderingOptions().clips})" in printed
    assert f"at most ({MoonsOptions().tilt_degrees:g})" in printed
    assert f"({MoonsOptions().phases})" in printed
