import pytest

from zoetrope.headless import overrides
from zoetrope.headless.errors import WorkflowError

from .small_nodes import node

PROMPT = {
    "3": node("Make", number=1),
    "4": node("Choose", "My.choice of  things", mode="count", mode__n=2, color="red", loud=False),
    "5": node("Make", "Twin", number=1),
    "6": node("Make", "Twin", number=1),
    "7": node("Show", "Show", value=["4", 0]),
}


def set_to(definitions, *settings):
    return overrides.apply(PROMPT, overrides.parse(settings), definitions)


@pytest.mark.parametrize("target", ["3.number", "Make a Parcel.number"])
def test_a_node_is_named_by_its_number_or_its_title(target, definitions):
    assert set_to(definitions, f"{target}=8")["3"]["inputs"] == {"number": 8}


def test_the_prompt_itself_is_left_as_it_was(definitions):
    set_to(definitions, "3.number=8")

    assert PROMPT["3"]["inputs"] == {"number": 1}


def test_a_title_may_hold_dots_and_spaces(definitions):
    assert set_to(definitions, "My.choice of  things.mode.n=7")["4"]["inputs"]["mode.n"] == 7


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("color=blue", "color", "blue"),
        ("loud=true", "loud", True),
        ("loud=No", "loud", False),
        ("mode.n=3", "mode.n", 3),
    ],
)
def test_a_value_is_read_as_what_its_input_takes(setting, name, value, definitions):
    inputs = set_to(definitions, f"4.{setting}")["4"]["inputs"]

    assert inputs[name] == value
    assert type(inputs[name]) is type(value)


def test_a_text_is_taken_as_it_stands_also_with_an_equals_sign_in_it(definitions):
    assert set_to(definitions, "7.label= a = b ")["7"]["inputs"]["label"] == " a = b "


def test_choosing_another_option_brings_its_inputs_with_their_defaults(definitions):
    inputs = set_to(definitions, "4.mode.speed=fast", "4.mode=run")["4"]["inputs"]

    assert inputs == {"mode": "run", "mode.speed": "fast", "mode.speed.factor": 2.0, "color": "red", "loud": False}


def test_choosing_the_same_option_again_keeps_what_was_set(definitions):
    assert set_to(definitions, "4.mode=count")["4"]["inputs"]["mode.n"] == 2


def test_an_input_takes_the_place_of_a_link(definitions):
    assert set_to(definitions, "7.value=5")["7"]["inputs"]["value"] == "5"


def test_values_from_python_are_taken_as_they_are(definitions):
    assert overrides.apply(PROMPT, {"3.number": 2.5}, definitions)["3"]["inputs"]["number"] == 2.5


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("3.number", "'3.number' is not of the form NODE.INPUT=VALUE"),
        ("number=3", "'number=3' is not of the form NODE.INPUT=VALUE"),
        ("9.number=3", r"the workflow has no node 9\. It has 3 \(Make a Parcel\), 4"),
        ("Mak a Parcel.number=3", r"the workflow has no node Mak a Parcel\. Did you mean Make a Parcel\?"),
        ("Twin.number=3", "nodes 5, 6 are all called Twin. Use the number."),
        ("3.numbr=3", r"Node 3 \(Make a Parcel, Make\) has no input numbr\. Did you mean number\?"),
        ("4.mode.speed=fast", r"Node 4 .* has no input mode.speed\."),
        ("3.number=many", "'many' is not a whole number"),
        ("3.number=2.5", "'2.5' is not a whole number"),
        ("4.loud=maybe", "'maybe' is not true or false"),
    ],
)
def test_what_cannot_be_set_is_told_in_a_sentence(setting, sentence, definitions):
    with pytest.raises(WorkflowError, match=sentence):
        set_to(definitions, setting)
