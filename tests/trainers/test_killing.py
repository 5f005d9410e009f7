"""A run that is killed at any moment goes on as if nothing had been; `killing.py` does it as often as one likes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the runs are forked, which is safe on Linux only")
def test_kills_at_random_moments_lose_one_interval_at_most_and_change_nothing():
    script = Path(__file__).with_name("killing.py")

    run = subprocess.run(
        [sys.executable, script, "toy=2", "svd=1", "--no-flush"],
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    told = [json.loads(line) for line in run.stdout.splitlines()]
    assert [(each["method"], each["kills"]) for each in told] == [("toy", 2), ("svd", 1)]
    for each in told:
        assert each["unreadable"] == each["different"] == each["left_behind"] == 0
        assert each["most_lost"] <= each["save_every"]
