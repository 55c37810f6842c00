"""One line of JSON for each request, on standard error: what was asked, and what became of it.

No picture, no token and no header of a client's is in it but the request_id.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("vsa.serve")


def start_log() -> None:
    """Let the lines go to standard error; somebody who reads no more is no fault of a request's."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    LOGGER.handlers = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    logging.raiseExceptions = False


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """A record as one line of JSON; what a request has is in ``record.request``."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "request", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)
