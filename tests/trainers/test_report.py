"""The report is one page that opens anywhere."""

import base64
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from zoetrope.trainers.report import STEPS_SIDE_BY_SIDE, report_of, write_report
from zoetrope.trainers.report_curves import MOST_POINTS, Curve, averaged, drawn
from zoetrope.trainers.run_folder import opened_run

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Opens a page as a strict browser would: what is opened is closed, and nothing comes from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[bytes] = []
        self.cells: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert tag not in {"script", "link", "iframe", "object", "embed"}
        for name, value in attributes:
            if name in {"src", "href", "data", "xlink:href"}:
                assert value.startswith("data:image/webp;base64,")
                self.pictures.append(base64.b64decode(value.partition(",")[2], validate=True))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        """Closed as it is opened, as a shape of a drawing."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells.append(data)


@pytest.fixture
def run(tmp_path):
    with opened_run(tmp_path / "a <b> run") as run:
        run.describe("toy", {"steps": 40, "caption": "<script>alert(1)</script>"}, {"footage": "abc"})
        for step in range(1, 31):
            run.log(step=step, loss=1 / step, gradient_norm=1.0, learning_rate=1e-4, seconds=120.0)
        run.log(step=31, loss=float("nan"), gradient_norm=float("nan"), learning_rate=1e-4, seconds=0.0)
        for step in (0, 15, 30):
            run.log(step=step, validation={"held-out loss": 0.5 / (step + 1)})
            run.write_sample(step, "moon", torch.rand(2, 16, 16, 3), 8)
        run.write_sample(30, "sun", torch.rand(2, 16, 16, 3), 8)
        yield run


def test_the_page_opens_and_needs_nothing_else(run):
    text = write_report(run).read_text(encoding="utf-8")

    page = Page(text)
    assert "http" not in re.sub(r"base64,[^\"]+", "", text)
    assert "url(" not in text and "@import" not in text
    assert len(page.pictures) == 4
    with Image.open(io.BytesIO(page.pictures[0])) as picture:
        assert (picture.format, picture.n_frames) == ("WEBP", 2)


def test_what_users_write_is_shown_and_not_run(run):
    page = Page(report_of(run))

    assert "<script>alert(1)</script>" in page.cells
    assert any("a <b> run" in cell for cell in page.cells)


def test_the_page_tells_how_far_the_run_is_and_what_was_left_out(run):
    words = " ".join(Page(report_of(run)).cells)

    assert "31 of 40 steps in 1.00 hours" in words
    assert "In 1 of them the loss or its gradient was not a number" in words
    assert "Validation: held-out loss" in words


def test_samples_stand_side_by_side_and_a_missing_one_leaves_a_gap(run):
    text = report_of(run)

    row = re.search(r"<tr><th>sun</th>(.*?)</tr>", text)[1]
    assert re.findall(r"<th>(step \d+)</th>", text) == ["step 0", "step 15", "step 30"]
    assert row.startswith("<td></td><td></td><td><img")


def test_of_many_steps_some_are_shown_the_first_and_the_last_among_them(run):
    for step in range(100, 200):
        run.write_sample(step, "moon", torch.zeros(1, 16, 16, 3), 8)

    shown = [int(step) for step in re.findall(r"<th>step (\d+)</th>", report_of(run))]

    assert len(shown) == STEPS_SIDE_BY_SIDE
    assert (shown[0], shown[-1]) == (0, 199)


def test_a_run_that_has_not_begun_has_a_page_too(tmp_path):
    with opened_run(tmp_path) as run:
        assert "No step is done yet." in Page(report_of(run)).cells


def points_of(svg: str) -> list[list[tuple[float, ...]]]:
    lines = ElementTree.fromstring(svg).iter("polyline")
    return [[tuple(map(float, point.split(","))) for point in line.get("points").split()] for line in lines]


def test_a_curve_falls_where_its_values_fall():
    ((first, second, third),) = points_of(drawn([Curve("loss", [(0, 2.0), (1, 1.0), (2, 0.0)])]))

    assert first[0] < second[0] < third[0]
    assert first[1] < second[1] < third[1]  # pixels count from the top
    assert second == pytest.approx(((first[0] + third[0]) / 2, (first[1] + third[1]) / 2))


@pytest.mark.parametrize("points", [[(3, 1.0)], [(0, 1.0), (1, 1.0)]])
def test_a_single_point_and_a_flat_curve_can_be_drawn(points):
    assert len(points_of(drawn([Curve("loss", points)]))[0]) == len(points)


def test_a_long_curve_is_thinned_and_keeps_its_peak():
    values = [(step, float(step == 12_345)) for step in range(50_000)]

    ((*points,),) = points_of(drawn([Curve("loss", values)]))

    assert len(points) <= MOST_POINTS
    assert min(y for _, y in points) < max(y for _, y in points)


def test_the_average_of_a_flat_curve_is_flat_and_of_noise_has_less_noise():
    flat = averaged(Curve("loss", [(step, 3.0) for step in range(100)]))
    noisy = averaged(Curve("loss", [(step, float(step % 2)) for step in range(100)]))

    assert {value for _, value in flat.points} == {3.0}
    assert all(0.3 < value < 0.7 for _, value in noisy.points)
