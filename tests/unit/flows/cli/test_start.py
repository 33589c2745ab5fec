import builtins
from typing import Any

import pytest

from flows.cli.start import main


def test_ctrl_c_while_the_command_line_is_imported_ends_quietly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = builtins.__import__

    def interrupted(name: str, *rest: Any) -> Any:
        if name == "flows.cli.main":
            raise KeyboardInterrupt
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
