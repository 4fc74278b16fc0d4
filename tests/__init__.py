"""Assertions of the modules that tests share show what they compared, as those of test files do."""

import pytest

pytest.register_assert_rewrite(
    *(
        f"tests.{part}"
        for part in ("cluster", "contract", "documents", "interop", "lab", "laws", "stories", "topologies", "waiting")
    )
)
