from zoetrope.headless.definitions import declared_inputs, live_inputs, nested

CHOICE = {
    "options": [
        {"key": "none", "inputs": {"required": {}}},
        {
            "key": "some",
            "inputs": {
                "required": {"count": ["INT", {"default": 3}]},
                "optional": {
                    "inner": ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "x", "inputs": {"required": {}}}]}]
                },
            },
        },
    ]
}
DEFINITION = {
    "input": {
        "required": {"b": ["IMAGE"], "a": [["one", "two"], {}], "choice": ["COMFY_DYNAMICCOMBO_V3", CHOICE]},
        "optional": {"c": ["STRING", {"forceInput": True}]},
    },
    "input_order": {"required": ["a", "b", "choice"], "optional": ["c"]},
}


def test_inputs_are_read_in_the_order_that_the_node_gives_them():
    assert [item.name for item in declared_inputs(DEFINITION)] == ["a", "b", "choice", "c"]


def test_the_older_way_to_write_a_combo_is_read_too():
    combo = declared_inputs(DEFINITION)[0]

    assert (combo.type, combo.options, combo.default) == ("COMBO", ["one", "two"], "one")


def test_sockets_have_no_widget_and_neither_has_what_must_be_linked():
    assert {item.name: item.has_widget for item in declared_inputs(DEFINITION)} == {
        "a": True, "b": False, "choice": True, "c": False,
    }  # fmt: skip


def test_an_option_brings_its_inputs_to_life():
    assert list(live_inputs(DEFINITION, {"choice": "none"})) == ["a", "b", "choice", "c"]
    assert list(live_inputs(DEFINITION, {"choice": "some"})) == [
        "a",
        "b",
        "choice",
        "choice.count",
        "choice.inner",
        "c",
    ]


def test_a_choice_and_its_inputs_are_one_argument():
    values = {"a": "one", "choice": "some", "choice.count": 5, "choice.inner": "x"}

    assert nested(values, DEFINITION) == {
        "a": "one",
        "choice": {"choice": "some", "count": 5, "inner": {"inner": "x"}},
    }


def test_the_order_of_written_values_does_not_matter():
    values = {"choice.inner": "x", "choice.count": 5, "choice": "some"}

    assert nested(values, DEFINITION) == {"choice": {"choice": "some", "count": 5, "inner": {"inner": "x"}}}
