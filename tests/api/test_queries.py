"""The finer points of what may stand in the query of a list (http-api §4.2)."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from falcon import testing

from api.options import ApiOptions
from tests.api.service import Service

ID = "b2173dd3-7ad6-4362-baa6-a68bce3565cb"
NAMES = ["", "a", "b", "a,b", 'a"b', "a b", " b", "a\nb", "a:b", "in:a", "\\", "ä", "%", "_"]


def found(service: Service, query: str) -> list[str]:
    """The names of the listed images, in alphabetical order."""
    answer = Service(service.runtime).client.simulate_get("/v2/images", query_string=query)
    assert answer.status_code == 200, answer.text
    return sorted(image["name"] for image in answer.json["images"])


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("in:a,b", ["a", "b"]),
        ('in:"a,b",b', ["a,b", "b"]),
        ('in:"a""b"', ['a"b']),
        ("in:a, b", [" b", "a"]),
        ("in:a\nb,b", ["a\nb", "b"]),
        ('in:"a\nb"', ["a\nb"]),
        ("in:a:b", ["a:b"]),
        ("in:in:a", ["in:a"]),
        ('in:"\\"', ["\\"]),
        ("in:\\,ä", ["\\", "ä"]),
        ("in:%,_", ["%", "_"]),
        ("in:a,,b", ["", "a", "b"]),
        ('in:""', [""]),
        ("in:", []),
        ("eq:in:a", ["in:a"]),
        ("eq:", [""]),
        ("eq:a,b", ["a,b"]),
        ('a"b', ['a"b']),
        ("a:b", ["a:b"]),
        ("A", []),
        ("a%", []),
    ],
)
def test_values_of_a_list(service: Service, value: str, names: list[str]) -> None:
    """Given names with every character that could mean something, then each means itself alone."""
    for name in NAMES:
        service.image(name=name)

    assert found(service, f"name={quote(value)}") == sorted(names)


@pytest.mark.parametrize("value", ['"a', '"a"b', 'a"b', 'a"', '"a",b"', '"a"b"', 'a "b"', '"a" ,b', '"'])
@pytest.mark.parametrize("name", ["name", "id", "status", "container_format", "disk_format"])
def test_quotes_that_do_not_enclose_a_value_are_400(client: testing.TestClient, name: str, value: str) -> None:
    answer = client.simulate_get("/v2/images", query_string=f"{name}=in:{quote(value)}")

    assert (answer.status_code, "quotes" in answer.text) == (400, True), answer.text


@pytest.mark.parametrize("path", ["/v2/images", "/v2/tasks"])
@pytest.mark.parametrize("limit", [1 << 63, 10**30])
def test_however_much_is_asked_for_it_is_capped(client: testing.TestClient, path: str, limit: int) -> None:
    assert client.simulate_get(path, params={"limit": limit}).status_code == 200


@pytest.mark.parametrize("query", ["{id}&secret=guessed", "secret=guessed&{id}", "{id}&secret=guessed&secret=x"])
def test_no_other_filter_undoes_one_that_nothing_meets(service: Service, tmp_path: Path, query: str) -> None:
    """Given a property that nobody may read, when it is asked for beside the id, then nothing is found either way."""
    rules = tmp_path / "protections.conf"
    rules.write_text(
        "[secret]\ncreate = @\nread = !\nupdate = !\ndelete = !\n[.*]\ncreate = @\nread = @\nupdate = @\ndelete = @\n"
    )
    asked = Service(service.runtime, ApiOptions(property_protection_file=str(rules)))
    service.image(id=ID, properties={"secret": "guessed"})

    answer = asked.client.simulate_get("/v2/images", query_string=query.format(id=f"id={ID}"))

    assert json.loads(answer.text)["images"] == []
