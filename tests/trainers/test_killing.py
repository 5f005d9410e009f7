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
        [sys.executable, script, "--kills", "6", "--no-flush"], capture_output=True, text=True, timeout=300
    )

    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(run.stdout)
    assert told["kills"] == 6
    assert told["unreadable"] == told["different"] == 0
    assert told["most_lost"] <= told["save_every"]
