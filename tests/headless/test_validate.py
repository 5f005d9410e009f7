import math

import pytest

from zoetrope.headless import registry
from zoetrope.headless.validate import InvalidWorkflow, require_valid

from .small_nodes import node

MAKE = node("Make", number=1)


def with_choice(**inputs):
    settled = {"mode": "count", "mode__n": 2, "color": "red", "loud": False} | inputs
    return {"1": node("Choose", **settled), "2": node("Show", value=["1", 0])}


def showing(kind, *, title=None, **inputs):
    return {"1": node(kind, title, **inputs), "2": node("Show", value=["1", 0])}


BROKEN = {
    "unknown node": (
        {"1": node("Mke"), "2": node("Show", value=["1", 0])},
        "Node 1 (Mke): there is no node called Mke here. Did you mean Make?",
    ),
    "unknown node, like no other": (
        {"1": node("Zzzzz", "My own"), "2": node("Show", value=1)},
        "Node 1 (My own, Zzzzz): there is no node called Zzzzz here. Install the pack that brings it.",
    ),
    "missing value": (showing("Make"), "Node 1 (Make a Parcel, Make): input number is missing. It is a whole number "
                      "from 0 to 100."),
    "missing link": (
        {"1": MAKE, "2": node("Weigh", factor=1), "3": node("Show", value=["2", 0])},
        "Node 2 (Weigh): input parcel is missing. It is a link to a node that gives PARCEL.",
    ),
    "unknown input": (
        showing("Make", number=1, numbr=2),
        "Node 1 (Make a Parcel, Make): it has no input numbr. Did you mean number?",
    ),
    "link to no node": (
        {"2": node("Show", value=["9", 0])},
        "Node 2 (Show): input value is linked to node 9, which does not exist. Link it to another node.",
    ),
    "link to no output": (
        {"1": MAKE, "2": node("Show", value=["1", 3])},
        "Node 2 (Show): input value is linked to output 3 of Node 1 (Make a Parcel, Make), which only has outputs 0 "
        "to 0.",
    ),
    "link to a node without outputs": (
        {"1": node("Show", value=1), "2": node("Show", value=["1", 0])},
        "Node 2 (Show): input value is linked to output 0 of Node 1 (Show), which has no outputs.",
    ),
    "link before the first output": (
        {"1": MAKE, "2": node("Show", value=["1", -1])},
        "Node 2 (Show): input value is linked to output -1 of Node 1 (Make a Parcel, Make), which only has outputs 0 "
        "to 0.",
    ),
    "link of the wrong type": (
        {"1": MAKE, "2": node("Add", one=["1", 0]), "3": node("Show", value=["2", 0])},
        "Node 2 (Add): input one takes INT, but output 0 of Node 1 (Make a Parcel, Make) gives PARCEL.",
    ),
    "text for a number": (
        showing("Make", title="The maker", number="many"),
        "Node 1 (The maker, Make): input number is 'many'. It is a whole number from 0 to 100.",
    ),
    "broken number": (showing("Make", number=2.5), "Node 1 (Make a Parcel, Make): input number is 2.5. It is a whole "
                      "number from 0 to 100."),
    "yes for a number": (showing("Make", number=True), "Node 1 (Make a Parcel, Make): input number is True. It is a "
                         "whole number from 0 to 100."),
    "nothing for a number": (showing("Make", number=None), "Node 1 (Make a Parcel, Make): input number is None. It is "
                             "a whole number from 0 to 100."),
    "below the range": (showing("Make", number=-1), "Node 1 (Make a Parcel, Make): input number is -1. It is a whole "
                        "number from 0 to 100."),
    "above the range": (showing("Make", number=101), "Node 1 (Make a Parcel, Make): input number is 101. It is a whole "
                        "number from 0 to 100."),
    "not a number": (
        {"1": MAKE, "2": node("Weigh", parcel=["1", 0], factor=math.nan), "3": node("Show", value=["2", 0])},
        "Node 2 (Weigh): input factor is nan. It is a number from 0.5 to 2.0.",
    ),
    "infinity": (
        {"1": MAKE, "2": node("Weigh", parcel=["1", 0], factor=math.inf), "3": node("Show", value=["2", 0])},
        "Node 2 (Weigh): input factor is inf. It is a number from 0.5 to 2.0.",
    ),
    "value where only a link will do": (
        {"2": node("Weigh", parcel="mine", factor=1.0), "3": node("Show", value=["2", 0])},
        "Node 2 (Weigh): input parcel is 'mine'. It is a link to a node that gives PARCEL.",
    ),
    "no such option": (
        with_choice(color="gren"),
        "Node 1 (Choose): input color is 'gren', which is not among its options. Did you mean green? It is one of red, "
        "green, blue.",
    ),
    "text for a yes": (
        with_choice(loud="false"),
        "Node 1 (Choose): input loud is 'false'. It is true or false.",
    ),
    "no such dynamic option": (
        with_choice(mode="cuont"),
        "Node 1 (Choose): input mode is 'cuont', which is not among its options. Did you mean count? It is one of "
        "count, run.",
    ),
    "missing in an option": (
        with_choice(mode="run", mode__n=1) | {"1": node("Choose", mode="run", color="red", loud=True)},
        "Node 1 (Choose): input mode.speed is missing. It is one of slow, fast.",
    ),
    "out of range in an option of an option": (
        {"1": node("Choose", mode="run", mode__speed="fast", mode__speed__factor=10, color="red", loud=True),
         "2": node("Show", value=["1", 0])},
        "Node 1 (Choose): input mode.speed.factor is 10.0. It is a number, 9.0 or less.",
    ),
    "input of another option": (
        {"1": node("Choose", mode="run", mode__speed="slow", mode__n=3, color="red", loud=True),
         "2": node("Show", value=["1", 0])},
        "Node 1 (Choose): it has no input mode.n while mode is run.",
    ),
    "circle": (
        {"1": node("Add", one=["2", 0]), "2": node("Add", one=["1", 0]), "3": node("Show", value=["1", 0])},
        "Nodes 1 <- 2 <- 1 are linked in a circle, so none of them can run first. Remove one of these links.",
    ),
    "no output": ({"1": MAKE}, "it has no node that saves or shows anything. Add one, such as Save Image."),
    "what the node refuses itself": ({"1": node("Picky", number=5, text="")}, "Node 1 (Picky): 5 is neither 2 nor 7."),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_is_one_sentence_that_names_the_place(what, definitions):
    prompt, sentence = BROKEN[what]

    with pytest.raises(InvalidWorkflow) as refused:
        require_valid(prompt, definitions, registry.own_checks())

    assert refused.value.problems == [sentence]


def test_all_problems_are_told_at_once(definitions):
    prompt = {
        "1": node("Make", number=-1),
        "2": node("Weigh", parcel=["1", 0], factor=9),
        "3": node("Show", value=["2", 0], label=[]),
        "4": node("Nowhere"),
    }

    with pytest.raises(InvalidWorkflow, match="4 problems") as refused:
        require_valid(prompt, definitions)

    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "Node 4 (Nowhere)", "Node 1 (Make a Parcel, Make)", "Node 2 (Weigh)", "Node 3 (Show)",
    ]  # fmt: skip


def test_what_no_output_needs_may_be_unfinished(definitions):
    prompt = {"1": MAKE, "2": node("Show", value=["1", 0]), "3": node("Weigh", factor=99)}

    assert require_valid(prompt, definitions) == ["2"]


@pytest.mark.parametrize("number", [7, 7.0, "7"])
def test_a_number_may_be_written_as_comfyui_also_reads_it(number, definitions):
    assert require_valid(showing("Make", number=number), definitions) == ["2"]


def test_a_node_that_checks_an_input_itself_is_not_held_to_its_range(definitions):
    assert require_valid({"1": node("Picky", number=7, text="")}, definitions, registry.own_checks()) == ["1"]


def test_what_is_linked_is_not_known_to_a_node_that_checks_its_inputs(definitions):
    prompt = {"1": node("MakeList", count=1), "2": node("Picky", number=["1", 0], text="")}

    assert require_valid(prompt, definitions, registry.own_checks()) == ["2"]


def test_a_valid_choice_passes(definitions):
    assert require_valid(with_choice(), definitions) == ["2"]
