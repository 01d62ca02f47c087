"""ApiError: a request that is refused, in OpenAI's form."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """Why a request gets no reply. Clients of OpenAI raise it again, as BadRequestError and the like."""

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code

    def body(self) -> dict[str, Any]:
        """What is sent."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {
            "error": {"message": self.message, "type": kind, "param": self.param, "code": self.code},
        }
