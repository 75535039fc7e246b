"""A repository of the Hub as the files of one model: one commit, through the cache that huggingface_hub keeps."""

from __future__ import annotations

import logging
import os
import posixpath
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from autoload.errors import (
    ArgumentError,
    CorruptFile,
    FileError,
    HubError,
    NotCached,
    RevisionNotFound,
)
from autoload.hub import Files, confined
from autoload.hubcache import COMMIT, HubCache, Listing

if TYPE_CHECKING:
    from autoload.download import Remote

log = logging.getLogger(__name__)

SHARED_FOR = 60.0  # seconds


class HubFiles(Files):
    """One commit of a Hub repository, through the cache of huggingface_hub.

    The first request, if one is needed at all, gives the commit and all its files with their hashes. What is absent is
    known from there, and every further request is for content.
    """

    def __init__(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        subfolder: str = "",
        cache_dir: str | os.PathLike | None = None,
        force_download: bool = False,
        local_files_only: bool | None = None,
        token: str | bool | None = None,
        purpose: str = "",
    ):
        self.repo_id, self.revision, self.subfolder, self.token = repo_id, revision or "main", subfolder, token
        self.where = repo_id + (f"@{revision}" if revision else "") + (f"/{subfolder}" if subfolder else "")
        self.commit = self.revision if COMMIT.fullmatch(self.revision) else None
        self.cache = HubCache(_cache_root(cache_dir), repo_id)
        self.purpose = purpose
        self.offline = bool(local_files_only) or _offline()
        self.force = force_download
        self._fresh: set[str] = set()  # downloaded by this object, where everything shall be
        self._listing: Listing | None = None
        self._fault: FileError | None = None  # why the cache has to do, although we are not offline
        if force_download and self.offline:
            text = "force_download=True needs the network, but offline mode is on (local_files_only or HF_HUB_OFFLINE)."
            raise ArgumentError(f"{repo_id}: {text} Drop one of the two.", name="force_download")

    def locate(self, name: str) -> str | None:
        name = posixpath.normpath(posixpath.join(self.subfolder, confined(name, self.where)))
        commit = self._resolve()
        if not self.force or name in self._fresh:
            path = self._cached(commit, name)
            if path is not None:
                return str(path)
            if self._known_absent(commit, name):
                return None
        if self.offline or self._fault:
            return self._not_here(commit, name)
        if (listing := self._files(commit)) is None:
            return self._not_here(commit, name)
        entry = listing.files.get(name)
        if entry is None and (name in listing.files or not listing.complete):
            entry = self._remote.entry(commit, name)
        if entry is None:
            return None
        self._remote.fetch(self.cache, commit, name, entry, self.force)
        self._fresh.add(name)
        path = self.cache.link(commit, name, entry)
        self.cache.point(self.revision, commit, listing.files)
        return str(path)

    def names(self) -> list[str]:
        commit = self._resolve()
        listing = self._files(commit)
        names = sorted(listing.files) if listing else self.cache.names(commit)
        prefix = f"{self.subfolder}/" if self.subfolder else ""
        return [name[len(prefix) :] for name in names if name.startswith(prefix)]

    def sizes(self) -> dict[str, int | None]:
        names = self.names()  # asks for the listing, if need be
        entries = self._listing.files if self._listing else {}
        found = {name: entries.get(posixpath.join(self.subfolder, name)) for name in names}
        return {name: entry.size if entry else None for name, entry in found.items()}

    def sha256(self, name: str) -> str:
        listing = self._files(self._resolve())
        entry = listing.files.get(posixpath.join(self.subfolder, name)) if listing else None
        return entry.digest if entry and entry.large else super().sha256(name)

    def first(self, name: str, count: int) -> bytes:
        commit, inside = self._resolve(), posixpath.join(self.subfolder, name)
        if self.offline or self._fault or self._cached(commit, inside) is not None:
            return super().first(name, count)
        return self._remote.first(commit, inside, count)

    def missing(self, names: list[str], purpose: str = "") -> FileError:
        if self.offline or self._fault:
            return self._unavailable(" or ".join(names))
        return super().missing(names, purpose)

    @cached_property
    def _remote(self) -> Remote:
        from autoload.download import Remote

        return Remote(self.repo_id, self.where, self.revision, self.token)

    def _resolve(self) -> str:
        """Decide once which commit everything comes from, and see what is known of it."""
        if self.commit is None:
            self.commit = self._current()
        if self._listing is None and not self.force:
            self._listing = self.cache.listing(self.commit)
        return self.commit

    def _current(self) -> str:
        """The commit that the revision is now, or was when the Hub was last asked."""
        cached = None if self.force else self.cache.commit_of(self.revision)
        if not self.offline and self._ask(cached) and self._listing:
            if not cached or cached == self._listing.commit or self.cache.writable():
                return self._listing.commit
            log.warning("%s: the cache %s is read-only; using its %s.", self.where, self.cache.folder, cached[:12])
            self._listing = None
        if cached is None:
            raise self._unavailable(f"revision {self.revision}")
        return cached

    def _ask(self, cached: str | None) -> bool:
        """Ask the Hub for the commit and its files; False when it fails and the cache, with `cached`, has to do."""
        from autoload.download import TRIES

        key = (
            self._remote.endpoint,
            str(self.cache.root),
            self.repo_id,
            self.revision,
            self._remote.headers.get("authorization"),
        )
        if not self.force and (shared := _shared(key, self.purpose)) is not None:
            self._listing = shared
            return True
        try:
            self._listing = self._remote.listing(1 if cached else TRIES)
        except HubError as e:  # no connection, a portal that wants a login, a token that has run out, ...
            if cached is None or isinstance(e, RevisionNotFound):
                raise
            log.warning("%s Using what the cache has of %s.", e, cached[:12])
            self._fault = e
            return False
        _share(key, self.purpose, self._listing)
        self.cache.remember(self._listing, self.force)
        self.cache.point(self.revision, self._listing.commit, self._listing.files)
        return True

    def _files(self, commit: str) -> Listing | None:
        """What the commit holds, if that is known or the Hub can be asked."""
        if self._listing is None and not self.offline and not self._fault:
            self._ask(commit if self.cache.has(commit) and not self.force else None)
        return self._listing

    def _cached(self, commit: str, name: str) -> Path | None:
        """The file in the cache, unless it is missing or damaged there."""
        path = self.cache.path(commit, name)
        if not os.path.isfile(path):
            return None
        entry = self._listing.files.get(name) if self._listing else None
        size = path.stat().st_size
        if entry is None or size == entry.size:
            return path
        text = f"{path}: damaged: {size} bytes, expected {entry.size}."
        if self.offline or self._fault or not self.cache.writable():
            remedy = "Load it again with the network and force_download=True."
            raise CorruptFile(text, path=str(path), expected=entry.size, found=size, remedy=remedy)
        log.warning("%s Downloading it again.", text)
        return None

    def _known_absent(self, commit: str, name: str) -> bool:
        if self._listing and self._listing.complete:
            return name not in self._listing.files
        return self.cache.marked_absent(commit, name)

    def _not_here(self, commit: str, name: str) -> None:
        """The cache has to do and lacks a file: an error if the commit has it, absent if nobody knows of it.

        Caches filled by other programs do not say what the commit holds. Most files are optional, so such a file counts as
        absent; who cannot do without it gets the error of `missing`, which says that the cache was all there was.
        """
        known = self._listing is not None and name in self._listing.files
        if known or not self.cache.has(commit) or os.path.islink(self.cache.path(commit, name)):
            raise self._unavailable(name)

    def _unavailable(self, what: str) -> FileError:
        """Not in the cache, and the Hub was not asked or did not answer."""
        revisions = self.cache.commits()
        cached = f"cached revisions: {', '.join(r[:12] for r in revisions)}" if revisions else "nothing of it is cached"
        text = f"{what} is not in the cache {self.cache.root} ({cached})."
        if self._fault:
            return type(self._fault)(f"{self._fault} And {text}", **vars(self._fault))
        return NotCached(
            f"{self.where}: offline mode is on and {text} Load it once with the network, or name a cached revision.",
            repo_id=self.repo_id,
            revision=self.revision,
            filename=what,
            cache_dir=str(self.cache.root),
            cached_revisions=revisions,
        )


@dataclass
class _Answer:
    """What the Hub said of a revision, when, and what has been loaded on its word."""

    listing: Listing
    time: float
    purposes: set[str]


# The last answer for each revision: configuration, tokenizer and weights, loaded one after the other, are of one commit
# for one request. Whoever loads one of them again wants to know what is there now, and asks again.
_answers: dict[tuple[str | None, ...], _Answer] = {}


def _shared(key: tuple[str | None, ...], purpose: str) -> Listing | None:
    """A recent answer that has not served this purpose yet."""
    answer = _answers.get(key)
    if not purpose or answer is None or purpose in answer.purposes or time.monotonic() - answer.time > SHARED_FOR:
        return None
    answer.purposes.add(purpose)
    return answer.listing


def _share(key: tuple[str | None, ...], purpose: str, listing: Listing) -> None:
    now = time.monotonic()
    for old in [k for k, answer in list(_answers.items()) if now - answer.time > SHARED_FOR]:
        _answers.pop(old, None)
    _answers.pop(key, None)
    if purpose:
        _answers[key] = _Answer(listing, now, {purpose})


def forget(repo_id: str) -> None:
    """Ask the Hub again for this repository: this process has changed it."""
    for key in [key for key in list(_answers) if key[2] == repo_id]:
        _answers.pop(key, None)


def _cache_root(cache_dir: str | os.PathLike | None) -> Path:
    if cache_dir is None:
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE)
    try:
        return Path(cache_dir).expanduser()
    except (TypeError, RuntimeError):  # no path at all, or ~stranger
        text = f"cache_dir is {cache_dir!r}, expected a directory."
        raise ArgumentError(text, name="cache_dir") from None


def _offline() -> bool:
    """Whether the environment says so, now or when huggingface_hub was imported."""
    from huggingface_hub import constants

    said = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return said.upper() in {"1", "ON", "YES", "TRUE"} or constants.HF_HUB_OFFLINE
