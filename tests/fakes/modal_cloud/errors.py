"""Errors as the client gets them."""

from __future__ import annotations

from grpclib import GRPCError, Status


def not_found(what: str) -> GRPCError:
    """It is not there."""
    return GRPCError(Status.NOT_FOUND, what)


def invalid(what: str) -> GRPCError:
    """The request makes no sense."""
    return GRPCError(Status.INVALID_ARGUMENT, what)


def exists(what: str) -> GRPCError:
    """It is there already."""
    return GRPCError(Status.ALREADY_EXISTS, what)


def conflict(what: str) -> GRPCError:
    """It cannot be done now."""
    return GRPCError(Status.FAILED_PRECONDITION, what)
