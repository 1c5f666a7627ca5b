"""Requests of scripts on web pages, such as Horizon's uploads: what a browser has to be told (http-api §1.7).

The options are those of oslo.middleware. That is not used itself: it would put WebOb around every answer, images
included, and asks the application before it answers a preflight.
"""

import falcon

from api.options import CorsOptions

_ALWAYS = frozenset(
    "accept accept-language content-type cache-control content-language expires last-modified pragma".split()
)
"""Headers that need no permission, or are so common that oslo.middleware asks for none."""


class Cors:
    """Middleware: answers preflights before anybody is authenticated, and marks all other answers, refusals too."""

    def __init__(self, options: CorsOptions) -> None:
        self._options = options
        self._origins = frozenset(options.allowed_origin)
        self._methods = frozenset(options.allow_methods)
        self._headers = _ALWAYS.union(name.lower() for name in options.allow_headers)

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer a preflight: 200, with the permission if there is one."""
        asked = req.get_header("Access-Control-Request-Method")
        if req.method != "OPTIONS" or not asked or not req.get_header("Origin"):
            return
        headers = [name.strip() for name in (req.get_header("Access-Control-Request-Headers") or "").split(",")]
        headers = [name for name in headers if name]
        permitted = asked in self._methods and self._headers.issuperset(name.lower() for name in headers)
        if permitted and self._allow(req, resp):
            resp.set_header("Access-Control-Allow-Methods", asked)
            if headers:
                resp.set_header("Access-Control-Allow-Headers", ",".join(headers))
            if self._options.max_age:
                resp.set_header("Access-Control-Max-Age", str(self._options.max_age))
        resp.append_header("Vary", "Origin")
        resp.complete = True
        req.context.preflight = True

    def process_response(self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool) -> None:
        """Let the script of an allowed origin see the answer."""
        if getattr(req.context, "preflight", False):
            return
        resp.append_header("Vary", "Origin")
        if self._allow(req, resp) and self._options.expose_headers:
            resp.set_header("Access-Control-Expose-Headers", ",".join(self._options.expose_headers))

    def _allow(self, req: falcon.Request, resp: falcon.Response) -> bool:
        origin = req.get_header("Origin")
        if not origin:
            return False
        if origin in self._origins:
            resp.set_header("Access-Control-Allow-Origin", origin)
            if self._options.allow_credentials:
                resp.set_header("Access-Control-Allow-Credentials", "true")
            return True
        if "*" in self._origins:
            # Browsers refuse credentials together with everybody.
            resp.set_header("Access-Control-Allow-Origin", "*")
            return True
        return False
