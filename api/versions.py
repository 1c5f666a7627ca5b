"""Which versions there are, and how a path names one (http-api §1.1, §2): settled before anybody is authenticated."""

import falcon

from api.bodies import answer
from api.options import ApiOptions

CURRENT = "v2.17"
SUPPORTED = ("v2.15", *(f"v2.{minor}" for minor in range(13, -1, -1)))
"""Not listed: 2.14, 2.16 and 2.18, which stand for an image cache."""

_SEGMENTS = frozenset({"v2", CURRENT, *SUPPORTED})

COLLECTIONS = frozenset({"images", "info", "schemas", "stores", "tasks"})
"""What paths begin with behind the version. Some of keystoneauth's plugins (http_basic) ask for `/images` where they
were given an endpoint without `/v2`, and glanceclient for `/v2/v2/images` where it was given one with it: both get what
they mean.
"""

UNVERSIONED = frozenset({"healthcheck", "openapi.json", "docs"})
"""What is open to everybody and belongs to no version."""

_MULTIPLE_CHOICES = "300 Multiple Choices"


def base_url(req: falcon.Request, options: ApiOptions) -> str:
    """The URL that clients reach this service at, without a slash at its end."""
    return options.public_endpoint.rstrip("/") or req.prefix


class Versions:
    """Middleware: answers with the versions document, or lets `/v2` and `UNVERSIONED` pass; `/v2.9/…` is `/v2/…`."""

    def __init__(self, options: ApiOptions) -> None:
        self._options = options

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Rewrite `req.path`, or answer at once."""
        rest, versioned = req.path.lstrip("/"), False
        while (first := rest.partition("/")[0]) in _SEGMENTS:
            rest, versioned = rest[len(first) + 1 :], True
        if first == "versions":
            self._answer(req, resp, falcon.HTTP_200)
        elif first in COLLECTIONS or (versioned and rest):
            req.path = f"/v2/{rest}"
        elif first not in UNVERSIONED:
            self._answer(req, resp, _MULTIPLE_CHOICES)

    def _answer(self, req: falcon.Request, resp: falcon.Response, status: str) -> None:
        links = [{"rel": "self", "href": f"{base_url(req, self._options)}/v2/"}]
        document = [{"id": CURRENT, "status": "CURRENT", "links": links}]
        document += [{"id": version, "status": "SUPPORTED", "links": links} for version in SUPPORTED]
        answer(resp, {"versions": document})
        resp.status = status
        resp.complete = True
