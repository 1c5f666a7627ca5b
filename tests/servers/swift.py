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
    domain = "s3.localhost"
    """Whoever asks for a host below it means the bucket of that name."""

    _PROGRAM = Path(__file__).with_name("swift_node.py")

    def __init__(self) -> None:
        super().__init__()
        self._inner_ports: list[Port] = []
        self._buckets = 0
        self._client: S3Client | None = None

    def _prepare(self) -> None:
        self._inner_ports = [Port() for _ in range(3)]
        account, container, object = (port.number for port in self._inner_ports)
        ports = {"proxy": self.port, "account": account, "container": container, "object": object}
        node = {"host": LOOPBACK, "ports": ports, "access_key": self.access_key, "secret_key": self.secret_key}
        node["domain"] = self.domain
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
        if self._client is None:
            self._client = boto3.session.Session(self.access_key, self.secret_key, region_name=self.region).client(
                "s3", endpoint_url=self.url, config=Config(s3={"addressing_style": "path"}, proxies={})
            )
        return self._client

    def create_bucket(self) -> str:
        """A new, empty bucket; returns its name."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        self.client().create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str) -> list[str]:
        """The keys of all objects."""
        return [found["Key"] for found in self.client().list_objects_v2(Bucket=bucket).get("Contents", [])]

    def open_uploads(self, bucket: str) -> list[str]:
        """The keys of the multipart uploads that nobody completed or aborted."""
        return [upload["Key"] for upload in self.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])]

    def parts(self, bucket: str) -> list[str]:
        """All that Swift keeps of uploads, open or completed: as its container server lists it, not by way of S3."""
        listings = f"http://{LOOPBACK}:{self._inner_ports[1].number}/only"
        # Which of the ring's 16 partitions holds the list is Swift's affair.
        answers = [requests.get(f"{listings}/{n}/AUTH_test/{bucket}+segments", timeout=10) for n in range(16)]
        (found,) = [answer for answer in answers if answer.ok]
        return found.text.split()

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
