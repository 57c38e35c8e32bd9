"""Names of parts, and what they stand for; imports neither torch nor NumPy.

A part (a sensor, a task, an encoder, an agent, a learner) is known by a name

* because it is in the package's own table, which says where to import it from;
* because it was registered, by decorator, by a module that was imported;
* because an installed package declares it as an entry point of the registry's group;
* or it is named by its place, `package.module:name`, and imported from there.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, overload

from encoders.support.validation import did_you_mean

Part = TypeVar("Part")
Entry = TypeVar("Entry")


class Registry(Generic[Part]):
    """A table of parts of one kind.

    Args:
        kind: What a part is called in messages, e.g. "sensor".
        group: Group of entry points by which installed packages add parts.
        builtin: The package's own parts, by name, as "package.module:attribute": a table that
            imports nothing until a part is asked for.
        name_of: How the name of a part is found where it is registered without one; by default its
            attribute `name`, else its Python name with dashes.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        builtin: Mapping[str, str] | None = None,
        name_of: Callable[[Any], str] | None = None,
    ) -> None:
        self.kind = kind
        self.group = group
        self._places: dict[str, str] = dict(builtin or {})
        self._parts: dict[str, Part] = {}
        self._name_of = name_of or _name_of
        self._installed: dict[str, str] | None = None

    @overload
    def register(self, part: Entry, *, name: str | None = None) -> Entry: ...

    @overload
    def register(self, *, name: str | None = None) -> Callable[[Entry], Entry]: ...

    def register(self, part: Any = None, *, name: str | None = None) -> Any:
        """Makes a part known by its name: a decorator, with or without arguments.

        Args:
            part: A class or function.
            name: What to call it; None = its attribute `name`, else its Python name with dashes.

        Raises:
            ValueError: The name belongs to another part.
        """
        if part is None:
            return lambda later: self.register(later, name=name)
        chosen = name or self._name_of(part)
        if not chosen or ":" in chosen:
            raise ValueError(f"{chosen!r} cannot name a {self.kind}; expected text without a colon")
        place = _place(part)
        known = self._parts.get(chosen)
        taken = known is not None and known is not part and _place(known) != place
        if taken or self._place_of(chosen) not in (None, place):
            raise ValueError(f"there is a {self.kind} {chosen!r} already; choose another name")
        self._parts[chosen] = part
        return part

    def names(self) -> list[str]:
        """Every known name, the package's own first, then those added, in the order they came."""
        return list(dict.fromkeys([*self._places, *self._parts, *self._entry_points()]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._parts or self._place_of(name) is not None)

    def knows(self, name: str) -> bool:
        """Whether a name is in the table, or says where its part is to be imported from."""
        return name in self or ":" in name

    def resolve(self, name: str) -> Part:
        """The part that a name stands for.

        Args:
            name: A known name, or the place of a part, `package.module:name`.

        Raises:
            ValueError: An unknown name, with those that are known; a place that cannot be imported.
        """
        if name in self._parts:
            return self._parts[name]
        place = self._place_of(name)
        if place is None and ":" not in name:
            raise ValueError(
                f"no {self.kind} {name!r}{did_you_mean(name, self.names())}; expected one of "
                f"{', '.join(self.names())}, or the place of one's own as package.module:name"
            )
        part = self._import(place or name)
        if place is not None:
            self._parts[name] = part
        return part

    def _import(self, place: str) -> Part:
        module, _, attribute = place.partition(":")
        try:
            part: Any = importlib.import_module(module)
            for each in attribute.split("."):
                part = getattr(part, each)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{self.kind} {place!r}: cannot be imported ({type(error).__name__}: {error}); "
                "expected package.module:name, with the package on Python's path"
            ) from error
        return part

    def _place_of(self, name: str) -> str | None:
        return self._places.get(name) or self._entry_points().get(name)

    def _entry_points(self) -> Mapping[str, str]:
        """What installed packages declare, by name; read once."""
        if self._installed is None:
            found = importlib.metadata.entry_points(group=self.group)
            self._installed = {each.name: each.value for each in found}
        return self._installed


def _name_of(part: Any) -> str:
    name = getattr(part, "name", None)
    return name if isinstance(name, str) else part.__name__.replace("_", "-")


def _place(part: Any) -> str:
    return f"{getattr(part, '__module__', '')}:{getattr(part, '__qualname__', '')}"
