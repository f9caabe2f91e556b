"""What the tests of the engine share: one import of NeMo."""

from collections.abc import Iterator

import pytest
from forked import Forked


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    forked = Forked(tmp_path_factory.mktemp("forked"))
    yield forked
    forked.end()
