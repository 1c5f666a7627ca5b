"""The client commands against a service that says what the test wants."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import cli
from tests.cli.fakes import AT, ID, IMAGE, FakeService, answer, failed, refusal, run, store, succeeded


def test_a_service_without_scheme() -> None:
    """Given a host and port as address, then it is said what an address looks like."""
    result = CliRunner().invoke(cli, ["list", "--url", "127.0.0.1:9292"])
    assert result.exit_code == 2
    assert "it looks like http://127.0.0.1:9292" in result.stderr


def test_import(service: FakeService) -> None:
    """Given no more than a URL, then an image of the file's name and format is made, and its id alone is on stdout."""
    result = run(service, "import", "https://example.org/images/disk-1.qcow2.gz?token=x")
    assert (result.exit_code, result.stdout) == (0, f"{ID}\n")
    assert "tranship watch" in result.stderr
    created, asked = (body for _, body in service.asked)
    assert created == {"name": "disk-1.qcow2", "disk_format": "qcow2", "container_format": "bare"}
    assert asked == {
        "method": {"name": "web-download", "uri": "https://example.org/images/disk-1.qcow2.gz?token=x"},
        "all_stores_must_succeed": True,
    }


def test_import_with_everything(service: FakeService) -> None:
    """Given all options, then the bodies say all of it."""
    words = "import http://x/y --name N --store a --store b --allow-failure --disk-format iso --container-format ovf"
    assert run(service, *words.split()).exit_code == 0
    created, asked = (body for _, body in service.asked)
    assert created == {"name": "N", "disk_format": "iso", "container_format": "ovf"}
    assert (asked["stores"], asked["all_stores_must_succeed"]) == (["a", "b"], False)


@pytest.mark.parametrize("checksum", ["sha256:" + "0" * 64, "https://example.org/SHA256SUMS#disk.img"])
def test_import_with_a_checksum(service: FakeService, checksum: str) -> None:
    """Given a checksum, or where one is published, then it is in the request as it stands; also what it is of."""
    assert run(service, "import", "http://x/y", "--checksum", checksum).exit_code == 0
    assert run(service, "import", "http://x/y", "--checksum", checksum, "--checksum-of", "image").exit_code == 0
    method = {"name": "web-download", "uri": "http://x/y", "checksum": checksum}
    assert [body["method"] for _, body in service.asked[1::2]] == [method, method | {"checksum_of": "image"}]


def test_a_side_that_is_none(service: FakeService) -> None:
    """Given another side than source and image, then the service is not asked."""
    result = run(service, "import", "http://x/y", "--checksum", "md5:", "--checksum-of", "both")
    assert (result.exit_code, service.asked) == (2, [])
    assert "'source', 'image'" in result.stderr


def test_import_into_an_image(service: FakeService) -> None:
    """Given an image, then none is made."""
    run(service, "import", "http://x/y", "--image", ID, "--all-stores")
    ((what, asked),) = service.asked
    assert what == f"POST {AT}/import"
    assert asked["all_stores"] is True


def test_a_refused_import_leaves_no_image(service: FakeService) -> None:
    """Given that the import is refused, then the image made for it goes, and the service's reason is said."""
    service.answers[f"POST {AT}/import"] = refusal(400, "URI http://x/y does not pass filtering: host x.")
    result = run(service, "import", "http://x/y")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"tranship: {service.url} answered 400 Bad Request: URI http://x/y does not pass filtering: host x.\n"
    )
    assert service.asked[-1][0] == f"DELETE {AT}"


def test_an_image_left_behind_is_named(service: FakeService) -> None:
    """Given that it cannot be deleted either, then its id is said; an image that was there before is left alone."""
    service.answers[f"POST {AT}/import"] = refusal(400, "No.")
    del service.answers[f"DELETE {AT}"]
    assert f"The empty image {ID} is left behind." in run(service, "import", "http://x/y").stderr
    assert "left behind" not in run(service, "import", "http://x/y", "--image", ID).stderr


def test_import_and_watch(service: FakeService) -> None:
    """Given --watch, then the exit status is the import's."""
    result = run(service, "import", "http://x/y", "--watch")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"image {ID}\n")
    service.answers[f"GET {AT}/import"] = answer(200, failed("It broke.", [store("a", "undone")]))
    result = run(service, "import", "http://x/y", "--watch")
    assert result.exit_code == 1
    assert result.stderr == "The import failed: It broke.\n"


NAMED = {
    "show": ["show", "debian"],
    "watch": ["watch", "debian"],
    "tasks": ["tasks", "debian"],
    "cancel": ["cancel", "debian"],
    "delete": ["delete", "debian"],
    "download": ["download", "debian", "-"],
    "copy": ["copy", "debian", "--store", "b"],
    "import": ["import", "http://x/y", "--image", "debian"],
}


@pytest.mark.parametrize("words", NAMED.values(), ids=NAMED)
def test_an_image_by_its_name(service: FakeService, words: list[str]) -> None:
    """Given the name of one image, then every command takes it for the id."""
    service.answers["GET /v2/images"] = answer(200, {"images": [IMAGE]})
    service.answers[f"GET {AT}/tasks"] = answer(200, {"tasks": []})
    assert run(service, *words).exit_code == 0
    looked, *then = [what for what, _ in service.asked]
    assert looked.startswith("GET /v2/images?")
    assert "name=eq%3Adebian" in looked
    assert then
    assert all(AT in what for what in then)


@pytest.mark.parametrize("words", NAMED.values(), ids=NAMED)
def test_a_name_of_several_images(service: FakeService, words: list[str]) -> None:
    """Given a name that two images have, then nothing is done, and their ids are said."""
    other = "22222222-2222-2222-2222-222222222222"
    service.answers["GET /v2/images"] = answer(200, {"images": [IMAGE, IMAGE | {"id": other}]})
    result = run(service, *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"tranship: several images have the name debian; say which by its id: {ID}, {other}\n"
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("name", "status", "said"), [("nobody", 1, "has no image of the name or id nobody"), ("", 2, "its id or its name")]
)
def test_a_name_of_no_image(service: FakeService, name: str, status: int, said: str) -> None:
    service.answers["GET /v2/images"] = answer(200, {"images": []})
    result = run(service, "delete", name)
    assert (result.exit_code, said in result.stderr) == (status, True)


def test_show(service: FakeService) -> None:
    """Given an image, then it is shown with what matters first, and without links; as JSON it is what was answered."""
    lines = run(service, "show", ID).stdout.splitlines()
    assert lines[0].split() == ["id", ID]
    assert "3.0 MiB (3145728)" in "\n".join(lines)
    assert not [line for line in lines if line.startswith("self") or line.endswith(" ")]
    assert [line.split()[0] for line in lines[-2:]] == ["tags", "zeta"]
    assert json.loads(run(service, "show", ID, "--json").stdout) == IMAGE


def test_list_follows_pages(service: FakeService) -> None:
    """Given more images than the server gives at once, then the pages are followed, up to the limit."""
    page = {"images": [IMAGE, IMAGE], "next": "/v2/more"}
    service.answers |= {"GET /v2/images": answer(200, page), "GET /v2/more": answer(200, page)}
    assert len(run(service, "list", "--limit", "3", "--status", "active").stdout.splitlines()) == 1 + 3
    assert service.asked[0][0] == "GET /v2/images?limit=4&status=active"


def test_list_says_what_it_leaves_out(service: FakeService) -> None:
    """Given more images than are shown, then that is said, on stderr; given no more, nothing is."""
    service.answers["GET /v2/images"] = answer(200, {"images": [IMAGE] * 2})
    cut = run(service, "list", "--limit", "1", "--json")
    assert (len(json.loads(cut.stdout)), cut.stderr) == (1, "There are more than these 1; --limit shows them.\n")
    assert run(service, "list", "--limit", "2").stderr == ""


def test_tasks_and_stores(service: FakeService) -> None:
    """Given tasks and stores, then there is a line for each."""
    task = {
        "id": "t1",
        "status": "success",
        "created_at": "2026-11-22T10:00:00.5",
        "updated_at": "2026-11-22T10:01:01.5",
        "message": "done",
    }
    attempt = {
        "step": "transfer",
        "number": 1,
        "outcome": "handed_back",
        "started_at": "2026-11-22T10:00:00Z",
        "ended_at": None,
        "message": "stop",
    }
    service.answers |= {
        f"GET {AT}/tasks": answer(200, {"tasks": [task]}),
        f"GET {AT}/import": answer(200, succeeded() | {"attempts": [attempt]}),
        "GET /v2/info/stores": answer(
            200, {"stores": [{"id": "a", "default": "true"}, {"id": "w", "read-only": "true"}]}
        ),
    }
    shown = run(service, "tasks", ID).stdout
    assert "2026-11-22 10:00:00  1 min 01 s  success  done" in shown
    assert "2026-11-22 10:00:00        transfer  1        handed back  stop" in shown
    stores = run(service, "stores").stdout.splitlines()
    assert [line.split() for line in stores[1:]] == [["a", "yes"], ["w", "yes"]]


def test_copy(service: FakeService) -> None:
    """Given an image, then one request asks for its copies; --watch ends as the import does."""
    result = run(service, "copy", ID, "--store", "b", "--store", "c", "--allow-failure")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"On record. To look on: tranship watch {ID}\n"
    assert run(service, "copy", ID, "--all-stores", "--watch").stdout.startswith("Copied 100 B to a, b.")
    some, every = (body for what, body in service.asked if what == f"POST {AT}/import")
    assert some == {"method": {"name": "copy-image"}, "stores": ["b", "c"], "all_stores_must_succeed": False}
    assert every == {"method": {"name": "copy-image"}, "all_stores": True, "all_stores_must_succeed": True}
    service.answers[f"GET {AT}/import"] = answer(200, failed("It broke.", [store("c", "undone")]))
    result = run(service, "copy", ID, "--store", "c", "--watch")
    assert (result.exit_code, result.stderr) == (1, "The import failed: It broke.\n")


def test_a_refused_copy_leaves_the_image_alone(service: FakeService) -> None:
    """Given that the copy is refused, then the reason is all there is."""
    service.answers[f"POST {AT}/import"] = refusal(400, "Store a in 'stores' holds the image already.")
    result = run(service, "copy", ID, "--store", "a", "--watch")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("400 Bad Request: Store a in 'stores' holds the image already.\n")
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "words",
    [["copy", ID], ["copy", ID, "--store", "a", "--all-stores"], ["import", "x", "--store", "a", "--all-stores"]],
)
def test_stores_that_make_no_sense(service: FakeService, words: list[str]) -> None:
    """Given no store to copy into, or some and all, then the service is not asked."""
    assert run(service, *words).exit_code == 2
    assert service.asked == []


def test_delete_from_a_store(service: FakeService) -> None:
    """Given stores, then the image is taken out of one after the other, and where it is then is shown."""
    service.answers |= {f"DELETE /v2/stores/{id}/{ID}": (204, "text/html", b"") for id in "xy"}
    result = run(service, "delete", ID, "--store", "x", "--store", "y", "--store", "x")
    assert result.exit_code == 0
    asked = [what for what, _ in service.asked]
    assert asked == [f"DELETE /v2/stores/x/{ID}", f"DELETE /v2/stores/y/{ID}", f"GET {AT}"]
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["stores", "a,b"]


def test_a_store_that_lets_nothing_go(service: FakeService) -> None:
    """Given that a store refuses, then what was done before is said, and nothing is done after it."""
    service.answers |= {
        f"DELETE /v2/stores/x/{ID}": (204, "text/html", b""),
        f"DELETE /v2/stores/y/{ID}": refusal(403, "It is in one store only."),
    }
    result = run(service, "delete", ID, "--store", "x", "--store", "y", "--store", "z")
    assert (result.exit_code, result.stdout, len(service.asked)) == (1, "", 2)
    done, refused = result.stderr.splitlines()
    assert done == f"Image {ID} is not in store x any more."
    assert refused.endswith("403 Forbidden: It is in one store only.")


def test_cancel_and_delete(service: FakeService) -> None:
    """Given an image, then both are one request, and it is said how to look at the same service again."""
    cancelled = CliRunner().invoke(cli, ["cancel", ID, "--url", service.url])
    assert (cancelled.exit_code, f"tranship watch {ID} --url {service.url}" in cancelled.stderr) == (0, True)
    assert run(service, "cancel", ID).stderr.endswith(f"To look on: tranship watch {ID}\n")
    assert run(service, "delete", ID).exit_code == 0
    assert [what for what, _ in service.asked] == [f"DELETE {AT}/import"] * 2 + [f"DELETE {AT}"]


def test_download(service: FakeService, tmp_path: Path) -> None:
    """Given data whose hash is the image's, then it is in the file; `-` is stdout."""
    assert run(service, "download", ID, str(tmp_path / "x")).exit_code == 0
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"data")]
    assert run(service, "download", ID, "-").stdout == "data"
    assert run(service, "download", ID, "-", "--prefer", "b").stdout == "data"
    assert [what for what, _ in service.asked if "/file" in what] == [f"GET {AT}/file"] * 2 + [
        f"GET {AT}/file?prefer=b"
    ]


@pytest.mark.parametrize("harm", ["cut short", "changed", "unwritable"])
def test_a_bad_download_leaves_nothing(service: FakeService, tmp_path: Path, harm: str) -> None:
    """Given data that is cut short or another's, or a file that cannot be, then no file is there; why is said."""
    target = tmp_path / "x"
    service.short = 2 if harm == "cut short" else 0
    if harm == "changed":
        service.answers[f"GET {AT}/file"] = (200, "application/octet-stream", b"DATA")
    elif harm == "unwritable":
        target = tmp_path / "missing" / "x"
    result = run(service, "download", ID, str(target))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_errors_are_one_sentence(service: FakeService) -> None:
    """Given an answer that is none, then the sentence names URL and status; nobody there, then the URL."""
    service.answers["GET /v2/info/stores"] = (200, "text/plain", b"hello")
    assert "answered 200, but not with JSON" in run(service, "stores").stderr
    service.answers["GET /v2/info/stores"] = (502, "text/html", b"<h1>proxy</h1>")
    assert run(service, "stores").stderr == f"tranship: {service.url} answered 502 Bad Gateway\n"
    result = CliRunner().invoke(cli, ["stores", "--url", "http://127.0.0.1:1"])
    assert (result.exit_code, result.stderr) == (
        1,
        "tranship: http://127.0.0.1:1 does not answer: Connection refused\n",
    )


def test_no_proxy_for_this_machine(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a proxy in the environment, then a service on loopback is asked without it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    service.answers["GET /v2/info/stores"] = answer(200, {"stores": []})
    assert run(service, "stores").exit_code == 0


def test_an_option_from_the_environment(service: FakeService) -> None:
    """Given TRANSHIP_IMPORT_NAME, then it is the name."""
    env = {"TRANSHIP_URL": service.url, "TRANSHIP_IMPORT_NAME": "env"}
    CliRunner().invoke(cli, ["import", "http://x/y"], env=env, auto_envvar_prefix="TRANSHIP")
    assert service.asked[0][1]["name"] == "env"
