"""All three clients, one after the other, with API and worker as processes on PostgreSQL and Redis."""

from pathlib import Path

import pytest

from tests.e2e.clients.job import DATA, Job
from tests.e2e.cluster import running

pytestmark = [pytest.mark.e2e, pytest.mark.clients, pytest.mark.timeout(300)]


def test_made_by_one_client_imported_by_another_saved_by_a_third(
    tmp_path: Path, postgres_url: str, redis_url: str, source: str
) -> None:
    """Given the service in processes, when different clients take part in one job, then they see the same image."""
    sections = {
        "database": {"connection": postgres_url},
        "tranship": {"broker_url": redis_url, "lease_keeper": "redis"},
    }
    home = tmp_path / "home"
    home.mkdir()
    with running(tmp_path / "data", sections) as cluster:
        job = Job(cluster, source, home)
        glance, openstack = job.glance(), job.openstack("/v2")
        formats = ("--disk-format", "raw", "--container-format", "bare")
        image_id = openstack("image", "create", *formats, "-f", "json", "p").json["id"]
        glance("image-import", image_id, "--import-method", "web-download", "--uri", job.uri, "--stores", "a,c")
        assert cluster.ended(image_id)["status"] == "success", cluster.trouble()
        assert openstack("image", "show", "-f", "json", "p").json["properties"]["stores"] == "a,c"
        openstack("image", "save", "--file", str(tmp_path / "saved"), "p")
        assert (tmp_path / "saved").read_bytes() == DATA
        glance("image-delete", image_id)
        assert openstack("image", "list", "-f", "json").json == []
