"""Tests of cli and config: settings, exit codes, first answer, stopping, workers of `vitrine-service`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.waiting import LIMIT_S, wait_until
from vitrine.indexer.errors import InputError
from vitrine.service.cli import main
from vitrine.service.config import ServiceConfig, is_loopback, parsed_setting, variable
from vitrine.service.http.admission import BODIES_AT_ONCE
from vitrine.service.server import StartReports, _free_port

KEY = "a-long-enough-key"


def environment(**variables: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
    return {**inherited, **variables}


@contextmanager
def running(index: Path, *flags: str, **variables: str) -> Iterator[dict[str, Any]]:
    """Run the command; yield what it said once it listened, and stop it."""
    command = [sys.executable, "-m", "service", "--index", str(index), "--port", "0", "--json", *flags]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**variables)
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield {**json.loads(line), "process": process}
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
        return json.load(answer)


def test_every_setting_has_a_flag_a_variable_and_a_word_of_help() -> None:
    text = " ".join(CliRunner().invoke(main, ["--help"]).output.split())
    for each in dataclasses.fields(ServiceConfig):
        assert each.metadata["help"]
        assert variable(each.name) in text
        flag = "--" + each.name.replace("_", "-")
        assert (re.search(rf"{flag}(?![\w-])", text) is not None) == each.metadata["flag"]
    for name in ("VITRINE_JSON", "VITRINE_DEBUG"):
        assert name in text


def test_settings_come_from_variables_and_flags_come_first() -> None:
    variables = {
        "VITRINE_PORT": "9000",
        "VITRINE_READ_ONLY": "yes",
        "VITRINE_ACCESS_LOG": "off",
        "VITRINE_API_KEYS": "one, two,",
        "VITRINE_CORS_ORIGINS": "https://a.example,https://b.example",
        "VITRINE_THUMBNAIL_CACHE": "1MiB",
        "VITRINE_RATE_LIMIT": "",
    }
    config = ServiceConfig.from_environment(variables, port=9001)
    assert (config.port, config.read_only, config.access_log) == (9001, True, False)
    assert config.keys() == ("one", "two")
    assert config.cors_origins == ("https://a.example", "https://b.example")
    assert (config.thumbnail_cache_bytes, config.rate_limit) == (2**20, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VITRINE_PORT", "eighty"),
        ("VITRINE_WORKERS", "0"),
        ("VITRINE_READ_ONLY", "perhaps"),
        ("VITRINE_LOG_FORMAT", "xml"),
        ("VITRINE_MAX_BODY", "much"),
        ("VITRINE_STORE", "postgres://x"),
    ],
)
def test_a_wrong_setting_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(InputError):
        ServiceConfig.from_environment({name: value})


def test_text_becomes_what_a_setting_is() -> None:
    assert parsed_setting("warm", True) is True
    assert parsed_setting("picture_roots", "/a, /b") == ("/a", "/b")
    assert parsed_setting("host", " ") == "127.0.0.1"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.8.8.8", "::1", "[::1]", "a.localhost"])
def test_loopback_is_known_by_name_and_number(host: str) -> None:
    assert is_loopback(host)
    assert not is_loopback(f"x{host}.example")


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(**variables), timeout=LIMIT_S
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--index", "{tmp}/nothing"], 3, "no index folder"),
        (["--index", "{tmp}", "--host", "0.0.0.0"], 2, "--read-only"),
        (["--index", "{tmp}", "--host", "203.0.113.7", "--read-only"], 2, "cannot listen"),
        (["--index", "{tmp}", "--port", "99999"], 2, "above 65535"),
        (["--index", "{tmp}", "--workers", "none"], 2, "not a whole number"),
        (["--index", "{tmp}", "--rate-limit", "lots"], 2, "not a rate"),
        (["--colour"], 2, "No such option"),
    ],
)
def test_what_cannot_start_says_so_in_one_line(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    done = run(*[each.format(tmp=tmp_path) for each in arguments])
    lines = [line for line in done.stderr.splitlines() if line.startswith("vitrine-service: ")]
    assert (done.returncode, len(lines)) == (code, 1), done.stderr
    assert said in lines[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_broken_snapshot_ends_with_exit_3(small_index: Path) -> None:
    for path in (small_index / "snapshots").glob("*/vectors.npy"):
        path.write_bytes(path.read_bytes()[:-10])
    done = run("--index", str(small_index), "--port", "0")
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines()[-1].startswith("vitrine-service: ")
    assert "vectors.npy" in done.stderr


def test_rules_that_cannot_be_obeyed_end_with_exit_2(small_index: Path) -> None:
    (small_index / "rules.toml").write_text("[[ban]]\nname = 'no reds'\nhide = {where = {colour = 'red'}}\n")
    done = run("--index", str(small_index), "--port", "0")
    assert done.returncode == 2, done.stderr
    assert "rules.toml: rule 'no reds': where: no product has an attribute" in done.stderr.splitlines()[-1]


def test_the_first_answer_comes_without_tensorflow(small_index: Path) -> None:
    with running(small_index) as started:
        assert get(f"{started['url']}/api/v1/products/p00/similar")["returned"] == 5
        assert started["products"] == 12
        worker = _children(started["pid"])[0]
        mapped = Path(f"/proc/{worker}/maps").read_text()
    assert "tensorflow" not in mapped
    assert "faiss" in mapped


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def test_workers_agree_and_a_killed_one_is_replaced(small_index: Path) -> None:
    with running(small_index, "--workers", "2", "--no-access-log", VITRINE_API_KEYS=KEY) as started:
        url = f"{started['url']}/api/v1"
        delete = urllib.request.Request(
            f"{url}/products/p01", method="DELETE", headers={"Authorization": f"Bearer {KEY}"}
        )
        with urllib.request.urlopen(delete, timeout=LIMIT_S) as answer:
            assert answer.status == 200
        for _ in range(10):
            assert get(f"{url}/status")["live"] == 11
        victim = _children(started["pid"])[0]
        os.kill(victim, signal.SIGKILL)

        def is_replaced() -> bool:
            workers = _children(started["pid"])
            return victim not in workers and len(workers) >= 2

        wait_until(is_replaced)
        live_counts: list[int] = []
        while len(live_counts) < 5:
            with contextlib.suppress(OSError):  # requests that waited at the killed worker are lost
                live_counts.append(get(f"{url}/status")["live"])
        assert live_counts == [11] * 5
        with urllib.request.urlopen(f"{started['url']}/metrics", timeout=LIMIT_S) as answer:
            assert b'route="/api/v1/status"' in answer.read()


def test_slow_bodies_stop_nobody_else(small_index: Path) -> None:
    with running(small_index, "--threads", "2") as started:
        address = (started["host"], started["port"])
        slow = [socket.create_connection(address, timeout=LIMIT_S) for _ in range(BODIES_AT_ONCE + 8)]
        for each in slow:
            each.sendall(
                b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b'Content-Length: 1000\r\n\r\n{"product":'
            )
        wait_until(lambda: len(select.select(slow, [], [], 0)[0]) >= 8)
        for _ in range(3):
            assert get(f"{started['url']}/api/v1/products/p00/similar")["returned"] == 5
        refused = select.select(slow, [], [], 0)[0]
        assert [each.recv(4096).split()[1] for each in refused] == [b"429"] * 8
        for each in set(slow) - set(refused):
            each.sendall(b'"p00"}' + b" " * 983)
            assert each.recv(4096).split()[1] == b"200"
        for each in slow:
            each.close()


def test_workers_leave_with_their_parent(small_index: Path) -> None:
    command = [sys.executable, "-m", "service", "--index", str(small_index), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        workers = _children(process.pid)
        assert get(f"{url}/healthz")
        process.kill()
        wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_a_service_that_waits_for_a_snapshot_says_so(tmp_path: Path) -> None:
    with running(tmp_path, "--log-format", "text") as started:
        assert started["snapshot"] is None
        assert get(f"{started['url']}/healthz") == {"status": "ok"}


def test_two_services_do_not_share_a_port() -> None:
    free = _free_port(ServiceConfig(port=0))
    assert free > 0
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot listen"):
            _free_port(ServiceConfig(port=taken.getsockname()[1]))


def test_workers_speak_through_the_pipe() -> None:
    reports = StartReports()
    reports.send(ready=1)
    reports.send(error="broken", exit_code=3)
    os.close(reports._write_end)
    assert list(reports.received()) == [{"ready": 1}, {"error": "broken", "exit_code": 3}]
