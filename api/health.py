"""Whether this process should be sent requests (http-api §1.8)."""

from pathlib import Path

import falcon


class Health:
    """`/healthcheck`, open to everybody. While the file `disable_file` exists, the process wants no requests."""

    def __init__(self, disable_file: str) -> None:
        self._disable_file = Path(disable_file) if disable_file else None

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """200 `OK`, or 503."""
        resp.content_type = "text/plain; charset=UTF-8"
        if self._disable_file is not None and self._disable_file.exists():
            resp.status = falcon.HTTP_503
            resp.text = "DISABLED BY FILE"
        else:
            resp.text = "OK"

    on_head = on_get
