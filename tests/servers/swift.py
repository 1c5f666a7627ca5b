"""Swift with its S3 face, for tests: the strictest S3 server that a package registry has."""

import http.client
import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import requests
from botocore.config import Config

from tests.servers.places import LOOPBACK, Port, ServerMissing
from tests.servers.process import Server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class SwiftServer(Server):
    """One node of Swift: proxy with s3api, account, container and object server, one device, one replica.

    It refuses wrong signatures, wrong checksums, wrong part ETags and parts below 5 MiB, as S3 itself does.
    """

    name = "swift"
    start_seconds = 60.0
    not_ready = (OSError, http.client.HTTPException)

    region = "us-east-1"
    access_key = "test:tester"
    secret_key = "a-secret/of+tests="

    _PROGRAM = Path(__file__).with_name("swift_node.py")

    def __init__(self) -> None:
        super().__init__()
        self._inner_ports: list[Port] = []
        self._buckets = 0

    def _prepare(self) -> None:
        self._inner_ports = [Port() for _ in range(3)]
        account, container, object = (port.number for port in self._inner_ports)
        ports = {"proxy": self.port, "account": account, "container": container, "object": object}
        node = {"host": LOOPBACK, "ports": ports, "access_key": self.access_key, "secret_key": self.secret_key}
        (self.home / "node.json").write_text(json.dumps(node))

    def _command(self) -> list[str]:
        if importlib.util.find_spec("swift") is None:
            raise ServerMissing("swift is not installed; run: make dev (make test does it)")
        # -P: or this folder would come first, and `swift` would be this module.
        return [sys.executable, "-P", "-W", "ignore", str(self._PROGRAM), str(self.home)]

    def _greet(self) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)
        try:
            connection.request("GET", "/healthcheck")
            if connection.getresponse().status != 200:
                raise http.client.HTTPException("not healthy yet")
        finally:
            connection.close()

    def _goodbye(self) -> None:
        for port in self._inner_ports:
            port.close()
        self._inner_ports = []

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"

    def client(self) -> "S3Client":
        """A client of the tests' own, to look behind a store with."""
        return boto3.session.Session(self.access_key, self.secret_key, region_name=self.region).client(
            "s3", endpoint_url=self.url, config=Config(s3={"addressing_style": "path"}, proxies={})
        )

    def create_bucket(self) -> str:
        """A new, empty bucket; returns its name."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        self.client().create_bucket(Bucket=name)
        return name

    def open_uploads(self, bucket: str) -> list[str]:
        """The keys of the multipart uploads that nobody completed or aborted."""
        return [upload["Key"] for upload in self.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])]

    def parts(self, bucket: str) -> list[str]:
        """All that Swift keeps of uploads, open or completed: seen from behind, not by way of S3."""
        user = {"X-Storage-User": self.access_key, "X-Storage-Pass": self.secret_key}
        entry = requests.get(f"{self.url}/auth/v1.0", headers=user, timeout=10)
        entry.raise_for_status()
        token = {"X-Auth-Token": entry.headers["X-Auth-Token"]}
        answer = requests.get(f"{entry.headers['X-Storage-Url']}/{bucket}+segments", headers=token, timeout=10)
        return answer.text.split() if answer.ok else []

    def options(self, bucket: str) -> dict[str, object]:
        """What a store's section says to use `bucket`, under Glance's names."""
        return {
            "s3_store_host": self.url,
            "s3_store_region_name": self.region,
            "s3_store_access_key": self.access_key,
            "s3_store_secret_key": self.secret_key,
            "s3_store_bucket": bucket,
            "s3_store_bucket_url_format": "path",
        }
