"""Tests of vitrine.indexer.report.report and vitrine.indexer.report.page, and of the command `report`."""

import base64
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.indexer.quality.catalogues import faultless_pictures, publish_catalogue
from vitrine.indexer.cli.main import main
from vitrine.indexer.errors import InputError
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.quality.findings import FINDING_TYPES
from vitrine.indexer.report import page
from vitrine.indexer.report.texts import TEXTS
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import read_state


def test_the_report_is_one_page_with_its_pictures_and_both_languages(tmp_path: Path) -> None:
    pictures = faultless_pictures()
    pictures["q<:script>-same"] = ("c0", pictures["p03"][1])
    folder = publish_catalogue(tmp_path, pictures)
    output = tmp_path / "report.html"
    arguments = ["report", "--index", str(folder.root), "--output", str(output)]
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["findings"]["exact-duplicate"] == 1
    html = output.read_text(encoding="utf-8")
    assert html.count("</script>") == 3
    assert "http://" not in html
    assert "https://" not in html
    data = json.loads(html.split('id="data">')[1].split("</script>")[0])
    assert len(data["pictures"]) == 13
    assert data["matrix"]["names"] == ["c0", "c1"]
    texts = json.loads(html.split('id="texts">')[1].split("</script>")[0])
    for finding_type in FINDING_TYPES:
        assert {f"type:{finding_type}", f"about:{finding_type}"} <= texts["en"].keys()
    assert summary["bytes"] == output.stat().st_size < 2**20
    invalid = CliRunner().invoke(main, [*arguments[:-1], str(tmp_path / "report.pdf")])
    assert (invalid.exit_code, "must end in .html" in invalid.stderr) == (2, True)


def test_both_languages_have_the_same_texts_with_the_same_placeholders() -> None:
    assert TEXTS["pt"].keys() == TEXTS["en"].keys()
    for key, text in TEXTS["en"].items():
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", TEXTS["pt"][key])), key


def test_pictures_stop_at_the_size_limit(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = IndexFolder(small_index)
    state = read_state(folder)
    ids = ["p00", "p01", "unknown", "p02"]
    everything = page.product_data(folder, state, ids, SilentProgress())
    assert list(everything["products"]) == list(everything["pictures"]) == ["p00", "p01", "p02"]
    first_bytes = len(base64.b64decode(everything["pictures"]["p00"]))
    monkeypatch.setattr(page, "PICTURES_MAX_BYTES", first_bytes)
    assert "p01" not in page.product_data(folder, state, ids, SilentProgress())["pictures"]


def test_an_output_path_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        page.check_output_path(tmp_path / "none" / "report.html")
