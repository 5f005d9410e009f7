"""`zoetrope demo` with tiny models."""

import pytest

from zoetrope.headless.command import main
from zoetrope.toyworld import demo as module

from ..small_models import put_svd_and_lora

FILES = {"picture.png", "before.mp4", "after.mp4", "side_by_side.gif", "phases.png", "report.html"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    paths = put_svd_and_lora(tmp_path_factory.mktemp("models"))
    return [f"--{name}={path}" for name, path in paths.items()]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def demo(*arguments):
    return main(["demo", "--steps", "1", *map(str, arguments)])


def test_it_says_where_its_files_are_and_what_they_show(here, models, capsys):
    assert demo(*models) == 0

    told = capsys.readouterr()
    place, moon, before, after = told.out.splitlines()
    assert place.startswith("output/zoetrope/demo_00001: picture.png, before.mp4") and place.endswith("report.html.")
    assert {path.name for path in (here / "output" / "zoetrope" / "demo_00001").iterdir()} == FILES
    assert "which no model has seen" in moon
    assert before.startswith("Without the LoRA the moon ") and after.startswith("With it the moon ")
    assert "With the LoRA" in told.err


@pytest.fixture
def nothing_is_made(monkeypatch):
    monkeypatch.setattr(module, "run_demo", None)


def test_a_folder_with_something_in_it_is_left_alone_and_told_at_once(here, nothing_is_made, capsys):
    (here / "mine").mkdir()
    (here / "mine" / "letter.txt").touch()

    assert demo("--out", "mine") == 2

    assert "mine exists already and is not an empty folder" in capsys.readouterr().err
    assert [path.name for path in here.rglob("*")] == ["mine", "letter.txt"]


def test_the_next_demo_gets_the_next_folder(here, models, monkeypatch, capsys):
    (here / "output" / "zoetrope" / "demo_00001").mkdir(parents=True)
    (here / "output" / "zoetrope" / "demo_00001" / "report.html").touch()
    monkeypatch.setattr(module, "write_demo", lambda folder, demo: [folder / "picture.png", folder / "report.html"])

    assert demo(*models, "--moon", 3) == 0

    assert capsys.readouterr().out.startswith("output/zoetrope/demo_00002: picture.png and report.html.\n")


def test_after_an_error_nothing_is_left(here, models, capsys):
    assert demo(models[0], "--lora", "no.safetensors") == 2

    assert "no.safetensors" in capsys.readouterr().err
    assert not list(here.iterdir())


def test_the_help_teaches(capsys):
    with pytest.raises(SystemExit) as end:
        main(["demo", "--help"])

    assert end.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "zoetrope demo --out moon --moon 7" in printed
    assert all(name in printed for name in FILES)
    assert f"another noise ({module.DemoOptions().seed})" in printed
