"""Objects that are found by environment and name: volumes, dicts, secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from modal_proto import api_pb2
from tests.fakes.modal_cloud.errors import exists, not_found

MAIN = "main"


class Named(Protocol):
    """What can be kept."""

    id: str
    name: str
    environment: str
    created: float


Kept = TypeVar("Kept", bound=Named)


class Names(Generic[Kept]):
    """All objects of one kind, newest first where they are listed."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._all: dict[str, Kept] = {}

    def __iter__(self) -> Iterator[Kept]:
        return iter(list(self._all.values()))

    def add(self, one: Kept) -> Kept:
        """Keep it."""
        self._all[one.id] = one
        return one

    def get(self, one_id: str) -> Kept:
        """By id."""
        if one_id not in self._all:
            raise not_found(f"{self._kind} '{one_id}' not found")
        return self._all[one_id]

    def drop(self, one_id: str) -> Kept:
        """Delete it."""
        one = self.get(one_id)
        del self._all[one_id]
        return one

    def find(self, name: str, environment: str) -> Kept | None:
        """By name."""
        for one in self._all.values():
            if one.name == name and one.environment == (environment or MAIN):
                return one
        return None

    def get_or_create(self, name: str, environment: str, creation: int, create: Callable[[], Kept]) -> Kept:
        """As the request's creation type says."""
        if creation in (
            api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL,
            api_pb2.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP,
        ):
            return self.add(create())
        there = self.find(name, environment)
        if there is None:
            if creation == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise not_found(f"{self._kind} '{name}' not found in environment '{environment or MAIN}'")
            return self.add(create())
        if creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise exists(f"{self._kind} '{name}' already exists in environment '{environment or MAIN}'")
        return there

    def page(self, environment: str, pagination: api_pb2.ListPagination) -> list[Kept]:
        """One page of a list of named objects."""
        before = pagination.created_before or float("inf")
        fit = [
            one
            for one in self._all.values()
            if one.name and one.environment == (environment or MAIN) and one.created < before
        ]
        fit.sort(key=lambda one: one.created, reverse=True)
        return fit[: pagination.max_objects or 100]
