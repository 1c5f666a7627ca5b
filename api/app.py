"""The application: every route on one page, and nothing else."""

from dataclasses import replace
from typing import Any, TypeAlias

import falcon

from api import errors, info
from api.actions import Switch
from api.authentication import authenticator
from api.bodies import Fixed
from api.context import Authenticate, Contexts
from api.cors import Cors
from api.data import Data
from api.health import Health
from api.image_view import ImageView
from api.images import Image, Images
from api.imports import Import
from api.limits import limit_source
from api.lingering import Lingering
from api.locations import Locations
from api.members import ImageMember, Members
from api.openapi import OpenApi
from api.options import ApiOptions
from api.policy import Policy
from api.proxies import Proxies
from api.schemas import documents
from api.staging import Stage
from api.stores import StoreImage
from api.tags import ImageTag
from api.tasks import ImageTasks, Task, Tasks
from api.versions import Versions
from flows.dispatch import Dispatcher
from flows.runtime import Runtime

App: TypeAlias = falcon.App[falcon.Request, falcon.Response]


def create_app(
    runtime: Runtime, dispatcher: Dispatcher, options: ApiOptions, *, authenticate: Authenticate | None = None
) -> App:
    """Wire the WSGI application.

    `authenticate` tells who sent a request; without it, `auth_strategy` decides. Where limits are Keystone's, those of
    the runtime are not looked at. Raises `ValueError` for options that cannot work.
    """
    runtime = replace(runtime, limits=limit_source(options, runtime.limits))
    contexts = Contexts(authenticate or authenticator(options), Policy(options))
    app: App = falcon.App(middleware=_middleware(options, contexts))
    errors.install(app)
    view = ImageView(runtime.stores, options)
    app.add_route("/healthcheck", Health(options.healthcheck_disable_file))
    app.add_route("/v2/images", Images(runtime, options, view))
    app.add_route("/v2/images/{image_id}", Image(runtime, dispatcher, options, view))
    app.add_route("/v2/images/{image_id}/file", Data(runtime, options))
    app.add_route("/v2/images/{image_id}/import", Import(runtime, dispatcher))
    app.add_route("/v2/images/{image_id}/locations", Locations(runtime, dispatcher))
    app.add_route("/v2/images/{image_id}/stage", Stage(runtime))
    app.add_route("/v2/images/{image_id}/tasks", ImageTasks(runtime))
    app.add_route("/v2/images/{image_id}/members", Members(runtime, options))
    app.add_route("/v2/images/{image_id}/members/{member}", ImageMember(runtime))
    app.add_route("/v2/images/{image_id}/tags/{tag}", ImageTag(runtime, options))
    app.add_route("/v2/images/{image_id}/actions/deactivate", Switch(runtime, "deactivated", "deactivate"))
    app.add_route("/v2/images/{image_id}/actions/reactivate", Switch(runtime, "active", "reactivate"))
    app.add_route("/v2/info/import", info.import_methods(runtime.options.methods))
    app.add_route("/v2/info/stores", info.stores(runtime.stores))
    app.add_route("/v2/info/usage", info.ProjectUsage(runtime))
    app.add_route("/v2/info/stores/detail", info.StoresDetail(runtime.stores))
    app.add_route("/v2/stores/{store}/{image_id}", StoreImage(runtime))
    app.add_route("/v2/tasks", Tasks(runtime, dispatcher, options))
    app.add_route("/v2/tasks/{task_id}", Task(runtime))
    for name, document in documents(options).items():
        app.add_route(f"/v2/schemas/{name}", Fixed(document))
    described = OpenApi(app, options)
    app.add_route("/openapi.json", described)
    app.add_route("/docs", described, suffix="page")
    return app


def _middleware(options: ApiOptions, contexts: Contexts) -> list[Any]:
    """What a request passes on its way in, in this order: the client's URL, browsers, versions, and who it is."""
    passed: list[Any] = [Lingering(), Versions(options), contexts]
    if options.cors.allowed_origin:
        passed.insert(0, Cors(options.cors))
    if options.trusted_proxies:
        passed.insert(0, Proxies(options.proxies))
    return passed
