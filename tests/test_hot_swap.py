"""Publication under load: no reader gets an error or an answer that mixes two snapshots."""

import threading
from pathlib import Path

from tests.catalogues import build_folder, write_folder
from vitrine.indexer.snapshot.folder import IndexFolder, roll_back
from vitrine.service import Catalogue

READERS = 8
PUBLICATIONS = 20


def test_eight_readers_get_answers_of_one_snapshot_while_twenty_are_published(tmp_path: Path) -> None:
    """Every second snapshot holds only the even products, so that a mixed answer is recognised."""
    photos = write_folder(tmp_path / "photos", categories=1, per_category=8)
    odd_pictures = {path: path.read_bytes() for path in sorted((photos / "c0").iterdir())[1::2]}
    index = tmp_path / "index"
    complete = build_folder(photos, index, keep=PUBLICATIONS + 2).snapshot
    expected = {complete: {f"c0:p{number}" for number in range(1, 8)}}
    even_ids = {f"c0:p{number}" for number in range(2, 8, 2)}
    answers: list[tuple[str, frozenset[str]]] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def read(catalogue: Catalogue) -> None:
        while not stop.is_set():
            try:
                answer = catalogue.similar("c0:p0", limit=10)
                answers.append((answer["snapshot"], frozenset(hit["id"] for hit in answer["hits"])))
            except BaseException as error:
                failures.append(error)

    with Catalogue.open(index) as catalogue:
        readers = [threading.Thread(target=read, args=(catalogue,)) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        for number in range(PUBLICATIONS):
            if number % 5 == 4:
                roll_back(IndexFolder(index))
                catalogue.reload()
                continue
            for path, data in odd_pictures.items():
                path.unlink(missing_ok=True)
                if number % 2:
                    path.write_bytes(data)
            name = build_folder(photos, index, keep=PUBLICATIONS + 2, force=True).snapshot
            expected[name] = expected[complete] if number % 2 else even_ids
            catalogue.reload()
        stop.set()
        for reader in readers:
            reader.join()
    assert failures == []
    assert len({snapshot for snapshot, _ in answers}) > PUBLICATIONS / 2
    assert all(ids == expected[snapshot] for snapshot, ids in answers)
