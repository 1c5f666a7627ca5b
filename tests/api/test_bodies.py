"""Bodies of JSON that do not arrive as they should."""

import pytest
from falcon import testing

from api.patches import V21
from tests.api.sending import Body, raising


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [(OSError("the server's own words"), 400, "broke off"), (TimeoutError("timed out"), 408, "Nothing came of")],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v2/images"), ("PATCH", "/v2/images/x"), ("POST", "/v2/tasks")])
def test_a_sender_of_json_that_goes_away(
    client: testing.TestClient, method: str, path: str, error: Exception, status: int, said: str
) -> None:
    """Given a body whose framing is broken, or that never comes, then it is the sender who is told of its fault."""
    answer = client.simulate_request(
        method,
        path,
        headers={"Content-Type": V21},
        extras={"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": Body(raising(error), b"")},
    )

    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert "own words" not in answer.text
