"""Tests of vitrine.indexer.report.report and of the command `report`."""

import json
from pathlib import Path

from click.testing import CliRunner

from tests.indexer.quality.catalogues import faultless_pictures, publish_catalogue
from vitrine.indexer.cli.main import main
from vitrine.indexer.quality.findings import FINDING_TYPES


def test_the_report_is_one_page_with_its_pictures_and_both_languages(tmp_path: Path) -> None:
    pictures = faultless_pictures()
    pictures["q<:script>-same"] = ("c0", pictures["p03"][1])
    folder = publish_catalogue(tmp_path, pictures)
    output = tmp_path / "report.html"
    arguments = ["report", "--index", str(folder.root), "--output", str(output)]
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["findings"]["exact-duplicate"] == 1
    page = output.read_text(encoding="utf-8")
    assert page.count("</script>") == 3
    assert "http://" not in page
    assert "https://" not in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert len(data["pictures"]) == 13
    assert data["matrix"]["names"] == ["c0", "c1"]
    texts = json.loads(page.split('id="texts">')[1].split("</script>")[0])
    assert texts["pt"].keys() == texts["en"].keys()
    for finding_type in FINDING_TYPES:
        assert {f"kind:{finding_type}", f"about:{finding_type}"} <= texts["en"].keys()
    assert answer["bytes"] == output.stat().st_size < 2**20
    wrong = CliRunner().invoke(main, [*arguments[:-1], str(tmp_path / "report.pdf")])
    assert (wrong.exit_code, "ends in .html" in wrong.stderr) == (2, True)
