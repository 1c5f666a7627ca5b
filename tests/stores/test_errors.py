"""The codes that tables elsewhere read."""

from stores.errors import StoreError


def test_every_kind_of_error_has_a_code_of_its_own() -> None:
    kinds: list[type[StoreError]] = [StoreError, *StoreError.__subclasses__()]
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_the_text_names_the_store() -> None:
    for kind in StoreError.__subclasses__():
        error = kind("fast", "what happened")
        assert (str(error), error.store, error.reason) == (
            "store fast: what happened",
            "fast",
            "what happened",
        )
