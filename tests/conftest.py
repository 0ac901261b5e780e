"""No test reads or writes the settings of whoever runs it, nor do the programs that it starts."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("settings")
    patch.delenv("BACKPROPDBG_CONFIG", raising=False)
    patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    patch.setenv("XDG_STATE_HOME", str(home / "state"))
    yield
    patch.undo()
