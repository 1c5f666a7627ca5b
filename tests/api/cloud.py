"""A service whose imports really happen, in the caller's own thread, asked by whom a request says it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import falcon
from falcon import testing

from api.app import create_app
from api.context import Context, caller_of, implied
from api.options import ApiOptions
from api.patches import V21
from tests.api.documented import documented
from tests.flows.service import Service as Flows
from tests.flows.service import eager_service

OCTETS = "application/octet-stream"
FORMATS = {"disk_format": "raw", "container_format": "bare"}
_WHO = "X-Test-Who"


def _authenticate(req: falcon.Request, request_id: str) -> Context:
    who = req.get_header(_WHO) or "admin"
    roles = implied(frozenset({"admin" if who == "admin" else "member"}))
    return caller_of(who, f"user of {who}", roles, request_id)


class Cloud:
    """Asks as a project; `admin` is the administrators' own."""

    def __init__(self, flows: Flows, options: ApiOptions) -> None:
        self.flows = flows
        app = create_app(flows.runtime, flows.dispatcher, options, authenticate=_authenticate)
        self._client = testing.TestClient(documented(app, options))

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        who: str = "mine",
        query: dict[str, Any] | None = None,
        **headers: str,
    ) -> testing.Result:
        """Send a request; underscores in the names of headers stand for dashes, and bytes are no JSON."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()} | {_WHO: who}
        given = {"body": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        content = sent.pop("Content-Type", None)
        if content is not None and "json" in given:
            given = {"body": falcon.media.JSONHandler().serialize(body, content)}
        if content is not None:
            sent["Content-Type"] = content
        return self._client.simulate_request(method, path, headers=sent, params=query, **given)

    def image(self, who: str = "mine", **attributes: Any) -> str:
        """The id of a new image without data."""
        made = self.ask("POST", "/v2/images", FORMATS | attributes, who)
        assert made.status_code == 201, made.text
        return str(made.json["id"])

    def show(self, image: str, who: str = "mine") -> dict[str, Any]:
        """The image as that project sees it."""
        shown: dict[str, Any] = self.ask("GET", f"/v2/images/{image}", who=who).json
        return shown

    def change(self, image: str, *operations: Any, dialect: str = V21, **more: Any) -> testing.Result:
        """Send a PATCH."""
        return self.ask("PATCH", f"/v2/images/{image}", list(operations), Content_Type=dialect, **more)

    def send(self, image: str, data: bytes, to: str = "file", **more: Any) -> testing.Result:
        """Send data."""
        return self.ask("PUT", f"/v2/images/{image}/{to}", data, Content_Type=OCTETS, **more)

    def bring(self, image: str, method: str = "web-download", who: str = "mine", **more: Any) -> testing.Result:
        """Ask for an import: of the source that is there, unless `uri` is another."""
        uri = {"uri": more.pop("uri", self.flows.origin.url("/image"))} if method == "web-download" else {}
        header = {"X_Image_Meta_Store": more.pop("header")} if "header" in more else {}
        return self.ask(
            "POST", f"/v2/images/{image}/import", {"method": {"name": method, **uri}, **more}, who, **header
        )

    def listed(self, who: str = "mine", **query: Any) -> list[str]:
        """The names of the images that a list shows."""
        answer = self.ask("GET", "/v2/images", who=who, query=query)
        assert answer.status_code == 200, answer.text
        return [image["name"] for image in answer.json["images"]]


@contextmanager
def cloud(directory: Path, **options: Any) -> Iterator[Cloud]:
    """A cloud with the stores a, b and c and every import method."""
    with eager_service(directory, max_attempts=1) as flows:
        yield Cloud(flows, ApiOptions(**options))
