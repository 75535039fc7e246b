"""Lets programs written for the reference recognise our classes: `isinstance(model, transformers.PreTrainedModel)`.

Trainers, adapters and pipelines ask that before they use what our objects have too. Each class marked with `stands_for`
gets the reference's class among its bases once both are imported, in whichever order, and then the answer is yes, for
objects that exist already as well. Nothing else changes: a screen between the two classes hides whatever the
reference's class would bring along, so that every attribute and method is the same as without it. Only our own classes
are touched, and the reference is never imported from here.

Without the reference this costs nothing but one finder in `sys.meta_path`, which compares the names of imports with a
handful of names and is the only way to learn that the reference came later. `AUTOLOAD_BRIDGE=0` in the environment
keeps it all away; `disable()` takes it back.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock  # threading's, without what else it brings: tokenizers import this module
from collections.abc import Callable
from typing import Any, TypeVar

C = TypeVar("C", bound=type)


class Pair:
    """One of our classes, and where the reference has its counterpart. `bases` are our class's own, once it is joined."""

    def __init__(self, ours: type, module: str, name: str):
        self.ours, self.module, self.name = ours, module, name
        self.bases: tuple[type, ...] | None = None


PAIRS: list[Pair] = []
_enabled = os.environ.get("AUTOLOAD_BRIDGE", "1") not in ("0", "")
_lock = RLock()


class Anchor:
    """A base for classes that would have none: Python exchanges the bases only of a class that has one."""


def stands_for(module: str, name: str | None = None) -> Callable[[C], C]:
    """Mark a class as the counterpart of the reference's class `name`, by default its namesake, in `module`."""

    def mark(cls: C) -> C:
        with _lock:
            PAIRS.append(Pair(cls, module, name or cls.__name__))
        settle()
        return cls

    return mark


def settle() -> None:
    """Join every pair whose two classes are there by now, and watch for the others."""
    if not _enabled:
        return
    with _lock:
        waiting = [pair for pair in PAIRS if pair.bases is None and not _join(pair)]
    _watcher.modules = frozenset(pair.module for pair in waiting)
    if waiting and _watcher not in sys.meta_path:
        sys.meta_path.insert(0, _watcher)


def enable() -> None:
    """Turn the bridge on, as it is from the start."""
    global _enabled
    _enabled = True
    settle()


def disable() -> None:
    """Give all classes their own bases back, and watch imports no more."""
    global _enabled
    _enabled = False
    with _lock:
        for pair in reversed(PAIRS):
            if pair.bases is not None:
                pair.ours.__bases__, pair.bases = pair.bases, None
    if _watcher in sys.meta_path:
        sys.meta_path.remove(_watcher)


def _join(pair: Pair) -> bool:
    """Put the reference's class among the bases of ours; whether that is done."""
    theirs = getattr(sys.modules.get(pair.module), pair.name, None)
    if not isinstance(theirs, type):
        return False
    # A module in the reference's place is made of our classes. Abstract classes remember what `issubclass` was told.
    if theirs in pair.ours.__mro__:
        return True
    own = pair.ours.__bases__
    kept = tuple(base for base in own if base not in theirs.__mro__)
    try:
        pair.ours.__bases__ = (*kept, _screen(pair.ours, theirs), theirs)
    except TypeError as e:
        import logging

        text = "%s cannot pass for the %s.%s of this release: %s"
        logging.getLogger("autoload").warning(text, pair.ours, pair.module, pair.name, e)
        return True
    pair.bases = own
    return True


def _screen(ours: type, theirs: type) -> type:
    """A base that stands before `theirs`: what both inherit is found as before, what only `theirs` has is not found."""
    shared = [cls for cls in ours.__mro__ if cls in theirs.__mro__]
    members: dict[str, Any] = {}
    for name in {name for cls in theirs.__mro__ if cls not in shared for name in vars(cls)}:
        if name in ("__dict__", "__weakref__", "__module__", "__doc__", "__annotations__", "__slots__"):
            continue
        heir = next((cls for cls in shared if name in vars(cls)), None)
        if heir is not None:
            members[name] = vars(heir)[name]
        elif not hasattr(ours, name) and not name.startswith("__"):
            members[name] = Hidden(name)
    return type(f"Before{theirs.__name__}", (), members)


class Hidden:
    """An attribute that is not there."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        raise AttributeError(f"{owner.__name__!r} object has no attribute {self.name!r}")


class Watcher:
    """Finds no module itself; joins classes when a module of the reference that they wait for has run."""

    modules: frozenset[str] = frozenset()

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in self.modules:
            return None
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            run: Any = spec.loader.exec_module  # type: ignore[union-attr]

            def exec_module(module: Any) -> None:
                run(module)
                settle()

            spec.loader.exec_module = exec_module  # type: ignore[union-attr,method-assign]  # of this one module's loader
        return spec


_watcher = Watcher()
