"""Every error that this package raises on purpose.

A message says what is wrong, where (file or field), what was found against what was expected, and what to do.
The facts are attributes of the exception, so that a program need not parse the text; `remedy` is what to do. Each class keeps the built-in
base that users of the Auto classes already catch: OSError for files and the Hub, ValueError for configurations and
tasks, RuntimeError for weights, TypeError for arguments.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any


class AutoloadError(Exception):
    """Base of all errors raised on purpose; keyword arguments become attributes. `remedy` ends the message."""

    remedy: str = ""  # of a class: what mostly helps, where the place that raises knows nothing better

    def __init__(self, message: str, *, remedy: str | None = None, **facts: Any):
        remedy = type(self).remedy if remedy is None else remedy
        super().__init__(f"{message} {remedy}".rstrip())
        self.__dict__.update(facts, remedy=remedy)

    def __reduce__(self):
        return _rebuild, (type(self), self.args[0], dict(self.__dict__))

    if TYPE_CHECKING:  # the facts

        def __getattr__(self, name: str) -> Any: ...


class FileError(AutoloadError, OSError):
    """Something is wrong with a file or a directory. Facts: `path`."""

    def __str__(self) -> str:  # OSError would print its errno pair
        return str(self.args[0])


class NoSuchDirectory(FileError, FileNotFoundError):
    """A path was given and nothing is there. Facts: `path`."""


class MissingFile(FileError, FileNotFoundError):
    """A directory or repository lacks a file that is needed. Facts: `where`, `names`, `present`."""

    remedy = "Add what is missing, or pass the directory or revision that has it."


class CorruptFile(FileError, ValueError):
    """A file is there but its content is not what its name promises. Facts: `path`."""

    remedy = "Restore this file, or download it again (force_download=True)."


class CorruptCheckpoint(CorruptFile, RuntimeError):
    """A weights file is truncated, damaged, or inconsistent with its index. Facts: `path`."""


class LockError(FileError, ValueError):
    """Something is not what the lock file says. Facts: `path`, `lock`, `found`, `expected`."""

    remedy = "Restore it; if the change is meant, write the lock file again with `autoload lock`."


class HubError(FileError):
    """The Hub did not give what was asked for. Facts: `repo_id`, `revision`."""


class RepositoryNotFound(HubError):
    """No such repository, or a private one without the right token."""


class GatedRepository(HubError):
    """The repository exists, but its owner must grant access first."""


class RevisionNotFound(HubError):
    """The repository has no such branch, tag or commit."""


class NotCached(HubError):
    """Offline mode, and the cache does not hold the file. Facts: `filename`, `cache_dir`, `cached_revisions`."""

    filename: str | None = None  # OSError's own is a slot, which would hide the fact of this name


class HubUnreachable(HubError, ConnectionError):
    """The Hub could not be reached or answered with a fault. Facts: `endpoint`."""


class RateLimited(HubUnreachable):
    """The Hub asked us to slow down. Facts: `status`, `retry_after` (seconds or None)."""


class ConfigError(AutoloadError, ValueError):
    """A configuration field has a value that cannot be meant. Facts: `field`, `got`, `expected`."""

    field: str
    got: Any
    expected: str
    where: str
    hint: str

    def __init__(self, field: str, got: Any = None, expected: str = "", *, where: str = "config.json", hint: str = ""):
        found = repr(got)
        found = found if len(found) <= 120 else found[:117] + "..."
        text, remedy = f"{where}: {field} is {found}, expected {expected}.", hint
        if where.endswith(".json"):
            remedy = f"{hint} Correct the field, or download the file again.".lstrip()
        facts = dict(field=field, got=got, expected=expected, where=where, hint=hint)
        AutoloadError.__init__(self, text, remedy=remedy, **facts)

    @classmethod
    def of(cls, cause: Exception, where: str, made: str) -> ConfigError:
        """What a field that no check knows of did to the code that uses it."""
        reason = " ".join(f"{type(cause).__name__}: {cause}".split())[:200]
        return cls("configuration", reason, f"fields that make a {made}", where=where)


class UnknownModelType(AutoloadError, ValueError):
    """No registered type has this `model_type`. Facts: `model_type`, `nearest`, `architectures`."""


class TaskError(AutoloadError, ValueError):
    """The model type has no head for this task. Facts: `model_type`, `task`, `available`."""

    available: list[str]


class RemoteCodeRefused(AutoloadError, ValueError):
    """The repository wants its own code to run. Facts: `where`, `auto_map`."""


class WeightsError(AutoloadError, RuntimeError):
    """The weights do not fit the model. Facts: `missing`, `unexpected`, `mismatched`."""


class ArgumentError(AutoloadError, TypeError):
    """A call got an argument it does not know or cannot use. Facts: `name`."""


class AdapterError(AutoloadError, ValueError):
    """An adapter cannot go on the model, or the model has none of that name. Facts: `name`, `available`."""


class TemplateError(AutoloadError, ValueError):
    """A chat template failed, did something forbidden, or took too much. Facts: `template`."""

    remedy = "Correct it, or pass another one as chat_template=..."


class TokenizerError(AutoloadError, ValueError):
    """A tokenizer cannot do what it was asked with this input or setting. Facts: `field`."""


class AudioError(AutoloadError, ValueError):
    """A sound, or a setting of a feature extractor or processor, cannot be used. Facts: `field`."""


class GenerationError(AutoloadError, ValueError):
    """A generation setting has a value that cannot be meant. Facts: `field`, `got`, `expected`."""

    remedy = "Correct this setting, or leave it out."


def _rebuild(cls: type[AutoloadError], message: str, facts: dict[str, Any]) -> AutoloadError:
    error = cls.__new__(cls, message)
    AutoloadError.__init__(error, message, remedy="")  # the text has it already
    error.__dict__.update(facts)
    return error


# What code that trusts its input raises when that is not what it expects.
UNFORESEEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known words most like `word`, best first."""
    import difflib  # only where something went wrong

    return difflib.get_close_matches(word, list(known), n=count, cutoff=0.55)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'dtype'?"`, or nothing when no known word is near."""
    found = nearest(word, known, 1)
    return f"; did you mean {found[0]!r}?" if found else ""


def unknown_argument(function: str, name: str, known: Iterable[str]) -> ArgumentError:
    """The error for a keyword that `function` does not take."""
    hint = did_you_mean(name, known) or ". Drop it, or see the documentation of this function."
    return ArgumentError(f"{function}: unknown argument {name!r}{hint}", name=name)


@contextmanager
def reading(
    path: str | os.PathLike[str], what: str = "file", error: type[CorruptFile] = CorruptFile, remedy: str | None = None
) -> Iterator[None]:
    """Turn whatever goes wrong while `path` is read or parsed into one error that names the file.

    Our own errors pass through unchanged. Parsers written in Rust may panic; that is an error of the file too.
    """
    try:
        yield
    except AutoloadError:
        raise
    except FileNotFoundError as e:
        raise MissingFile(f"{path}: no such {what}.", path=str(path), names=[os.path.basename(path)]) from e
    except PermissionError as e:
        raise unreadable(path, what) from e
    except BaseException as e:
        if not isinstance(e, Exception) and type(e).__name__ != "PanicException":
            raise  # KeyboardInterrupt, SystemExit
        reason = " ".join((str(e) or type(e).__name__).split()).rstrip(".")
        if reason.startswith("Permission denied"):  # a parser written in Rust opens files by itself
            raise unreadable(path, what) from e
        if isinstance(e, RecursionError):
            reason = "nested too deeply"
        raise error(f"{path}: this {what} cannot be read: {reason[:300]}.", path=str(path), remedy=remedy) from e


def unreadable(path: str | os.PathLike[str], what: str = "file") -> FileError:
    """The error for a file that this user may not read."""
    remedy = "Allow this user to read it (chmod)."
    return FileError(f"{path}: this {what} cannot be read: permission denied.", path=str(path), remedy=remedy)
