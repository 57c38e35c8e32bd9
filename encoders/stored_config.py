"""What the configurations of all families have in common; fields are their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

FORMAT_VERSION = 1

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class StoredConfig:
    """A frozen dataclass that describes an encoder, into a `config.json` and back.

    Attributes:
        image_size: Height and width in pixels of the scenes it encodes.
        patch_size: Side of a square patch in pixels.
        num_classes: Outputs of the class head; 0 for none.
        class_names: Names of the classes the head was trained for; None while it is untrained.
    """

    # Fields that are tuples, which JSON has not, and those that are configurations themselves.
    _TUPLES: ClassVar[tuple[str, ...]] = ("image_size", "class_names", "mean", "std")
    _NESTED: ClassVar[Mapping[str, type]] = {}
    # Fields that are written where they say something alone.
    _SELDOM: ClassVar[tuple[str, ...]] = ()

    if TYPE_CHECKING:  # fields of whoever derives, which are frozen

        @property
        def image_size(self) -> tuple[int, int]: ...  # noqa: D102
        @property
        def patch_size(self) -> int: ...  # noqa: D102
        @property
        def num_classes(self) -> int: ...  # noqa: D102
        @property
        def class_names(self) -> tuple[str, ...] | None: ...  # noqa: D102

    def check_sizes(self) -> None:
        """Refuses scenes that are no whole number of patches, and names that fit no head.

        Raises:
            ValueError: They are not, or do not.
        """
        height, width = self.image_size
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise ValueError(
                f"{len(self.class_names)} class names for a head with {self.num_classes} outputs"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches in one scene."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON types, with the format version."""
        values = {
            name: _plain(value)
            for name, value in vars(self).items()
            if value or name not in self._SELDOM
        }
        return {"format_version": FORMAT_VERSION, **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuilds a configuration from `to_dict`, e.g. after a trip through JSON.

        Raises:
            ValueError: The format is newer than this code, or a key is unknown or missing.
        """
        fields = dict(values)
        version = fields.pop("format_version", FORMAT_VERSION)
        if version > FORMAT_VERSION:
            raise ValueError(
                f"encoder format version {version} is newer than {FORMAT_VERSION}; "
                "upgrade active-visual-exploration"
            )
        known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(fields) - known):
            raise ValueError(f"unknown keys in the encoder configuration: {unknown}")
        try:
            for name, value in fields.items():
                if value is None:
                    continue
                if name in cls._TUPLES:
                    fields[name] = tuple(value)
                elif name in cls._NESTED:
                    fields[name] = cls._NESTED[name](**value)
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"incomplete encoder configuration: {error}") from error


def _plain(value: Any) -> Any:
    """As JSON has it: dictionaries and lists for dataclasses, mappings and tuples."""
    if dataclasses.is_dataclass(value):
        return _plain(vars(value))
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value
