"""Videos on disk: which there are below a folder, and what each one's clip is called."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..media.frame_folders import RESERVED_BY_WINDOWS, UNSAFE_CHARACTERS
from .footage import MANIFEST, FootageError, natural_order, path_order
from .naming import comparable

VIDEO_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".mxf", ".y4m", ".dv", ".h264", ".h265", ".hevc"),
    *(".gif", ".nut"),
}
OF_SYSTEMS = {"lost+found", "System Volume Information", "$RECYCLE.BIN"}  # on every disk, and closed to its users
LONGEST_NAME_BYTES = 120  # leaves room for "_frame_123456.png", and for file systems that encrypt names


@dataclass(frozen=True)
class Video:
    path: Path
    below: str  # its name below the folder that was given, its parts joined by "/"
    clip: str  # the name of the clip that it becomes


def find_videos(source: str | Path, root: str | Path, keep_folders: bool = False) -> list[Video]:
    """The videos in a file, a folder or a tree, in natural order; what lies in `root`, the output, is left out.

    Each one's clip is called like the video. Where two would share a name, each takes the names of its folders too,
    then its suffix; so a name depends on which videos there are, and not on the order in which they are found.
    """
    source, root = Path(source), Path(root)
    if source.is_dir():
        paths = {path.relative_to(source).as_posix(): path for path in _videos_below(source, root)}
        if not paths:
            raise FootageError(f"There is no video in {source} or in the folders below it. Check the folder's name.")
    elif source.exists():
        paths = {source.name: source}
    else:
        raise FootageError(f"{source} does not exist. Give a video, or a folder with videos in it or below it.")
    names = clip_names(list(paths), keep_folders)
    return [Video(paths[below], below, names[below]) for below in sorted(paths, key=path_order)]


def _videos_below(source: Path, root: Path) -> Iterator[Path]:
    output, inside = root.resolve(), source.resolve()
    left_out = output if output != inside else None
    seen = set()
    for folder, folders, files in os.walk(source, onerror=_refuse_closed, followlinks=True):
        here = Path(folder).resolve()
        if here in seen or here == left_out:  # links may lead in a circle, or to what is a folder here too
            folders.clear()
            continue
        seen.add(here)
        shown = [name for name in folders if not name.startswith(".") and name not in OF_SYSTEMS]
        folders[:] = sorted(shown, key=lambda name: ((Path(folder) / name).is_symlink(), natural_order(name)))
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES:
                yield Path(folder) / name


def _refuse_closed(error: OSError) -> None:
    """Say what would else go unnoticed: a set that lacks what lies in a folder."""
    raise FootageError(
        f"The folder {error.filename} cannot be opened: {error.strerror}. Change its permissions, or move it elsewhere."
    )


def clip_names(videos: list[str], keep_folders: bool = False) -> dict[str, str]:
    """A name for each video's clip, by the video's name below its source. No two are the same on any system."""
    ways = [_name_with_folders if keep_folders else _name, _joined, _joined_with_suffix, _with_digest]
    way = dict.fromkeys(videos, 0)
    while True:
        names = {video: ways[way[video]](video) for video in videos}
        clashing = _clashing(names)
        if not clashing:
            return names
        longer = {video for video in clashing if way[video] < len(ways) - 1}
        if not longer:
            raise FootageError(
                f"{' and '.join(sorted(clashing)[:2])} cannot be told apart by name. Rename one of them."
            )
        for video in longer:
            way[video] += 1


def _clashing(names: dict[str, str]) -> set[str]:
    """The videos whose clips would share a folder, or whose clip's folder would hold another clip's."""
    by_name: dict[str, list[str]] = {MANIFEST: []}
    for video, name in names.items():
        by_name.setdefault(comparable(name), []).append(video)
    above = {"/".join(parts[:end]) for parts in (name.split("/") for name in by_name) for end in range(1, len(parts))}
    return {
        video
        for name, videos in by_name.items()
        for video in videos
        if len(videos) > 1 or name in above or name == MANIFEST
    }


def _stem(video: str) -> str:
    folder, slash, name = video.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def _name(video: str) -> str:
    return _safe(_stem(video).rpartition("/")[2])


def _name_with_folders(video: str) -> str:
    return "/".join(map(_safe, _stem(video).split("/")))


def _joined(video: str) -> str:
    return _safe(_stem(video).replace("/", "_"))


def _joined_with_suffix(video: str) -> str:
    return _safe(video.replace("/", "_").replace(".", "_"))


def _with_digest(video: str) -> str:
    return f"{_joined_with_suffix(video)}_{digest(video)}"


def digest(text: str) -> str:
    """A few letters that stand for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _safe(name: str) -> str:
    """The name as one that every system can store."""
    safe = UNSAFE_CHARACTERS.sub("_", name).strip(". ") or "_"
    if RESERVED_BY_WINDOWS.fullmatch(safe):
        safe = f"_{safe}"
    if len(safe.encode()) > LONGEST_NAME_BYTES:
        safe = f"{safe.encode()[: LONGEST_NAME_BYTES - 9].decode('utf-8', 'ignore')}_{digest(name)}"
    return safe


def sha256_of(path: Path, watch: Callable[[], None] = lambda: None) -> str:
    """The digest of a file's bytes; `watch` is called between blocks, and may raise to cancel."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            sha.update(block)
            watch()
    return sha.hexdigest()


def modified(path: Path) -> tuple[int, int]:
    """A file's size in bytes and time of change in nanoseconds."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns
