"""Failures of Modal, told apart: what waiting mends, and what only a person mends."""

from __future__ import annotations

from typing import Literal

from tenyson.cloud.backend import Reason
from tenyson.errors import BackendError

Kind = Literal["auth", "configuration", "quota", "capacity", "away"]

REASONS: dict[Kind, Reason] = {
    "auth": "auth",
    "configuration": "user_error",
    "quota": "quota",
    "capacity": "capacity",
    "away": "infrastructure",
}
NEXT_STEPS: dict[Kind, str] = {
    "auth": "`modal token new` makes a token; MODAL_TOKEN_ID and MODAL_TOKEN_SECRET give one. `tenyson modal doctor` tries it.",
    "configuration": "Change the setting that Modal names. `tenyson modal doctor` checks them without starting anything.",
    "quota": "The workspace is at a limit: modal.com/settings shows it. `tenyson modal list` shows what runs.",
    "capacity": "Give more choice: gpu_fallbacks, or no region; or wait longer: queue_minutes.",
    "away": "Modal did not answer. Run the same command again to continue; `tenyson modal list` shows what runs.",
}


class ModalError(BackendError):
    """Modal refused or did not answer; `reason` is the class of the failure."""

    def __init__(
        self, cause: str, kind: Kind, *, place: str | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(cause, place=place, next_step=next_step or NEXT_STEPS[kind])
        self.kind = kind
        self.reason = REASONS[kind]


def modal_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What a call of the client may raise, and `more`; for `except`, without an import before it is needed."""
    import aiohttp
    import modal.exception
    from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

    return (
        modal.exception.Error, GRPCError, ProtocolError, StreamTerminatedError, aiohttp.ClientError, TimeoutError,
        ConnectionError, *more,
    )  # fmt: skip


def kind_of(error: Exception) -> Kind:
    """The kind of what the client raised; what is unknown is taken for an answer that did not come."""
    from modal import exception

    if isinstance(error, (exception.AuthError, exception.PermissionDeniedError)):
        return "auth"
    if isinstance(error, exception.ResourceExhaustedError):
        return "quota"
    if isinstance(
        error,
        (
            exception.NotFoundError,
            exception.InvalidError,
            exception.AlreadyExistsError,
            exception.ImageBuildError,
            exception.VersionError,
            exception.UnimplementedError,
            FileNotFoundError,
        ),
    ):
        return "configuration"
    return "away"


def explained(error: Exception, doing: str) -> ModalError:
    """What the client raised, as an error of ours: what was being done, Modal's own words, and the next step."""
    words = str(error).strip() or type(error).__name__
    return ModalError(f"{doing}: {words}", kind_of(error))
