"""The lock file: which commit of each repository is meant, and the sha256 of every file of it.

`autoload lock org/model` writes `autoload.lock`. A load with `lock="autoload.lock"`, or any load while the environment
variable AUTOLOAD_LOCK names such a file, takes the commit from there and reads no file whose content is another. A
directory is locked by its path relative to the lock file.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autoload.errors import ArgumentError, CorruptFile, FileError, LockError
from autoload.hub import Files, read_json, sha256_of

NAME, VARIABLE, FORMAT = "autoload.lock", "AUTOLOAD_LOCK", 1
SHA256 = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}")
Identity = tuple[int, ...]  # of a file and its content, as far as the system tells
Row = dict[str, Any]  # revision, commit (both None for a directory), files: name -> sha256


class LockedFiles(Files):
    """Files of a model, each of which has the content that a lock file says."""

    def __init__(self, files: Files, lock: Path, row: Row, subfolder: str = ""):
        self.files, self.lock, self.row, self.subfolder = files, lock, row, subfolder
        self.where, self.commit = files.where, files.commit
        self._right: dict[str, tuple[str, Identity]] = {}  # name -> where, and what the hashed file was

    def locate(self, name: str) -> str | None:
        path = self.files.locate(name)
        inside = posixpath.normpath(posixpath.join(self.subfolder, name))
        expected = self.row["files"].get(inside)
        if path is None:
            if expected is not None:
                raise self._changed(f"{self.where}/{name}", None, expected)
            return None
        if inside not in self._right:
            found, identity = _hashed(path) if expected else (None, ())
            if found != expected or expected is None:
                raise self._changed(path, found, expected)
            self._right[inside] = path, identity
        return path

    def confirm(self) -> None:
        for path, identity in self._right.values():
            if _identity(path) != identity:
                text = f"{path}: this file was changed while it was loaded, expected the one that {self.lock} names."
                raise LockError(text, path=path, lock=str(self.lock), found=None, expected=None)

    def names(self) -> list[str]:
        return self.files.names()

    def sizes(self) -> dict[str, int | None]:
        return self.files.sizes()

    def first(self, name: str, count: int) -> bytes:
        return self.files.first(name, count)

    def missing(self, names: list[str], purpose: str = "") -> FileError:
        return self.files.missing(names, purpose)

    def _changed(self, path: str, found: str | None, expected: str | None) -> LockError:
        if expected is None:
            text = f"{path}: this file is not in {self.lock}, expected no file but those."
        elif found is None:
            text = f"{path}: this file is gone, expected one with the sha256 {expected} by {self.lock}."
        else:
            text = f"{path}: this file has the sha256 {found}, expected {expected} by {self.lock}."
        return LockError(text, path=path, lock=str(self.lock), found=found, expected=expected)


def read_lock(path: Path) -> dict[str, Row]:
    """The rows of a lock file by name of repository.

    Raises:
        MissingFile: there is none.
        CorruptFile: it is no lock file; names the field.
    """
    content = read_json(path)

    def wrong(field: str, found: Any, expected: str) -> CorruptFile:
        text = f"{path}: {field} is {str(found)[:80]!r}, expected {expected}."
        return CorruptFile(text, path=str(path), remedy="Restore this file, or write it again with `autoload lock`.")

    version = content.get("version") if isinstance(content, dict) else None
    if version != FORMAT:
        raise wrong("version", version, f"{FORMAT}, as `autoload lock` writes")
    rows = content.get("repositories")
    if not isinstance(rows, dict):
        raise wrong("repositories", rows, "an object with a row for each repository")
    for name, row in rows.items():
        files = row.get("files") if isinstance(row, dict) else None
        if not isinstance(files, dict) or not all(_matches(SHA256, value) for value in files.values()):
            raise wrong(f"repositories.{name}.files", files, "names of files and their sha256")
        if row.get("commit") is not None and not _matches(COMMIT, row["commit"]):
            raise wrong(f"repositories.{name}.commit", row["commit"], "a commit, or null for a directory")
    return rows


def write_lock(path: Path, rows: dict[str, Row]) -> None:
    """Replace the lock file."""
    from autoload.commit import write_text

    content = {"version": FORMAT, "repositories": dict(sorted(rows.items()))}
    write_text(path, json.dumps(content, indent=2) + "\n")


def lock_row(files: Files, revision: str | None) -> Row:
    """What a lock file says of these files. Large files of the Hub are not downloaded: it tells their sha256 itself."""
    digests = {name: files.sha256(name) for name in files.names() if name != NAME}
    return {"revision": (revision or "main") if files.commit else None, "commit": files.commit, "files": digests}


def row_name(lock: Path, name: str, files: Files) -> str:
    """What a lock file calls a model: its name on the Hub, or where its directory is."""
    if files.commit:
        return name
    return Path(os.path.relpath(Path(name).expanduser().resolve(), lock.parent.resolve())).as_posix()


def locked(
    lock: str | os.PathLike | bool | None,
    name: str,
    revision: str | None,
    subfolder: str,
    opened: Callable[[str | None], Files],
    directory: bool,
) -> Files:
    """The files of a model as the lock file says.

    Args:
        lock: the caller's; None is what the environment names.
        name: of the repository, or the path of the directory.
        revision: that the caller asks for.
        subfolder: in which the files are.
        opened: gives the files at a revision.
        directory: what `name` is.

    Raises:
        LockError: the lock file does not have it, or has another revision of it. A directory that it does not have is
            refused only where the caller named the lock file: programs also load what they have just saved.
    """
    path = _lock_path(lock)
    row = _find(path, name, directory)
    if row is None:
        if directory and lock is None:
            return opened(revision)
        text = f"{name}: not in {path}, expected one of the repositories there."
        remedy = f"Run `autoload lock {name}`, or load it without a lock."
        raise LockError(text, path=name, lock=str(path), found=None, expected=None, remedy=remedy)
    if not directory and revision not in (None, row.get("revision"), row["commit"]):
        text = (
            f"{name}: revision {revision!r} was asked for, expected {row.get('revision')} ({row['commit']}) by {path}."
        )
        raise LockError(text, path=name, lock=str(path), found=revision, expected=row["commit"])
    return LockedFiles(opened(row.get("commit")), path, row, subfolder)


def _lock_path(lock: str | os.PathLike | bool | None) -> Path:
    """The argument's file, or the environment's; True is `autoload.lock` here."""
    chosen = os.environ[VARIABLE] if lock is None else NAME if lock is True else lock
    try:
        return Path(chosen).expanduser().absolute()  # type: ignore[arg-type]
    except (TypeError, RuntimeError):
        text = f"lock is {lock!r}, expected the path of a lock file, True for {NAME}, or False for none."
        raise ArgumentError(text, name="lock") from None


def _find(lock: Path, name: str, directory: bool) -> Row | None:
    rows = read_lock(lock)
    if not directory:
        row = rows.get(name)
        return row if row is not None and row.get("commit") else None
    place = Path(name).expanduser().resolve()
    own = (row for key, row in rows.items() if not row.get("commit") and (lock.parent / key).resolve() == place)
    return next(own, None)


def _hashed(path: str) -> tuple[str, Identity]:
    """The sha256 of a file, and which file had it: whatever takes its name, or is written into it later, is another."""
    before = _identity(path)
    found = sha256_of(path)
    return found, before if _identity(path) == before else ()


def _identity(path: str) -> Identity:
    try:
        s = os.stat(path)
    except OSError:
        return ()
    return s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
