import pytest

from zoetrope.headless.graph import is_link, needed_in_order, sources

from .small_nodes import node


@pytest.mark.parametrize("value", [["3", 0], [3, 0], ["12:4", 1]])
def test_an_id_and_a_place_are_a_link(value):
    assert is_link(value)


@pytest.mark.parametrize("value", [[], ["3"], ["3", 0, 1], ["3", "0"], [3.5, 0], ["3", True], "30", None, {"3": 0}])
def test_anything_else_is_a_value(value):
    assert not is_link(value)


def test_the_links_of_a_node_are_told_by_input():
    assert list(sources(node("Add", one=[1, 0], other=5))) == [("one", "1", 0)]


def test_nodes_come_after_those_that_they_need_and_the_rest_not_at_all():
    prompt = {
        "1": node("Add", one=["3", 0], other=["2", 0]),
        "2": node("Add", one=["3", 0]),
        "3": node("MakeList"),
        "4": node("Add", one=["1", 0]),
    }

    assert needed_in_order(prompt, ["1"]) == ["3", "2", "1"]


def test_a_circle_is_told_with_everything_on_the_way_round():
    prompt = {"1": node("Add", one=["2", 0]), "2": node("Add", one=["3", 0]), "3": node("Add", one=["2", 0])}

    with pytest.raises(ValueError, match="Nodes 2 <- 3 <- 2 are linked in a circle"):
        needed_in_order(prompt, ["1"])


def test_a_node_linked_to_itself_is_a_circle():
    with pytest.raises(ValueError, match="Nodes 1 <- 1 are linked in a circle"):
        needed_in_order({"1": node("Add", one=["1", 0])}, ["1"])


def test_a_long_chain_is_no_problem():
    prompt = {str(n): node("Add", one=[str(n - 1), 0]) for n in range(1, 5000)} | {"0": node("MakeList")}

    assert needed_in_order(prompt, ["4999"]) == [str(n) for n in range(5000)]
