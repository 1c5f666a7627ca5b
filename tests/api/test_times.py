"""Lists filtered by when images were made and changed (http-api §4.2)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.api.service import Service, runtime

MADE = {
    "a": "2026-11-21T23:59:59.999999",
    "b": "2026-11-22T10:00:00",
    "c": "2026-11-22T10:00:00.5",
    "d": "2026-11-22T10:00:01",
}


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with images made, and changed a year later, at those times."""
    wired = runtime(Path(tmp_path_factory.mktemp("dated")))
    service = Service(wired)
    for name, made in MADE.items():
        image = service.image(name=name)
        at = round(datetime.fromisoformat(made).replace(tzinfo=UTC).timestamp() * 1_000_000)
        with wired.catalog.database.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE images SET created_at = ?, updated_at = ? WHERE id = ?",
                (at, at + 365 * 86400 * 1_000_000, image),
            )
    yield service
    wired.close()


def found(service: Service, **query: str) -> str:
    """The names of the listed images."""
    answer = service.client.simulate_get("/v2/images", params=query)
    assert answer.status_code == 200, answer.text
    return "".join(sorted(image["name"] for image in answer.json["images"]))


@pytest.mark.parametrize(
    ("when", "names"),
    [
        ("gte:2026-11-22T10:00:00Z", "bcd"),
        ("gt:2026-11-22T10:00:00Z", "d"),
        ("lt:2026-11-22T10:00:00Z", "a"),
        ("lte:2026-11-22T10:00:00Z", "abc"),
        ("eq:2026-11-22T10:00:00Z", "bc"),
        ("neq:2026-11-22T10:00:00Z", "ad"),
        ("2026-11-22T10:00:00Z", "bc"),
        ("2026-11-22T10:00:00", "bc"),
        ("gt:2026-11-22T10:00:00.9", "d"),
        ("gte:2026-11-22", "bcd"),
        ("gte:2026-11-22T12:00:00+02:00", "bcd"),
        ("gt:20261122T100000Z", "d"),
        ("lt:0001-01-01T00:00:00+23:59", ""),
        ("lte:9999-12-31T23:59:59-23:59", "abcd"),
    ],
)
def test_a_moment(dated: Service, when: str, names: str) -> None:
    """A second is what clients see, so it counts as a whole."""
    assert found(dated, created_at=when) == names
    assert found(dated, updated_at=when.replace("2026", "2027")) == names


def test_both_at_once_and_with_pages(dated: Service) -> None:
    both = {"created_at": "gte:2026-11-22T10:00:00Z", "updated_at": "neq:2027-11-22T10:00:01Z"}

    assert found(dated, **both) == "bc"
    page = dated.client.simulate_get("/v2/images", params={**both, "limit": "1"}).json
    assert "created_at=gte%3A2026-11-22T10%3A00%3A00Z" in page["next"]
    path, _, query = page["next"].partition("?")
    assert len(dated.client.simulate_get(path, query_string=query).json["images"]) == 1


@pytest.mark.parametrize(
    "when",
    ["", "gte:", "yesterday", "in:2026-11-22", "foo:2026-11-22T10:00:00Z", "gt:gt:2026-11-22", "1700000000000000000"],
)
def test_what_is_no_moment_is_400_and_named(dated: Service, when: str) -> None:
    answer = dated.client.simulate_get("/v2/images", params={"updated_at": when})

    assert answer.status_code == 400
    assert "'updated_at' must be a time such as gte:2026-11-22T10:00:00Z" in answer.text
