"""What becomes of a failed attempt, as a table."""

import pytest

from catalog.errors import CatalogUnavailable, Conflict
from flows.options import ImportOptions
from pipeline.errors import FormatMismatch, NothingStored, SourceAnswered, SourceBroken
from stores.errors import StoreFull, StoreUnavailable
from workers.retry import Fail, Retry, decide

OPTIONS = ImportOptions(max_attempts=4, retry_base=10.0, retry_cap=25.0)

TABLE: list[tuple[BaseException, int, Retry | Fail]] = [
    (SourceBroken("cut"), 1, Retry(10.0)),
    (SourceBroken("cut"), 2, Retry(20.0)),
    (SourceBroken("cut"), 3, Retry(25.0)),
    (SourceBroken("cut"), 4, Fail("source_broken", "cut (given up after 4 attempts)")),
    (SourceAnswered("503 Service Unavailable", 503), 1, Retry(10.0)),
    (SourceAnswered("404 Not Found", 404), 1, Fail("source_http_status", "404 Not Found")),
    (FormatMismatch("no"), 1, Fail("format_mismatch", "no")),
    (StoreUnavailable("a", "away"), 1, Retry(10.0)),
    (StoreFull("a", "full"), 1, Fail("store_full", "store a: full")),
    (NothingStored({"a": StoreUnavailable("a", "away")}), 1, Retry(10.0)),
    (
        NothingStored({"a": StoreUnavailable("a", "away"), "b": StoreFull("b", "full")}),
        1,
        Fail("nothing_stored", "store a: away; store b: full"),
    ),
    (CatalogUnavailable("away"), 1, Retry(10.0)),
    (Conflict("moved on"), 1, Fail("conflict", "moved on")),
]


@pytest.mark.parametrize(("error", "attempt", "verdict"), TABLE)
def test_table(error: BaseException, attempt: int, verdict: Retry | Fail) -> None:
    """Given an error and the number of the try, then the verdict is as in the table."""
    assert decide(error, attempt, OPTIONS, spread=1.0) == verdict


def test_delays_spread() -> None:
    """Given many failures at one moment, then their next tries lie between half and the whole delay."""
    assert decide(SourceBroken("cut"), 1, OPTIONS, spread=0.0) == Retry(5.0)
    verdict = decide(SourceBroken("cut"), 1, OPTIONS)
    assert isinstance(verdict, Retry)
    assert 5.0 <= verdict.delay <= 10.0


def test_a_bug_is_not_explained_to_users() -> None:
    """Given an exception of no kind we know, then users read that it is ours and not what it says."""
    verdict = decide(KeyError("/secret/path"), 1, OPTIONS)
    assert isinstance(verdict, Fail)
    assert (verdict.code, verdict.ours) == ("internal_error", True)
    assert "secret" not in verdict.message
