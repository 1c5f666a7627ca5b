"""Both json-patch dialects, as tables."""

from typing import Any

import falcon
import pytest

from api.patches import Operation, dialect, parse

V21 = "application/openstack-images-v2.1-json-patch"
V20 = "application/openstack-images-v2.0-json-patch"


STRANGE: list[object] = ["test", "move", "copy", "ADD", "", None, 1, [], {}]


def v21(op: Any, path: Any, **more: Any) -> dict[str, Any]:
    return {"op": op, "path": path, **more}


@pytest.mark.parametrize(
    ("media", "element", "operation"),
    [
        (V21, v21("add", "/a", value="1"), Operation("add", "a", "1")),
        (V21, v21("replace", "/a", value=None), Operation("replace", "a", None)),
        (V21, v21("remove", "/a"), Operation("remove", "a")),
        # What nobody asks about is left alone.
        (V21, v21("remove", "/a", value="1", extra=2), Operation("remove", "a")),
        (V21, v21("add", "/tags", value=["x"]), Operation("add", "tags", ["x"])),
        (V21, v21("add", "/a~1b~0c", value=""), Operation("add", "a/b~c", "")),
        (V21, v21("add", "/~01", value=""), Operation("add", "~1", "")),
        (V21, v21("add", "/a b", value=""), Operation("add", "a b", "")),
        # Odd, but a name that an image can be made with.
        (V21, v21("remove", "/ "), Operation("remove", " ")),
        (V21, v21("add", "/ä.ö:ü-", value=""), Operation("add", "ä.ö:ü-", "")),
        (V21, v21("add", "/locations/-", value={}), Operation("add", "locations", {}, "-")),
        (V21, v21("remove", "/locations/0"), Operation("remove", "locations", None, "0")),
        (V21, v21("replace", "/locations", value=[]), Operation("replace", "locations", [])),
        (V20, {"add": "/a", "value": "1"}, Operation("add", "a", "1", must_be_new=True)),
        (V20, {"replace": "/a", "value": "1"}, Operation("replace", "a", "1")),
        (V20, {"remove": "/a"}, Operation("remove", "a")),
        (V20, {"remove": "/a", "op": "add", "path": "/b"}, Operation("remove", "a")),
    ],
)
def test_what_is_understood(media: str, element: dict[str, Any], operation: Operation) -> None:
    assert parse(dialect(media), [element, element]) == [operation, operation]


@pytest.mark.parametrize(
    ("media", "element", "words"),
    [
        *((media, element, "is not an object") for media in (V21, V20) for element in ("x", None, 1, [], ["add"])),
        (V21, {}, "no 'op'"),
        (V21, {"add": "/a", "value": "1"}, "no 'op'"),
        *((V21, v21(op, "/a", value=""), "none of: add") for op in STRANGE),
        (V21, {"op": "add", "value": ""}, "no 'path'"),
        (V21, v21("add", "/a"), "no 'value'"),
        (V21, v21("replace", "/a"), "no 'value'"),
        (V20, {}, "exactly one of"),
        (V20, v21("add", "/a", value=""), "exactly one of"),
        (V20, {"add": "/a", "replace": "/a", "value": ""}, "exactly one of"),
        (V20, {"add": "/a"}, "no 'value'"),
        (V20, {"replace": "/a"}, "no 'value'"),
        (V20, {"move": "/a", "value": ""}, "exactly one of"),
        *((V21, v21("add", path, value=""), "does not begin with '/'") for path in ("a", "", None, 1, ["/a"], " /a")),
        *((V21, v21("add", path, value=""), "empty part") for path in ("/", "//", "//a", "/a/", "/a//b")),
        *((V21, v21("add", path, value=""), "neither ~0 nor ~1") for path in ("/a~", "/~2", "/~a", "/~~0", "/a~ ")),
        *((V21, v21(op, path, value=""), "cannot") for op, path in (("add", "/a/b"), ("add", "/tags/-"))),
        *((V21, v21(op, path, value=""), "cannot") for op, path in [("remove", "/a/0"), ("replace", "/tags/0")]),
        *((V21, v21("add", path, value=""), "cannot add") for path in ("/locations", "/locations/0/url")),
        *((V21, v21("remove", path), "cannot remove") for path in ("/locations", "/locations/0/url")),
        (V21, v21("replace", "/locations/0", value=""), "cannot replace"),
        (V20, {"add": "/a/b", "value": ""}, "cannot add"),
        (V20, {"remove": 1}, "does not begin with '/'"),
    ],
)
def test_what_is_malformed_is_told_by_its_number(media: str, element: object, words: str) -> None:
    fine = {"op": "remove", "path": "/a", "remove": "/a"}
    with pytest.raises(falcon.HTTPBadRequest) as raised:
        parse(dialect(media), [fine, element])
    assert str(raised.value.description).startswith("Operation 2 of the patch ")
    assert words in str(raised.value.description)


@pytest.mark.parametrize("media", [V21.upper(), f"{V21}; charset=utf-8", f" {V21} ;x=y"])
def test_parameters_and_case_do_not_matter(media: str) -> None:
    assert dialect(media) is dialect(V21) is not dialect(V20)


@pytest.mark.parametrize("media", [None, "", "application/json", "application/json-patch+json", V21 + "x", V21[:-1]])
def test_any_other_type_is_415(media: str | None) -> None:
    with pytest.raises(falcon.HTTPUnsupportedMediaType) as raised:
        dialect(media)
    assert raised.value.headers == {"Accept-Patch": f"{V21}, {V20}"}


def test_an_empty_list_is_no_operation() -> None:
    assert parse(dialect(V21), []) == []
