"""`zoetrope toyworld measure` with tiny models."""

import json

import pytest

from zoetrope.headless.command import main
from zoetrope.toyworld import measuring
from zoetrope.toyworld.measuring import Measurement, MeasuringOptions

from ..small_models import put_svd_and_lora


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    paths = put_svd_and_lora(tmp_path_factory.mktemp("models"))
    return [f"--{name}={path}" for name, path in paths.items()]


def measure(*arguments):
    return main(["toyworld", "measure", *map(str, arguments)])


def test_a_table_is_printed_and_written(models, tmp_path, capsys):
    settings = ("--seeds", 1, "--first", 2, "--steps", 1, "--json", tmp_path / "all.json")
    assert measure("svd-moon-lora", *models, *settings) == 0

    told = capsys.readouterr()
    assert "\n1000002  " in told.out
    assert "median error of the lit fraction" in told.out and "DOES NOT HOLD" in told.out
    record = json.loads((tmp_path / "all.json").read_text())
    assert record["rows"][0][0] == 1_000_002
    assert record["numbers"][0]["name"] == "median error of the lit fraction"
    assert record["numbers"][0]["at_most"] == 0.08
    assert "Moons" in told.err


def test_what_ships_is_measured_unless_something_else_is_named(monkeypatch, capsys):
    given = []

    def measured(name, options, on_progress):
        given.append((name, options))
        return Measurement(title="Nothing", columns=("seed",), rows=(), numbers=())

    monkeypatch.setattr(measuring, "measure", measured)

    assert measure("svd") == 0
    assert given == [("svd", MeasuringOptions())]
    assert capsys.readouterr().out.startswith("Nothing\n\nseed\n")


def test_a_measure_that_is_not_there_is_told(capsys):
    assert measure("moons") == 2

    assert capsys.readouterr().err.startswith("There is no measure called 'moons'. Choose one of svd, svd-moon-lora")


def test_the_help_teaches(capsys):
    with pytest.raises(SystemExit) as end:
        main(["toyworld", "measure", "--help"])

    assert end.value.code == 0
    assert "zoetrope toyworld measure svd-moon-lora" in capsys.readouterr().out
