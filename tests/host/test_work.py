import sys
from types import SimpleNamespace

import psutil
import pytest
import torch
from PIL import Image

from zoetrope.host import work


def test_progress_is_told_to_who_listens_with_its_preview():
    told = []
    picture = Image.new("RGB", (2, 2))

    with work.reporting_to(lambda *report: told.append(report)):
        progress = work.Progress(3)
        progress.update(1)
        progress.update(3, picture)
    progress.update(2)

    assert told == [(1, 3, None), (3, 3, picture)]


def test_words_are_told_to_who_listens():
    told = []

    with work.reporting_to(lambda *report: None, told.append):
        work.say("loss 0.5")
    work.say("nobody")

    assert told == ["loss 0.5"]
    assert not work.is_cancelled()


def test_each_line_is_a_paragraph_in_comfyui(monkeypatch):
    """To its Vue nodes a single break is none."""
    sent = []
    server = SimpleNamespace(send_progress_text=lambda *given: sent.append(given))
    monkeypatch.setattr(work, "IN_COMFYUI", True)
    monkeypatch.setattr(work, "get_executing_context", lambda: SimpleNamespace(node_id="7"), raising=False)
    monkeypatch.setitem(sys.modules, "server", SimpleNamespace(PromptServer=SimpleNamespace(instance=server)))

    work.say("step 3\n\nloss 0.5\n")

    assert sent == [("step 3\n\nloss 0.5", "7")]


def test_who_listens_can_cancel():
    def cancel(done, total, preview):
        raise work.Cancelled

    with pytest.raises(work.Cancelled), work.reporting_to(cancel):
        try:
            work.Progress(3).update(1)
        except Exception:  # what a careless node might write
            pytest.fail("a cancel must pass every `except Exception`")


def test_devices_are_torch_devices():
    assert isinstance(work.device(), torch.device)
    assert work.intermediate_device() == torch.device("cpu")


def test_running_out_of_memory_is_told_from_other_errors():
    assert all(issubclass(error, RuntimeError) for error in work.out_of_memory_errors)


def test_the_memory_of_a_cpu_is_what_the_computer_has_left():
    available = work.available_bytes(torch.device("cpu"))

    assert 0 < available < psutil.virtual_memory().total


@pytest.mark.parametrize(("device", "dtype"), [("cpu", torch.float32), ("cuda", torch.float16), ("mps", torch.float16)])
def test_a_model_runs_in_half_precision_where_that_is_fast(device, dtype, monkeypatch):
    monkeypatch.setattr(work, "device", lambda: torch.device(device))

    assert work.sampling_dtype(1_500_000_000) == dtype
