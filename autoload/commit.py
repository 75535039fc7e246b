"""Files of one directory, replaced together: whole or not at all, durable, with the permissions of the umask.

Every file is first written beside its place. Then a journal says which those are: from that moment on the directory
reads as the new files, before as the old ones. Then all are renamed, and what is to go is removed. A process that is
killed at any step leaves one of the two, and the next save tidies up after it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from autoload.errors import FileError
from autoload.hub import JOURNAL, read_journal

Content = str | bytes | Callable[[Path], object]  # of a file, or what writes it to a path


def output_directory(path: str | os.PathLike) -> Path:
    """The directory, made if need be.

    Raises:
        FileError: there is a file of that name, or the directory cannot be made.
    """
    folder = Path(path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise FileError(f"{folder}: this is a file, expected a directory to save into.", path=str(folder)) from None
    except OSError as e:
        raise FileError(f"{folder}: the directory cannot be made: {e.strerror}.", path=str(folder)) from e
    if os.path.lexists(folder / JOURNAL):  # what an earlier save has begun
        with _alone(folder):
            _finish(folder)
    return folder


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step."""
    staged = _stage(path, text)
    os.replace(staged, path)
    _sync_directory(path.parent)


def replace(folder: Path, contents: Mapping[str, Content], removed: Iterable[str] = ()) -> None:
    """Replace files of a directory as one.

    Args:
        folder: from `output_directory`.
        contents: by name; a name may have folders before it.
        removed: names of files that are to go; what is written stays.

    Raises:
        FileError: a file cannot be written, and the old ones stand; or put in place, and the new ones count.
    """
    _clear_away(folder)
    staged: dict[str, Path] = {}
    try:
        for name, content in contents.items():
            staged[name] = _stage(folder / name, content, folder)
        journal = {
            "moves": {name: temporary.name for name, temporary in staged.items()},
            "removed": [name for name in removed if name not in staged],
        }
        staged[JOURNAL] = _stage(folder / JOURNAL, json.dumps(journal, indent=1))
        with _alone(folder):
            _finish(folder)  # of another save meanwhile
            os.replace(staged.pop(JOURNAL), folder / JOURNAL)  # the commit
            staged.clear()
            _sync_directory(folder)
            _finish(folder)
    except BaseException as e:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)
        if isinstance(e, OSError) and not isinstance(e, FileError):
            raise FileError(f"{folder}: cannot be written: {e.strerror or e}.", path=str(folder)) from e
        raise


def _stage(path: Path, content: Content, folder: Path | None = None) -> Path:
    """Write beside `path`, or in `folder`, under a name of its own, durably; nothing stays behind on failure."""
    folder = folder or path.parent
    temporary = folder / f".{_host()}-{os.getpid()}-{secrets.token_hex(4)}.tmp.{path.name}"
    try:
        path.parent.mkdir(exist_ok=True)
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        with open(temporary, "rb+") as f:
            os.fsync(f.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
    except BaseException as e:
        temporary.unlink(missing_ok=True)
        if isinstance(e, OSError):
            raise FileError(f"{path}: cannot be written: {e.strerror or e}.", path=str(path)) from e
        if type(e).__name__ == "SafetensorError":
            raise FileError(f"{path}: cannot be written: {e}.", path=str(path)) from e
        raise
    return temporary


def _finish(folder: Path) -> None:
    """Do what the journal of a committed save says."""
    if not os.path.lexists(folder / JOURNAL):
        return
    journal = read_journal(folder)
    try:
        for name, staged in journal.moves.items():
            with suppress(FileNotFoundError):  # done already
                os.replace(folder / staged, folder / name)
        for name in journal.removed:
            (folder / name).unlink(missing_ok=True)
        _sync_directory(folder)
        (folder / JOURNAL).unlink(missing_ok=True)
    except OSError as e:
        remedy = "Its new files are complete and load; save again to tidy up."
        raise FileError(
            f"{folder}: files cannot be put in place: {e.strerror}.", path=str(folder), remedy=remedy
        ) from e


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One save at a time puts its files in place, of all threads and processes; the system frees it when one dies."""
    if os.name == "nt":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a disk that knows no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _clear_away(folder: Path) -> None:
    """Remove what killed processes of this machine had written when they were killed."""
    pattern = re.compile(rf"\.{_host()}-(\d+)-[0-9a-f]{{8}}\.tmp\..+")
    for path in folder.iterdir():
        if (match := pattern.fullmatch(path.name)) and not _alive(int(match[1])):
            path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    if os.name == "nt":  # where there is no question without consequences
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _host() -> str:
    """Eight digits for this machine: on a shared disk, other machines' processes have numbers too."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _umask() -> int:
    """The umask of this process, read without setting it where the system tells: other threads would see that."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except OSError:
        pass
    return 0o022


def _sync_directory(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
