"""The display of progress: what a terminal shows, and what a log file holds."""

import io

import pytest

from zoetrope.headless.progress import ProgressDisplay, cells, readable_duration, shortened


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """The lines as a person sees them, after everything that was drawn over."""
        return [line.split("\r\x1b[2K")[-1] for line in self.getvalue().split("\n")]


class Log(io.StringIO):
    encoding = "utf-8"


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def test_a_log_gets_one_line_for_the_start_and_one_for_every_ten_percent():
    log = Log()
    with ProgressDisplay(log) as display:
        for step in range(201):
            display.show("Sampler", step, 200)

    lines = log.getvalue().splitlines()

    assert lines[0] == "Sampler"
    assert lines[1:3] == ["Sampler: 10 % (20 of 200)", "Sampler: 20 % (40 of 200)"]
    assert lines[-1] == "Sampler: 100 % (200 of 200)"
    assert len(lines) == 11


def test_a_log_gets_one_line_for_work_without_steps():
    log = Log()
    display = ProgressDisplay(log)

    for step in (0, 0, 1, 1):
        display.show("Load Video", step, 1)

    assert log.getvalue() == "Load Video\n"


def test_work_that_learns_its_number_of_steps_later_is_not_announced_twice():
    log = Log()
    display = ProgressDisplay(log)

    for step, total in [(0, 1), (1, 4), (2, 4), (4, 4)]:
        display.show("Sampler", step, total)

    assert log.getvalue().splitlines() == [
        "Sampler", "Sampler: 20 % (1 of 4)", "Sampler: 50 % (2 of 4)", "Sampler: 100 % (4 of 4)",
    ]  # fmt: skip


def test_two_pieces_of_work_at_once_each_keep_their_count():
    log = Log()
    display = ProgressDisplay(log)

    for step in range(3):
        display.show("Left", step, 2)
        display.show("Right", step, 2)

    assert log.getvalue().splitlines() == [
        "Left", "Right", "Left: 50 % (1 of 2)", "Right: 50 % (1 of 2)", "Left: 100 % (2 of 2)", "Right: 100 % (2 of 2)",
    ]  # fmt: skip


def test_a_title_that_starts_again_is_shown_again():
    log = Log()
    display = ProgressDisplay(log)

    for _ in range(2):
        display.show("Sampler", 0, 1)
        display.show("Sampler", 1, 1)

    assert log.getvalue() == "Sampler\nSampler\n"


def test_a_terminal_shows_a_bar_that_is_drawn_over(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    display = ProgressDisplay(terminal, clock)

    for step in range(3):
        display.show("Sampler", step, 4)
        clock.seconds += 1

    assert terminal.screen() == ["Sampler  [############------------] 2/4  2.0 s"]


def test_a_terminal_keeps_one_line_of_finished_work(clock):
    terminal = Terminal()
    with ProgressDisplay(terminal, clock) as display:
        display.show("Sampler", 1, 2)
        clock.seconds += 75
        display.show("Sampler", 2, 2)
        display.show("Save", 0, 1)
        clock.seconds += 0.5
        display.show("Save", 1, 1)

    assert terminal.screen() == ["Sampler  2 steps  1 min 15 s", "Save  0.5 s", ""]


def test_a_terminal_is_not_drawn_more_than_ten_times_a_second(clock):
    terminal = Terminal()
    display = ProgressDisplay(terminal, clock)

    for step in range(1000):
        display.show("Sampler", step, 1000)
        clock.seconds += 0.001

    assert 8 <= terminal.getvalue().count("Sampler") <= 11


def test_a_message_stands_on_its_own_line_above_the_bar(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    display = ProgressDisplay(terminal, clock)

    display.show("Sampler", 1, 4)
    display.say("The connection was lost.")
    clock.seconds += 1
    display.show("Sampler", 2, 4)
    display.close()

    assert terminal.screen() == [
        "The connection was lost.", "Sampler  [############------------] 2/4  1.0 s", "",
    ]  # fmt: skip


def test_a_bar_never_fills_the_line_of_the_terminal(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()

    ProgressDisplay(terminal, clock).show("\u753b" * 50, 3, 25)

    assert cells(terminal.screen()[0]) < 60
    assert terminal.screen()[0].endswith("3/25  0.0 s")


def test_a_title_cannot_steer_the_terminal():
    terminal = Terminal()

    ProgressDisplay(terminal).show("evil\x1b[2J\r\ntitle\x07", 1, 1)

    assert "\x1b[2J" not in terminal.getvalue()
    assert "\x07" not in terminal.getvalue()


def test_letters_that_the_stream_cannot_encode_become_question_marks():
    raw = io.BytesIO()
    display = ProgressDisplay(io.TextIOWrapper(raw, encoding="cp1252"))

    display.say("\u753b sampler")

    assert raw.getvalue() == b"? sampler\n"


@pytest.mark.parametrize("seconds, text", [(0.04, "0.0 s"), (9.9, "9.9 s"), (59.4, "59 s"), (3725, "1 h 02 min")])
def test_durations_read_like_a_person_would_say_them(seconds, text):
    assert readable_duration(seconds) == text


def test_shortened_text_fits_and_shows_that_something_is_missing():
    assert shortened("zoetrope", 8) == "zoetrope"
    assert shortened("zoetrope", 7) == "zoet..."


@pytest.mark.parametrize("stream", [Terminal, Log])
def test_a_plan_is_printed_once_and_what_changes_below_it_stands_beside_the_numbers(stream, clock):
    seen = stream()
    plan = "model      svd\ntrained    motion\nclips      4"
    with ProgressDisplay(seen, clock) as display:
        for total, title in ((10, "Measuring"), (20, "Encoding")):
            for step in range(1, total + 1):
                clock.seconds += 1
                display.show("Train", step, total, f"{plan}\n{title}: {step}")

    text = seen.getvalue()

    for line in plan.splitlines():
        assert text.count(line) == 1
        assert line in text.split("Train: 10 %")[0].splitlines() or stream is Terminal
    assert "Measuring: 5" in text and "Encoding: 12" in text
    assert stream is Terminal or "Train: 50 % (5 of 10, Measuring: 5)" in text.splitlines()


def test_a_note_of_two_lines_stays_beside_the_numbers_also_where_one_of_them_stays_as_it_is(clock):
    log = Log()
    with ProgressDisplay(log, clock) as display:
        for step in (1, 2):
            display.show("Train", step, 2, f"loss 0.5\n{3 - step} s left")

    assert log.getvalue().splitlines()[1:] == [
        "Train: 50 % (1 of 2, loss 0.5, 2 s left)",
        "Train: 100 % (2 of 2, loss 0.5, 1 s left)",
    ]
