"""What names of clips tell: the class, the group and the number in `v_ApplyEyeMakeup_g01_c02`, and words for a caption.

UCF50 and UCF101 are laid out `class/v_Class_g01_c02.avi`. Clips of one group were cut from one recording, so a model
that has seen one of them has nearly seen the others.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from .footage import ALL_IN_ONE, Clip

ACTION = re.compile(r"(?:v[_-])?(?P<action>.+?)[_-]g(?P<group>[0-9]+)(?:[_-]c(?P<number>[0-9]+))?", re.IGNORECASE)
# Between a small letter and a capital, and before the last capital of several that begins a word: HTML|Video, 2|Run.
WORD_STARTS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])")


@dataclass(frozen=True)
class ActionName:
    """The parts of a name like v_ApplyEyeMakeup_g01_c02."""

    action: str  # as it is written
    group: str  # its digits, without zeros before them
    number: str  # the same, "" where there is none


def parse_action(name: str) -> ActionName | None:
    """Take a clip's or a video's name apart, without its suffix; None where it is not built like that."""
    match = ACTION.fullmatch(name)
    if match is None:
        return None
    group, number = (digits and (digits.lstrip("0") or "0") for digits in (match["group"], match["number"] or ""))
    return ActionName(match["action"], group, number)


def comparable(name: str) -> str:
    """Equal for names that differ in case only, or in how a system writes a letter with an accent."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def class_of(clip: Clip) -> str:
    """The class of a clip as it is written: the folder that it lies in, or what its name says; "" where neither."""
    *folders, last = clip.name.split("/")
    if folders:
        return folders[-1]
    action = _action_of(clip, last)
    return action.action if action else ""


def group_of(clip: Clip) -> str:
    """The number of the group that a clip belongs to, "" where its name and its source's do not tell."""
    action = _action_of(clip, clip.name.split("/")[-1])
    return action.group if action else ""


def _action_of(clip: Clip, name: str) -> ActionName | None:
    return parse_action(name) or parse_action(clip.source.rpartition(".")[0])


def words(name: str) -> str:
    """A name as people would say it: "ApplyEyeMakeup" and "apply_eye_makeup" become "apply eye makeup"."""
    pieces = re.sub(r"[\s_\-.+]+", " ", name).split()
    spoken = [word for piece in pieces for word in WORD_STARTS.split(piece)]
    # A word that is all capitals is an abbreviation, and stays one.
    return " ".join(word if len(word) > 1 and word.isupper() else word.lower() for word in spoken)


def words_of(clip: Clip) -> str:
    """What a clip's name says it shows: its class where it is named like UCF's, else its own name; "" for none."""
    last = clip.name.split("/")[-1]
    if last == ALL_IN_ONE:
        return ""
    action = parse_action(last)
    return words(action.action if action else last)
