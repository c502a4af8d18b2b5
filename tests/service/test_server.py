"""The server process: start messages, exit codes, shared metrics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vitrine.service.config import ServiceConfig as Config
from vitrine.service.logs import FORMATTERS
from vitrine.service.server import (
    StartReports,
    _check_folder,
    _failure,
    _granian_log,
    _shared_metrics,
    _show_address,
    _wait_until_listening,
)


def test_the_start_message_has_the_address(capsys: pytest.CaptureFixture[str]) -> None:
    message = {"snapshot": "s1", "products": 1651}
    _show_address(message, "::1", 8000, as_json=False)
    _show_address({"snapshot": None, "products": 0}, "127.0.0.1", 8000, as_json=False)
    _show_address(message, "127.0.0.1", 8000, as_json=True)
    served, waiting, described = capsys.readouterr().out.splitlines()
    assert "1,651 products" in served
    assert "http://[::1]:8000" in served
    assert "no snapshot yet" in waiting
    assert json.loads(described)["products"] == 1651
    assert set(_granian_log("json")["handlers"]) == {"console", "access"}
    assert set(FORMATTERS) == {"json", "text"}


def test_the_server_turns_a_workers_failure_into_its_exit_code(tmp_path: Path) -> None:
    error = _failure({"error": "broken", "exit_code": 3})
    assert (str(error), error.exit_code) == ("broken", 3)
    with pytest.raises(Exception, match="no index folder"):
        _check_folder(Config(index=str(tmp_path / "none")))
    _check_folder(Config(index=str(tmp_path)))
    assert StartReports().failure is None


def test_several_workers_share_their_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    with _shared_metrics(1):
        assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
    with _shared_metrics(2):
        folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        assert folder.is_dir()
    assert not folder.exists()
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_waiting_for_a_port_ends_when_it_listens() -> None:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        _wait_until_listening("0.0.0.0", listening.getsockname()[1])
