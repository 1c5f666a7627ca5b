"""Every import method there is: the one place where their names are known."""

from flows.copy_image import COPY_IMAGE
from flows.flow import Flow
from flows.web_download import WEB_DOWNLOAD

FLOWS: dict[str, Flow] = {flow.name: flow for flow in (WEB_DOWNLOAD, COPY_IMAGE)}
