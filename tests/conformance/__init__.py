"""One hostile suite per contract, run by every implementation, fakes included (habit H2)."""

import pytest

pytest.register_assert_rewrite("tests.conformance.store_contract")
