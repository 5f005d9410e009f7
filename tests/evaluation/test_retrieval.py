import torch

from zoetrope.evaluation.retrieval import retrieval


def test_shares_count_those_that_find_their_own_first():
    captions = torch.eye(4)
    pictures = torch.eye(4)
    pictures[3] = captions[2] * 0.9  # likest to the third caption, which is still found first by its own picture

    found = retrieval(10 * pictures, captions)

    assert found.captions_of_pictures == 0.75
    assert found.pictures_of_captions == 0.5  # the third caption's two pictures are equally like, the fourth's none


def test_what_is_the_same_for_all_finds_nothing():
    found = retrieval(torch.ones(5, 3), torch.ones(5, 3))

    assert (found.captions_of_pictures, found.pictures_of_captions) == (0, 0)
