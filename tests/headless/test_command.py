import json
import subprocess
import sys

import pytest

from zoetrope.headless import command
from zoetrope.headless.command import main

from .small_nodes import node

PROMPT = {"1": node("Make", "Parcel", number=3), "show": node("Show", value=["1", 0])}


@pytest.fixture
def workflow(tmp_path, monkeypatch, small_nodes):
    monkeypatch.chdir(tmp_path)

    def write(prompt=PROMPT):
        path = tmp_path / "workflow.json"
        path.write_text(json.dumps(prompt))
        return str(path)

    return write


def pictures():
    return {
        "1": node("LoadImage", image="a.png"),
        "2": node("SaveImage", images=["1", 0], filename_prefix="copy"),
    }


def test_a_run_tells_its_nodes_and_succeeds(workflow, capsys):
    assert main(["run", workflow()]) == 0

    told = capsys.readouterr()
    assert told.out == ""
    assert "Parcel" in told.err
    assert "Show" in told.err


def test_each_file_written_is_told_at_the_end(workflow, capsys, tmp_path):
    from PIL import Image

    (tmp_path / "input").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "input" / "a.png")

    assert main(["run", workflow(pictures()), "--output", str(tmp_path / "made")]) == 0

    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "made" / "copy_00001_.png")]


def test_inputs_are_set_by_number_and_by_title(workflow, capsys):
    assert main(["run", workflow(), "--set", "1.number=101"]) == 2
    assert "Node 1 (Parcel, Make): input number is 101." in capsys.readouterr().err

    assert main(["run", workflow(), "--set", "Parcel.number=100"]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "no.json"], "no.json does not exist"),
        (["run", "no_such_workflow"], "'no_such_workflow' is neither a file"),
        (["run"], "No workflow is given"),
        (["run", "workflow.json", "--set", "frames=3"], "not of the form NODE.INPUT=VALUE"),
        (["run", "workflow.json", "--set", "9.frames=3"], "the workflow has no node 9"),
    ],
)
def test_an_error_is_a_sentence_and_exit_code_2(arguments, sentence, workflow, capsys):
    workflow()

    assert main(arguments) == 2

    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told
    assert told.count("\n") == 1


def test_the_traceback_is_shown_to_who_asks(workflow, capsys):
    prompt = {"show": node("Fail", how="slip")}

    assert main(["run", workflow(prompt)]) == 2
    assert capsys.readouterr().err.endswith("Node show (Fail): it failed with KeyError: 'tea'\n")
    assert main(["run", workflow(prompt), "--traceback"]) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interrupted_run_has_its_own_exit_code(workflow, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.ProgressDisplay, "show", interrupt)

    assert main(["run", workflow()]) == 130
    assert "Interrupted." in capsys.readouterr().err


def test_a_shipped_workflow_is_named_without_its_folder(workflow, monkeypatch, tmp_path, capsys):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "wave.json").write_text(json.dumps(PROMPT))
    monkeypatch.setattr(command, "SHIPPED", shipped)

    assert main(["run", "--list"]) == 0
    assert capsys.readouterr().out == "wave\n"
    assert main(["run", "wave"]) == 0


def test_a_file_goes_before_a_shipped_workflow_of_its_name(monkeypatch, tmp_path):
    (tmp_path / "wave.json").touch()
    monkeypatch.setattr(command, "SHIPPED", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wave").touch()

    assert str(command.find_workflow("wave")) == "wave"


def test_a_name_that_nothing_has_is_told_with_the_names_that_ship():
    with pytest.raises(ValueError, match="'wave' is neither a file nor one of the workflows that ship: .*video_to_gif"):
        command.find_workflow("wave")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_and_version_come_without_waiting_for_torch(arguments):
    code = (
        "import sys; from zoetrope.headless.command import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as left: print(left.code, 'torch' in sys.modules)"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert told.stdout.splitlines()[-1] == "0 False", told.stderr


def test_a_comfyui_on_the_path_is_left_alone(monkeypatch, tmp_path, workflow):
    (tmp_path / "comfy" / "comfy_api").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "comfy"), *sys.path])

    assert main(["run", workflow()]) == 0

    assert str(tmp_path / "comfy") not in sys.path
