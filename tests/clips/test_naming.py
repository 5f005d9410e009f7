import pytest

from zoetrope.clips.footage import Clip
from zoetrope.clips.naming import ActionName, class_of, comparable, group_of, parse_action, words, words_of


def clip(name, source=""):
    return Clip(name=name, frames=("f.png",), source=source)


@pytest.mark.parametrize(
    "name, parts",
    [
        ("v_ApplyEyeMakeup_g01_c02", ActionName("ApplyEyeMakeup", "1", "2")),
        ("V_APPLYEYEMAKEUP_G01_C02", ActionName("APPLYEYEMAKEUP", "1", "2")),
        ("v_Baseball_Pitch_g12_c10", ActionName("Baseball_Pitch", "12", "10")),
        ("archery-g3", ActionName("archery", "3", "")),
        ("v_Yo_g00_c00", ActionName("Yo", "0", "0")),
        ("v_Golf_g01_g02_c03", ActionName("Golf_g01", "2", "3")),
        ("holiday", None),
        ("v_g01_c02", ActionName("v", "1", "2")),
        ("v_Run_g01_c02_copy", None),
        ("", None),
    ],
)
def test_a_name_is_taken_apart_as_ucf_builds_it(name, parts):
    assert parse_action(name) == parts


@pytest.mark.parametrize(
    "name, spoken",
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("apply_eye-makeup", "apply eye makeup"),
        ("YoYo", "yo yo"),
        ("HTMLVideo", "HTML video"),
        ("NTSC", "NTSC"),
        ("Take2Run", "take2 run"),
        ("a 3D scene", "a 3D scene"),
        ("  two   spaces ", "two spaces"),
        ("", ""),
    ],
)
def test_names_become_words(name, spoken):
    assert words(name) == spoken


def test_a_clip_says_what_its_name_says():
    assert words_of(clip("archery/v_ApplyEyeMakeup_g01_c02")) == "apply eye makeup"
    assert words_of(clip("archery/my_holiday")) == "my holiday"
    assert words_of(clip(".")) == ""


def test_the_class_is_the_folder_or_else_in_the_name():
    assert class_of(clip("sport/Archery/v_Bow_g01_c01")) == "Archery"
    assert class_of(clip("v_Bow_g01_c01")) == "Bow"
    assert class_of(clip("holiday")) == ""


def test_the_group_is_in_the_name_or_else_in_the_source():
    assert group_of(clip("archery/v_Bow_g07_c01", source="v_Bow_g09_c01.avi")) == "7"
    assert group_of(clip("archery/one", source="v_Bow_g09_c01.avi")) == "9"
    assert group_of(clip("archery/one", source="one.avi")) == ""


def test_names_that_systems_write_differently_compare_equal():
    assert comparable("Caf\u00e9") == comparable("cafe\u0301")
