"""Which examples each class of a store has, without a look at all of them each time."""

from __future__ import annotations

from array import array
from random import Random

from edgeml.personalize._tables import Database


class Members:
    """The numbers of the examples of each class, as they are in the database.

    They are read once, and again when another process has changed the store. Choosing one, adding
    one and taking one out cost the same however many there are.

    Args:
        database: Where the examples are.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._version = -1
        self._of: dict[str, array[int]] | None = None

    def forget(self) -> None:
        """Read them again before the next use: a change was taken back, or made past this."""
        self._of = None

    def read(self) -> dict[str, array[int]]:
        """Return the numbers by class, the oldest class first; within a change only."""
        version = self._db.version()
        if self._of is None or version != self._version:
            self._of = {}
            for label, number in self._db.all("SELECT label, id FROM examples ORDER BY id"):
                self._of.setdefault(label, array("q")).append(number)
            self._version = version
        return self._of

    def add(self, label: str, number: int) -> None:
        """Note a new example, if they were read."""
        if self._of is not None:
            self._of.setdefault(label, array("q")).append(number)

    def take(self, label: str, random: Random, spare: int = 0) -> int:
        """Take one example of a class out by chance, but never `spare`; return its number."""
        own = self.read()[label]
        at = random.randrange(len(own))
        while own[at] == spare:
            at = random.randrange(len(own))
        found = own[at]
        own[at] = own[-1]  # their order says nothing
        own.pop()
        return found

    def drop_last(self, label: str) -> None:
        """Take the newest example of a class out again."""
        self.read()[label].pop()
