"""A small vocabulary of word pieces in the form of CLIP's: each word that it was made for is one piece.

Any other text is spelled with the pieces of words and, in the end, with bytes, so nothing is unknown.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

START, END = "<|startoftext|>", "<|endoftext|>"
ENDS_WORD = "</w>"
# What CLIP takes for a word: letters, a single digit, or what is neither.
WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\w\s]|_)+")

Pair = tuple[str, str]


@dataclass(frozen=True)
class Vocabulary:
    """Numbers of pieces, and which two neighbours become one, the first pair first."""

    pieces: dict[str, int]
    merges: tuple[Pair, ...]

    @property
    def start(self) -> int:
        return self.pieces[START]

    @property
    def end(self) -> int:
        return self.pieces[END]

    def numbers(self, caption: str) -> list[int]:
        """The pieces of a caption, without a start and an end."""
        return [self.pieces[piece] for word in words_in(caption) for piece in self._pieces_of(word)]

    def _pieces_of(self, word: str) -> tuple[str, ...]:
        pieces = _spelled(word)
        while pairs := set(pairwise(pieces)) & self._ranks.keys():
            pieces = _merged(pieces, min(pairs, key=self._ranks.__getitem__))
        return pieces

    @cached_property
    def _ranks(self) -> dict[Pair, int]:
        return {pair: rank for rank, pair in enumerate(self.merges)}


def words_in(caption: str) -> list[str]:
    return WORD.findall(unicodedata.normalize("NFC", caption).lower())


def learn_vocabulary(captions: Iterable[str]) -> Vocabulary:
    """Byte pairs merged, the most frequent in different words first, until every word is a piece."""
    words = {word for caption in captions for word in words_in(caption)}
    spelled = [_spelled(word) for word in sorted(words)]
    merges: list[Pair] = []
    while pairs := Counter(pair for word in spelled for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_merged(word, best) for word in spelled]
    letters = list(_bytes_as_letters().values())
    pieces = [*letters, *(letter + ENDS_WORD for letter in letters), *map("".join, merges), START, END]
    return Vocabulary({piece: number for number, piece in enumerate(pieces)}, tuple(merges))


def _spelled(word: str) -> tuple[str, ...]:
    letters = [_bytes_as_letters()[byte] for byte in word.encode()]
    return (*letters[:-1], letters[-1] + ENDS_WORD)


def _merged(word: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    pieces: list[str] = []
    for piece in word:
        if pieces and (pieces[-1], piece) == pair:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return tuple(pieces)


def _bytes_as_letters() -> dict[int, str]:
    """A printable letter for every byte, as CLIP's and GPT-2's vocabularies have them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(others)}
