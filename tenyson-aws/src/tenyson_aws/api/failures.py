"""Failures of AWS, told apart: what another zone mends, what waiting mends, and what only a person mends."""

from __future__ import annotations

from typing import Any, Literal

from tenyson.cloud.backend import Reason
from tenyson.errors import BackendError, TenysonError

Kind = Literal["capacity", "quota", "auth", "throttled", "configuration", "not_found", "away"]

_CODES: dict[Kind, tuple[str, ...]] = {
    "capacity": (
        "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientReservedInstanceCapacity",
        "InsufficientCapacity", "UnfulfillableCapacity", "SpotMaxPriceTooLow", "Unsupported", "UnsupportedOperation",
        "InsufficientFreeAddressesInSubnet",
    ),
    "quota": (
        "InstanceLimitExceeded", "VcpuLimitExceeded", "MaxSpotInstanceCountExceeded", "VolumeLimitExceeded",
        "MaxSpotFleetRequestCountExceeded", "SecurityGroupLimitExceeded", "ResourceLimitExceeded",
    ),
    "auth": (
        "UnauthorizedOperation", "AuthFailure", "AccessDenied", "AccessDeniedException", "InvalidClientTokenId",
        "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException", "RequestExpired", "OptInRequired",
        "PendingVerification", "UnrecognizedClientException", "IncompleteSignature", "MissingAuthenticationToken",
    ),
    "throttled": ("RequestLimitExceeded", "Throttling", "ThrottlingException", "EC2ThrottledException", "SlowDown",
                  "TooManyRequestsException", "RequestThrottled", "BandwidthLimitExceeded"),
    "not_found": ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"),
    "away": ("InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "RequestTimeout", "502", "503", "504"),
}  # fmt: skip
KINDS: dict[str, Kind] = {code: kind for kind, codes in _CODES.items() for code in codes}

REASONS: dict[Kind, Reason] = {
    "capacity": "capacity",
    "quota": "quota",
    "auth": "auth",
    "throttled": "throttled",
    "configuration": "user_error",
    "not_found": "lost",
    "away": "infrastructure",
}

NEXT_STEPS: dict[Kind, str] = {
    "capacity": "Give more choice: instance_types, another region, no zones, or on_demand_fallback; or try again later.",
    "quota": "Ask for more in the console: Service Quotas, Amazon EC2, the quota named above. `tenyson aws doctor` shows yours.",
    "auth": "`tenyson aws doctor` says which permission is missing; the whole policy is printed by `tenyson aws policy`.",
    "throttled": "AWS asks for fewer requests; it was tried for a while. Try again in some minutes.",
    "configuration": "Change the setting that AWS names. `tenyson aws doctor` checks them without starting anything.",
    "away": "AWS did not answer. As far as is known nothing is left running; run the same command again.",
}


def kind_of(code: str) -> Kind:
    """The kind of an error code of EC2; one that is unknown is taken for a mistake in the request."""
    return KINDS.get(code, "configuration")


def code_of(error: Exception) -> tuple[str, str]:
    """Code and message of what boto3 raised. No code where AWS was not reached at all, or nobody is logged in."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    detail = response.get("Error", {})
    return str(detail.get("Code", "")), str(detail.get("Message", "") or error)


def kind_of_error(error: Exception) -> Kind:
    """The kind of what boto3 raised."""
    from botocore.exceptions import (
        ClientError,
        CredentialRetrievalError,
        NoCredentialsError,
        NoRegionError,
        PartialCredentialsError,
        ProfileNotFound,
        TokenRetrievalError,
    )

    if isinstance(error, ClientError):
        code = code_of(error)[0]
        # A code that nobody knows here, such as that of a gateway in between: the status still tells whose fault it is.
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return KINDS.get(code) or _kind_of_status(status) or kind_of(code)
    if isinstance(
        error,
        (
            NoCredentialsError,
            PartialCredentialsError,
            ProfileNotFound,
            CredentialRetrievalError,
            TokenRetrievalError,
        ),
    ):
        return "auth"
    if isinstance(error, NoRegionError):
        return "configuration"
    return "away"


def _kind_of_status(status: int) -> Kind | None:
    if status in (401, 403, 407):
        return "auth"
    if status == 429:
        return "throttled"
    return "away" if status >= 500 else None


def aws_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What a call of boto3 may raise, and `more`; for `except`, without an import before it is needed."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return ClientError, BotoCoreError, ResponseParserError, *more


class AWSError(BackendError):
    """AWS refused or did not answer; `reason` is the class of the failure."""

    def __init__(
        self, cause: str, kind: Kind, *, place: str | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(cause, place=place, next_step=next_step or NEXT_STEPS.get(kind))
        self.kind = kind
        self.reason = REASONS[kind]
        if self.reason == "user_error":
            self.exit_status = TenysonError.exit_status


def explained(error: Exception, doing: str) -> AWSError:
    """What boto3 raised, as an error of ours: what was being done, AWS's own code and words, and the next step."""
    code, message = code_of(error)
    return AWSError(f"{doing}: {f'{code}: ' if code else ''}{message}", kind_of_error(error))
