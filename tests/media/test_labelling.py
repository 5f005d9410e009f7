import numpy as np
import pytest
import torch

from zoetrope.media.errors import MediaError
from zoetrope.media.labelling import LONGEST_SIDE, LabelledClip, draw_sheet, in_rows, side_by_side
from zoetrope.media.lettering import PAPER

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
LONG = "a_name_that_nobody_would_give_to_a_file_" * 5


def clip(color=RED, frames=5, width=64, height=64):
    return torch.tensor(color).expand(frames, height, width, 3)


def runs(line):
    """The (start, end) of each stretch of a row of truths in which it is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
    return list(zip(edges[::2], edges[1::2], strict=True))


def boxes(pixels, color=RED):
    """Where rectangles of a colour lie: the columns and the rows that they take."""
    found = (np.abs(pixels.astype(int) - np.array(color) * 255) <= 1).all(axis=2)
    return runs(found.any(axis=0)), runs(found.any(axis=1))


def shown(video):
    return (video * 255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize(
    ("width", "height", "times"), [(64, 64, 5), (96, 64, 3), (128, 128, 2), (320, 192, 1), (512, 320, 1)]
)
def test_small_frames_are_enlarged_by_a_whole_number_until_they_are_well_seen(width, height, times):
    one = LabelledClip("before", clip(width=width, height=height))

    for picture in (draw_sheet([one], 2), shown(side_by_side([[one, one]]))[0]):
        columns, rows = boxes(picture)
        assert [end - start for start, end in columns] == [times * width] * 2
        assert [end - start for start, end in rows] == [times * height]


def test_an_enlarged_frame_has_square_pixels():
    frames = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0)).mul(255).round().div(255)
    marked = frames.clone()
    marked[:, 0, :, :] = marked[:, -1, :, :] = marked[:, :, 0, :] = marked[:, :, -1, :] = torch.tensor(RED)

    (sheet,) = [draw_sheet([LabelledClip("", marked)], 1)]

    ((left, right),), ((top, bottom),) = (
        [(found[0][0], found[-1][1])] for found in boxes(sheet)
    )  # from the frame's edge to its other edge
    seen = sheet[top:bottom, left:right]
    assert (seen == (marked[0] * 255).round().to(torch.uint8).numpy().repeat(5, axis=0).repeat(5, axis=1)).all()


@pytest.mark.parametrize(("width", "height", "clips"), [(1024, 576, 7), (576, 1024, 4), (64, 64, 60)])
def test_what_is_large_is_reduced_until_it_fits_and_keeps_its_shape(width, height, clips):
    many = [LabelledClip(f"{number}", clip(width=width, height=height, frames=1)) for number in range(clips)]

    for picture in (draw_sheet(many, 1), shown(side_by_side(in_rows(many)))[0]):
        assert max(picture.shape) <= LONGEST_SIDE
        columns, rows = boxes(picture)
        wide, tall = columns[0][1] - columns[0][0], rows[0][1] - rows[0][0]
        assert wide / tall == pytest.approx(width / height, rel=0.05)
        assert max(picture.shape) > LONGEST_SIDE * 0.8 or wide == width  # no smaller than it has to be


def test_sides_are_even_as_videos_need_them():
    for width, height in ((33, 47), (64, 65), (77, 31)):
        _, tall, wide, _ = side_by_side([[LabelledClip("a", clip(width=width, height=height))]]).shape
        assert (tall % 2, wide % 2) == (0, 0)


def test_a_sheet_has_a_row_for_each_clip_and_shows_the_first_and_the_last_frame():
    counting = (torch.arange(10).reshape(10, 1, 1, 1) * 20 + 50) / 255 * torch.ones(10, 64, 64, 3) * torch.tensor(RED)
    sheet = draw_sheet([LabelledClip("counting", counting), LabelledClip("blue", clip(BLUE, frames=10))], 4)

    assert len(boxes(sheet, BLUE)[0]) == 4
    levels = np.unique(sheet[(sheet[..., 1] == 0) & (sheet[..., 2] == 0) & (sheet[..., 0] > 0)][:, 0])
    assert list(levels) == [50, 110, 170, 230]


def test_a_sheet_shows_nothing_of_a_clip_that_has_ended():
    sheet = draw_sheet([LabelledClip("long", clip(RED, frames=9)), LabelledClip("short", clip(BLUE, frames=5))], 3)

    assert (len(boxes(sheet, RED)[0]), len(boxes(sheet, BLUE)[0])) == (3, 2)


def test_a_sheet_of_few_frames_shows_each_once_and_one_frame_is_the_middle():
    assert len(boxes(draw_sheet([LabelledClip("a", clip(frames=3))], 8))[0]) == 3
    turning = torch.cat([clip(BLUE, frames=2), clip(RED, frames=1), clip(BLUE, frames=2)])
    assert boxes(draw_sheet([LabelledClip("a", turning)], 1), RED)[0]


def test_a_clip_that_has_ended_stays_at_its_last_frame_while_the_others_play():
    ending = torch.cat([clip(BLUE, frames=1), clip(RED, frames=1)])
    video = shown(side_by_side([[LabelledClip("long", clip(BLUE, frames=4)), LabelledClip("short", ending)]]))

    assert [len(boxes(frame, BLUE)[0]) for frame in video] == [2, 1, 1, 1]
    assert [len(boxes(frame, RED)[0]) for frame in video] == [0, 1, 1, 1]


def test_clips_of_several_sizes_lie_in_the_middle_of_their_rooms():
    video = shown(side_by_side([[LabelledClip("", clip(RED)), LabelledClip("", clip(BLUE, width=32, height=64))]]))

    ((left, right),), ((top, bottom),) = boxes(video[0], BLUE)
    ((_, end),), rows = boxes(video[0], RED)
    assert (right - left, bottom - top) == (160, 320)
    assert rows == [(top, bottom)]
    assert (left + right) / 2 - end == pytest.approx(160, abs=20)


@pytest.mark.parametrize("width", [32, 64, 1024])
def test_no_label_reaches_beyond_its_clip(width):
    wordy, silent = [LabelledClip(label, clip(width=width), label) for label in (LONG, "")]
    picture = shown(side_by_side([[silent, wordy, silent]]))[0]
    without = shown(side_by_side([[silent, LabelledClip("", clip(width=width), "x"), silent]]))[0]
    (first, second, third), ((top, _),) = boxes(picture)

    assert picture.shape == without.shape
    changed = runs((picture != without).any(axis=(0, 2)))
    assert changed[0][0] >= second[0] - 1 > first[1]  # a letter may begin a pixel early
    assert changed[-1][1] < third[0]
    assert runs((picture != without).any(axis=(1, 2)))[-1][1] < top


def test_labels_and_notes_are_written_above_each_row():
    def page(label, note):
        return draw_sheet([LabelledClip("before", clip(), "x"), LabelledClip(label, clip(BLUE), note)], 2)

    plain = page("", " ")
    (end_of_red,), (start_of_blue,) = (boxes(plain, color)[1] for color in (RED, BLUE))
    for label, note in (("moon at 1", " "), ("", "moves 0.1")):
        ((top, bottom),) = [(found[0][0], found[-1][1]) for found in [runs((page(label, note) != plain).any((1, 2)))]]
        assert end_of_red[1] < top < bottom < start_of_blue[0]


def test_fewer_letters_across_make_larger_words():
    clips = [[LabelledClip("before", clip(frames=1, width=320), "motion 0.13")] * 3]

    usual, larger = (shown(side_by_side(clips, letters))[0] for letters in (60, 30))

    (((top, _),), ((top_of_larger, _),)) = (boxes(picture)[1] for picture in (usual, larger))
    assert top_of_larger > 1.5 * top


def test_of_a_note_that_is_too_long_whole_parts_are_left_out():
    def page(note):
        return shown(side_by_side([[LabelledClip("a", clip(), note)] * 3]))[0]

    assert (
        page("motion 0.13, 0.043 from the first, 0.051 from the true clip") == page("motion 0.13, 0.043 from the first")
    ).all()
    assert (page("motion 0.13, 0.043 from the first") != page("motion 0.13")).any()


def test_there_is_paper_and_no_ink_where_nothing_is_said():
    sheet = draw_sheet([LabelledClip("", clip())], 1)
    assert tuple(sheet[-1, -1]) == tuple(sheet[0, 0]) == PAPER


@pytest.mark.parametrize(
    ("clips", "lengths"), [(1, [1]), (2, [2]), (4, [4]), (5, [3, 2]), (7, [4, 3]), (9, [3, 3, 3]), (0, [])]
)
def test_many_clips_are_shown_in_about_equal_rows(clips, lengths):
    rows = in_rows([LabelledClip(str(number), clip()) for number in range(clips)])

    assert [len(row) for row in rows] == lengths
    assert [one.label for row in rows for one in row] == [str(number) for number in range(clips)]


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_clips_are_shown(channels):
    assert draw_sheet([LabelledClip("", torch.zeros(2, 64, 64, channels))], 2).shape[2] == 3


def test_clips_are_left_as_they_are():
    frames = torch.rand(2, 8, 8, 3)
    before = frames.clone()
    side_by_side([[LabelledClip("", frames)]])
    draw_sheet([LabelledClip("", frames)], 2)
    assert torch.equal(frames, before)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: draw_sheet([], 2), "no clip to show"),
        (lambda: side_by_side([]), "no clip to show"),
        (lambda: draw_sheet([LabelledClip("", clip())], 0), "at least 1"),
        (lambda: side_by_side([[LabelledClip("", torch.zeros(0, 4, 4, 3))]]), "0 frames"),
        (lambda: draw_sheet([LabelledClip("", torch.full((1, 4, 4, 3), torch.nan))], 1), "NaN"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_sentence(call, said):
    with pytest.raises(MediaError, match=said):
        call()
