"""What may be asked for of the classes, by the page and by `hrpro dataset classes`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hrpro.pipeline.datasets.classes import ClassList


class _Edit(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rename(_Edit):
    """Another name for a class."""

    type: Literal["rename"]
    name: str
    to: str

    def apply(self, classes: ClassList) -> ClassList:
        """Return the new list."""
        return classes.rename(self.name, self.to)


class Merge(_Edit):
    """One class of several."""

    type: Literal["merge"]
    names: tuple[str, ...]
    into: str

    def apply(self, classes: ClassList) -> ClassList:
        """Return the new list."""
        return classes.merge(self.names, self.into)


class Delete(_Edit):
    """No such class."""

    type: Literal["delete"]
    name: str
    with_labels: bool = False

    def apply(self, classes: ClassList) -> ClassList:
        """Return the new list."""
        return classes.delete(self.name)


class Order(_Edit):
    """These first, in this order."""

    type: Literal["order"]
    names: tuple[str, ...]

    def apply(self, classes: ClassList) -> ClassList:
        """Return the new list."""
        return classes.order(self.names)


class Set(_Edit):
    """Key, colour, description; an empty text takes one away."""

    type: Literal["set"]
    name: str
    key: str | None = None
    color: str | None = None
    description: str | None = None

    def apply(self, classes: ClassList) -> ClassList:
        """Return the new list."""
        return classes.set(self.name, key=self.key, color=self.color, description=self.description)


ClassEdit = Annotated[Rename | Merge | Delete | Order | Set, Field(discriminator="type")]
