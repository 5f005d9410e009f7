"""Footage as one zip file and back: `finetuning.zip` holding `finetuning/<video>/<frame>`.

A zip comes from anywhere, so nothing in it is believed: not the names, which may lead out of the folder, and not the
sizes, behind which a few kilobytes may unpack to fill a disk.
"""

import io
import re
import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ..media.files import folder_written_beside, written_beside
from ..media.frame_folders import LONGEST_NAME_BYTES, RESERVED_BY_WINDOWS, UNSAFE_CHARACTERS
from .captions import caption_files
from .footage import ALL_IN_ONE, MANIFEST, Footage, FootageError, path_order

TOP_FOLDER = "finetuning"  # what training scripts look for in a zip
PACKED_ALREADY = {".png", ".jpg", ".jpeg", ".webp"}  # a second packing costs time and saves nothing
# The first that a zip can hold, for every entry, so that equal footage gives equal bytes.
OLDEST_TIME = (1980, 1, 1, 0, 0, 0)
PLAIN_FILE = 0o100644
WRITTEN_ON_UNIX = 3
CHUNK_BYTES = 2**20

# What a zip may hold. A set of half a million frames or of a terabyte is made of several zips.
MOST_ENTRIES = 500_000
LARGEST_DIRECTORY_BYTES = 2**27  # the list of the entries, which is read into memory as a whole
LARGEST_FILE_BYTES = 2**34
LARGEST_TOTAL_BYTES = 2**40
# Pictures hardly shrink in a zip, black ones in BMP files a lot: it takes both a size and a ratio to be called a bomb.
LARGEST_RATIO = 200
SMALL_ENOUGH_BYTES = 2**28
LONGEST_PATH_BYTES = 1000

# What systems leave lying about, and nobody meant to send.
LITTER = re.compile(r"(^|/)(__MACOSX(/|$)|\.DS_Store$|\._[^/]*$|Thumbs\.db$|desktop\.ini$)")
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
IS_ENCRYPTED = 0x1  # the flag bits of an entry
BROKEN_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError)

OnFile = Callable[[int, int], None]
"""Told how many files are done, of how many; to cancel, it raises."""


def nobody_listens(done: int, total: int) -> None:
    """What `on_file` is where nobody asks."""


# Out


def zip_footage(footage: Footage, path: str | Path, name: str = TOP_FOLDER, on_file: OnFile = nobody_listens) -> Path:
    """Write the frames, the manifest and the captions of footage into a zip, all of them below a folder `name`.

    What else lies in the footage's folder stays out. The same files give the same bytes, whenever they were written.
    """
    path = Path(path)
    if not footage.clips:
        raise FootageError(f"There is no clip in {footage.root} to put into a zip.")
    check_parts((name,), "The folder in the zip")
    files = [(f"{name}/{below}", footage.root / below) for below in footage_files(footage)]
    _check_names([below for below, _ in files], footage.root.name)
    with written_beside(path) as draft, zipfile.ZipFile(draft, "w", allowZip64=True) as archive:
        for done, (below, file) in enumerate(files):
            on_file(done, len(files))
            _pack(archive, below, file)
    on_file(len(files), len(files))
    return path


def footage_files(footage: Footage) -> list[str]:
    """The names below the root of all files that belong to footage: manifest, captions, frames."""
    names = [MANIFEST] if (footage.root / MANIFEST).is_file() else []
    for clip in sorted(footage.clips, key=lambda clip: path_order(clip.name)):
        folder = "" if clip.name == ALL_IN_ONE else f"{clip.name}/"
        names += sorted(file.relative_to(footage.root).as_posix() for file in caption_files(footage, clip))
        names += [f"{folder}{frame}" for frame in clip.frames]
    return list(dict.fromkeys(names))


def _pack(archive: zipfile.ZipFile, below: str, file: Path) -> None:
    if not file.is_file():
        raise FootageError(f"{file} is not there any more, or is no file. Read the footage again, and then zip it.")
    entry = zipfile.ZipInfo(below, OLDEST_TIME)
    entry.compress_type = (
        zipfile.ZIP_STORED if PurePosixPath(below).suffix.lower() in PACKED_ALREADY else zipfile.ZIP_DEFLATED
    )
    entry.create_system, entry.external_attr = WRITTEN_ON_UNIX, PLAIN_FILE << 16
    entry.file_size = file.stat().st_size  # tells whether the entry needs the fields for files over 2 GiB
    with file.open("rb") as source, archive.open(entry, "w") as target:
        shutil.copyfileobj(source, target, CHUNK_BYTES)


# In


@dataclass(frozen=True)
class Unzipped:
    """What came out of a zip."""

    root: Path
    files: int
    left_out: tuple[str, ...]  # names of what systems leave lying about, like .DS_Store


def unzip_footage(path: str | Path, out: str | Path, on_file: OnFile = nobody_listens) -> Unzipped:
    """Unpack a zip into a new folder, which appears whole or not at all.

    The one folder that footage is wrapped in becomes `out` itself: what `zip_footage` wrote comes back as it was.
    """
    path, out = Path(path), Path(out)
    with _opened(path) as archive, folder_written_beside(out) as draft:
        entries = [entry for entry in archive.infolist() if not LITTER.search(entry.filename)]
        left_out = tuple(entry.filename for entry in archive.infolist() if LITTER.search(entry.filename))
        _check_entries(entries, path, free_bytes=shutil.disk_usage(draft).free)
        files = [entry for entry in entries if not entry.is_dir()]
        wrapping = _wrapping([entry.filename for entry in files], path)
        for done, entry in enumerate(files):
            on_file(done, len(files))
            _unpack(archive, entry, draft / entry.filename.removeprefix(wrapping), path.name)
        on_file(len(files), len(files))
    return Unzipped(out, len(files), left_out)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip for reading; what is wrong with it becomes a sentence, also later, while it is read."""
    if not path.is_file():
        what = "is a folder, not a zip file" if path.is_dir() else "does not exist"
        raise FootageError(f"{path} {what}. Check the name and the folder.")
    try:
        with _ModestReader(path) as file, zipfile.ZipFile(file) as archive:
            yield archive
    except FootageError:
        raise
    except BROKEN_ZIP_ERRORS as error:
        raise FootageError(
            f"{path.name} is no zip file, or is damaged or cut off ({error}). Copy or download it again."
        ) from error


class _ModestReader(io.FileIO):
    """A file that gives no more at once than the list of entries may take, which zipfile reads whatever its size."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LARGEST_DIRECTORY_BYTES:
            raise FootageError(
                f"{Path(str(self.name)).name} has a list of entries of {size / 2**20:.0f} MiB, which no footage of "
                f"{MOST_ENTRIES} files needs. Ask for it in smaller parts, and take it from someone you trust."
            )
        return super().read(size)


def _check_entries(entries: Sequence[zipfile.ZipInfo], path: Path, free_bytes: int) -> None:
    """Refuse what must not be unpacked before a single byte of it is."""
    if not any(not entry.is_dir() for entry in entries):
        raise FootageError(f"{path.name} holds no files. Make it again from a folder of clips.")
    _check_sizes(entries, path, free_bytes)
    for entry in entries:
        _check_kind(entry, path.name)
    _check_names([entry.orig_filename for entry in entries], path.name)


def _check_sizes(entries: Sequence[zipfile.ZipInfo], path: Path, free_bytes: int) -> None:
    packed, total = path.stat().st_size, sum(entry.file_size for entry in entries)
    largest = max(entries, key=lambda entry: entry.file_size)
    problem = ""
    if len(entries) > MOST_ENTRIES:
        problem = f"it holds {len(entries)} entries, and at most {MOST_ENTRIES} are unpacked at once"
    elif largest.file_size > LARGEST_FILE_BYTES:
        problem = f"{_shown(largest.filename)} would unpack to {_gibibytes(largest.file_size)}"
    elif total > LARGEST_TOTAL_BYTES or (total > SMALL_ENOUGH_BYTES and total > LARGEST_RATIO * packed):
        problem = f"its {_gibibytes(packed)} would unpack to {_gibibytes(total)}, as no pictures do"
    elif sum(entry.compress_size for entry in entries) > packed:
        problem = "its entries share their bytes, which is how a small file unpacks to a huge one"
    if problem:
        raise FootageError(f"{path.name} is not unpacked: {problem}. Take it from someone you trust, in smaller parts.")
    if total > free_bytes:
        raise FootageError(
            f"{path.name} unpacks to {_gibibytes(total)}, and {_gibibytes(free_bytes)} are free on that disk. "
            "Free some space, or choose a folder on another disk."
        )


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**27 else f"{size / 2**20:.1f} MiB"


def _check_kind(entry: zipfile.ZipInfo, archive: str) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "neither a file nor a folder"
        raise FootageError(
            f"{_shown(entry.filename)} in {archive} is {what}, which could lead anywhere. "
            "Make the zip again from plain files."
        )
    if entry.flag_bits & IS_ENCRYPTED:
        raise FootageError(f"{archive} is protected by a password. Unpack it by hand, and use the folder.")
    if entry.compress_type not in METHODS:
        raise FootageError(
            f"{_shown(entry.filename)} in {archive} is packed by method {entry.compress_type}, and only stored and "
            "deflated entries are read. Make the zip again with those, or unpack it by hand."
        )


def _check_names(names: Sequence[str], archive: str) -> None:
    """Refuse names that lead out, that some system cannot store, and two that some system takes for one."""
    taken: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in names:
        parts = name.removesuffix("/").split("/")
        check_parts(parts, f"An entry of {archive}")
        key = _as_systems_compare("/".join(parts))
        if key in taken:
            raise FootageError(
                f"{archive} holds {_shown(taken[key])} and {_shown(name)}, which are one file on some systems. "
                "Rename one of them, and make the zip again."
            )
        if not name.endswith("/"):
            taken[key] = name
        above = parts if name.endswith("/") else parts[:-1]
        folders.update((_as_systems_compare("/".join(above[:end])), name) for end in range(1, len(above) + 1))
    for key in taken.keys() & folders.keys():
        raise FootageError(
            f"{archive} holds {_shown(taken[key])} as a file and {_shown(folders[key])} in a folder of that name. "
            "Rename one of them, and make the zip again."
        )


def _as_systems_compare(name: str) -> str:
    """Names that are equal so are one file on Windows and on macOS."""
    return unicodedata.normalize("NFC", name).casefold()


def check_parts(parts: Sequence[str], what: str) -> None:
    """Refuse a path that leaves its folder, or that some system cannot store."""
    name = "/".join(parts)
    reason = ""
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or any(part in ("", ".", "..") for part in parts):
        reason = "could lead out of the folder that it is unpacked into"
    elif "\\" in name:
        reason = 'has a "\\" in it, which only Windows takes for the end of a folder\'s name'
    elif any(UNSAFE_CHARACTERS.search(part) or part != part.rstrip(". ") for part in parts):
        reason = "holds a character that not every system can store, or ends in one"
    elif any(RESERVED_BY_WINDOWS.fullmatch(part) for part in parts):
        reason = "is the name of a device on Windows"
    elif len(name.encode()) > LONGEST_PATH_BYTES or any(len(part.encode()) > LONGEST_NAME_BYTES for part in parts):
        reason = "is too long for some systems"
    if reason:
        raise FootageError(f"{what} is called {_shown(name)}, which {reason}. Rename it, and make the zip again.")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:60]}...{name[-17:]}")


def _wrapping(names: Sequence[str], path: Path) -> str:
    """The folder that all footage in the zip lies in, with its "/", or "" where there is none."""
    top, slash, _ = names[0].partition("/")
    wraps = slash and all(name.startswith(top + slash) and name != top + slash for name in names)
    # One clip in a folder is no wrapping, and one class of clips may be all that there is.
    meant = f"{top}/{MANIFEST}" in names or top in (TOP_FOLDER, path.stem)
    holds_clips = f"{top}/{MANIFEST}" in names or any(name.count("/") > 1 for name in names)
    return top + slash if wraps and meant and holds_clips else ""


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, name: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("xb") as file:
        written = _copied(source, file, entry, name)
    if written != entry.file_size:
        raise FootageError(
            f"{_shown(entry.filename)} in {name} is cut off: it announces {entry.file_size} bytes and has {written}. "
            "Copy or download the zip again."
        )


def _copied(source: IO[bytes], file: IO[bytes], entry: zipfile.ZipInfo, name: str) -> int:
    """Copy an entry, and stop as soon as there is more of it than was announced and checked."""
    written = 0
    while chunk := source.read(CHUNK_BYTES):
        written += len(chunk)
        if written > entry.file_size:
            raise FootageError(
                f"{_shown(entry.filename)} in {name} announces {entry.file_size} bytes and goes on after them. "
                "Take the zip from someone you trust."
            )
        file.write(chunk)
    return written
