import asyncio

import pytest
import torch

from zoetrope.headless import registry
from zoetrope.headless.execute import NodeError, Run, finished
from zoetrope.host import work

from .small_nodes import Parcel, Weigh, node


@pytest.fixture
def run(small_nodes):
    """Run a prompt for its Show nodes, and give what the one called "show" shows."""

    def run(prompt, on_progress=lambda progress: None):
        shown = Run(prompt, registry.all_nodes(), None, on_progress).execute(["show"])
        return list(shown["show"]["shown"])

    return run


def test_a_value_goes_along_its_link(run):
    assert run({"1": node("Make", number=5), "show": node("Show", value=["1", 0])}) == [5]


def test_an_optional_input_that_is_absent_is_left_to_the_node(run):
    assert run({"1": node("Add", one=5), "show": node("Show", value=["1", 0])}) == [1005]


def test_values_are_given_as_the_type_of_their_input(run):
    assert run({"1": node("Add", one="5", other=2.0), "show": node("Show", value=["1", 0])}) == [7]


def test_a_choice_within_a_choice_arrives_as_one_argument(run):
    choose = node("Choose", mode="run", mode__speed="fast", mode__speed__factor=3, color="red", loud=1)

    assert run({"1": choose, "show": node("Show", value=["1", 0])}) == [
        {"mode": {"mode": "run", "speed": {"speed": "fast", "factor": 3.0}}, "color": "red", "loud": True}
    ]


def test_a_list_runs_what_follows_once_for_each_value(run):
    assert run({"1": node("MakeList", count=3), "show": node("Show", value=["1", 0])}) == [0, 1, 2]


def test_a_shorter_list_repeats_its_last_value(run):
    prompt = {
        "1": node("MakeList", count=4),
        "2": node("MakeList", count=2),
        "3": node("Add", one=["1", 0], other=["2", 0]),
        "show": node("Show", value=["3", 0]),
    }

    assert run(prompt) == [0, 2, 3, 4]


def test_a_node_that_takes_lists_runs_once_and_gets_lists_of_everything(run):
    prompt = {
        "1": node("MakeList", count=3),
        "2": node("Together", numbers=["1", 0]),
        "3": node("Together", numbers=7),
        "show": node("Show", value=["2", 0], label=["3", 0]),
    }

    assert run(prompt) == ["[0, 1, 2]"]


def test_lists_of_several_runs_are_joined(run):
    prompt = {
        "1": node("MakeList", count=3),
        "2": node("MakeList", count=["1", 0]),
        "show": node("Show", value=["2", 0]),
    }

    assert run(prompt) == [0, 0, 1]


def test_an_empty_list_is_told_and_not_run(run):
    prompt = {"1": node("MakeList", count=0), "show": node("Show", value=["1", 0])}

    with pytest.raises(NodeError, match=r"Node show \(Show\): input value got an empty list"):
        run(prompt)


def test_only_what_the_output_needs_is_run(run):
    run({"1": node("Make", number=1), "2": node("Make", number=2), "show": node("Show", value=["1", 0])})

    prompt = {"1": node("Fail", how="slip"), "show": node("Show", value=1)}
    assert run(prompt) == [1]


def test_results_go_as_soon_as_nobody_needs_them(run):
    chain = {str(n): node("Weigh", parcel=[str(n - 1), 0], factor=1) for n in range(1, 5)}

    assert run({"0": node("Make", number=0)} | chain | {"show": node("Show", value=["4", 0])}) == [4]
    assert Weigh.seen == [1, 1, 1, 1]
    assert len(Parcel.alive) == 0


def test_a_result_stays_until_the_last_who_needs_it_has_run(run):
    prompt = {
        "0": node("Make", number=0),
        "1": node("Weigh", parcel=["0", 0], factor=1),
        "2": node("Weigh", parcel=["1", 0], factor=1),
        "show": node("Show", value=["0", 0], label=""),
        "3": node("Weigh", parcel=["0", 0], factor=1),
    }
    Run(prompt, registry.all_nodes(), None, lambda progress: None).execute(["2", "3"])

    # While node 2 runs, node 0's parcel still waits for node 3; then nobody needs what nodes 1 and 2 made.
    assert Weigh.seen == [1, 2, 1]


def test_results_go_also_when_a_node_fails(run):
    prompt = {"0": node("Make", number=0), "1": node("Add", one=["0", 0]), "show": node("Show", value=["1", 0])}

    with pytest.raises(NodeError):
        run(prompt)

    assert len(Parcel.alive) == 0


def test_a_node_is_run_without_gradients_as_in_comfyui(run, monkeypatch):
    seen = []
    monkeypatch.setattr(
        registry.all_nodes()["Add"], "execute", lambda **inputs: seen.append(torch.is_inference_mode_enabled())
    )

    Run({"1": node("Add", one=1)}, registry.all_nodes(), None, lambda progress: None).execute(["1"])

    assert seen == [True]


def test_progress_begins_and_ends_with_each_node(run):
    told = []

    run(
        {"1": node("Patient", "Slow one", steps=2), "show": node("Show", value=["1", 0])},
        on_progress=lambda progress: told.append((progress.title, progress.done, progress.total)),
    )

    assert told == [("Slow one", 0, 1), ("Slow one", 1, 2), ("Slow one", 2, 2), ("Show", 0, 1), ("Show", 1, 1)]


def test_an_asynchronous_node_runs_also_where_a_loop_is_running(run):
    async def notebook():
        return run({"1": node("Patient", steps=3), "show": node("Show", value=["1", 0])})

    assert asyncio.run(notebook()) == [3]


def test_a_coroutine_finishes_with_its_error():
    async def fail():
        raise ValueError("no tea")

    with pytest.raises(ValueError, match="no tea"):
        finished(fail())


def test_a_sentence_of_a_node_is_told_with_the_node(run):
    with pytest.raises(NodeError, match=r"^Node show \(Tea, Fail\): there is no tea. Make some.$"):
        run({"show": node("Fail", "Tea", how="sentence")})


def test_a_slip_in_a_node_is_named_and_its_traceback_kept(run):
    with pytest.raises(NodeError, match=r"^Node show \(Fail\): it failed with KeyError: 'tea'$") as failed:
        run({"show": node("Fail", how="slip")})

    assert isinstance(failed.value.__cause__, KeyError)


@pytest.mark.parametrize("cancel", [KeyboardInterrupt, work.Cancelled])
def test_a_cancel_passes_through(run, cancel):
    def on_progress(progress):
        if progress.done == 2:
            raise cancel

    with pytest.raises(cancel):
        run({"1": node("Patient", steps=9), "show": node("Show", value=["1", 0])}, on_progress=on_progress)


def test_a_node_is_told_what_it_asked_for_and_no_more(run, monkeypatch):
    seen = {}
    kind = registry.all_nodes()["Show"]

    def execute(cls, value, label=""):
        seen.update(unique_id=cls.hidden.unique_id, prompt=cls.hidden.prompt, dynprompt=cls.hidden.dynprompt)

    monkeypatch.setattr(kind, "execute", classmethod(execute))
    prompt = {"show": node("Show", value=1)}
    Run(prompt, registry.all_nodes(), None, lambda progress: None).execute(["show"])

    assert seen == {"unique_id": "show", "prompt": prompt, "dynprompt": None}
