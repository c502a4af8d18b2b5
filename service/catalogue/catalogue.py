"""The catalogue: a snapshot and its journal, asked and changed with plain values: HTTP's offer, in-process.

Every answer is the dict that the contract describes. Each question takes one view and keeps it to its end.
Raises the errors of vitrine.indexer.errors and vitrine.service.errors.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Self

from vitrine.indexer.config import index_folder
from vitrine.indexer.errors import QueryError, VitrineError
from vitrine.indexer.products.table import Product
from vitrine.indexer.snapshot.snapshot import IndexFolder
from vitrine.service.catalogue import findings, overview
from vitrine.service.catalogue import serialisation as answers
from vitrine.service.catalogue.live import LiveView
from vitrine.service.catalogue.new_product import NewProduct
from vitrine.service.catalogue.reference import known_row, live_row, reference_of
from vitrine.service.catalogue.request_models import (
    BatchRequest,
    ChangesQuery,
    ImageQuery,
    MatrixQuery,
    PairsQuery,
    ProductForm,
    ProductsQuery,
    ProjectionQuery,
    QualityQuery,
    SearchRequest,
    parsed,
)
from vitrine.service.catalogue.serialisation import Json
from vitrine.service.catalogue.writer import ANYBODY, Caller, ModelChanged, StoredPicture, Writer
from vitrine.service.config import ServiceConfig
from vitrine.service.errors import IdTaken
from vitrine.service.pictures.batching import BatchingEmbedder
from vitrine.service.pictures.embedding import Image, PhotoEmbedder, Photos, read_image
from vitrine.service.pictures.files import Picture, PictureFiles
from vitrine.service.pictures.thumbnails import Format
from vitrine.service.problems import problem_of
from vitrine.service.queries.nearest import Reference, product_reference, recommend
from vitrine.service.queries.options import SearchOptions
from vitrine.service.queries.text import find_products
from vitrine.service.queries.view import View
from vitrine.service.stores import open_store
from vitrine.service.timing import stage


class Catalogue:
    """One index folder, open. Thread-safe; several processes may have the same folder open."""

    def __init__(self, live: LiveView, photos: Photos, pictures: PictureFiles) -> None:
        """Take the parts that `open` makes."""
        self.live = live
        self.photos = photos
        self.pictures = pictures
        self.prefix = ""
        self._writer = Writer(live)
        self._url = answers.image_urls("")
        self._pinned: View | None = None

    @classmethod
    def open(
        cls,
        index: str | os.PathLike[str] | None = None,
        *,
        config: ServiceConfig | None = None,
        embedder: PhotoEmbedder | None = None,
    ) -> Self:
        """Open an index folder, default $VITRINE_INDEX. A folder without a snapshot is waited for.

        embedder: turns photos into vectors, default the snapshot's own network, loaded at the first photo.
        Raises SnapshotMissing when there is no such folder, SnapshotError when its snapshot does not open,
        RulesError when the rules of the shop cannot be obeyed.
        """
        config = config or ServiceConfig()
        folder = IndexFolder(index_folder(index).absolute())
        live = LiveView(folder, open_store(config.store))
        photos = Photos(folder.layout, embedder or BatchingEmbedder(config.embed_queue))
        pictures = PictureFiles(folder.layout, config.picture_roots, config.thumbnail_cache_bytes)
        return cls(live, photos, pictures)

    def close(self) -> None:
        """Stop following the folder and give the network back."""
        self.live.close()
        self.photos.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def at(self, prefix: str) -> Self:
        """Return the same catalogue with picture URLs that begin with `prefix`."""
        if prefix == self.prefix:
            return self
        other = copy.copy(self)
        other.prefix, other._url = prefix, answers.image_urls(prefix)
        return other

    def warm(self) -> None:
        """Load the network of the snapshot, if there is one, before the first photo. Raises ModelError."""
        view = self.live.view_or_none()
        if view is not None:
            self.photos.embedder.warm(view.snapshot.manifest.model)

    def pinned(self) -> Self:
        """Return the same catalogue as it is now: later changes are not seen. Raises SnapshotMissing."""
        pinned = self._pinned or self.live.view()
        other = object.__new__(type(self))  # as copy.copy does, at a tenth of its time
        other.__dict__ |= self.__dict__ | {"_pinned": pinned}
        return other

    def view(self) -> View:
        """Return the view of now. Raises SnapshotMissing while nothing is published."""
        return self._pinned or self.live.view()

    def similar(self, id: str, options: SearchOptions | None = None, **named: Any) -> Json:
        """Recommend for a product, which is never among its own hits. Options as in SearchOptions."""
        started = perf_counter()
        checked, view = options or parsed(SearchOptions, named), self.view()
        row = live_row(view, id)
        return self._page(view, product_reference(view, row), checked, started, row)

    def search(
        self,
        request: SearchOptions | None = None,
        *,
        image: Image | None = None,
        crop: Sequence[float] | str | None = None,
        **named: Any,
    ) -> Json:
        """Recommend for exactly one of product, products, vector, text or image (bytes or a path).

        crop: (x, y, w, h) of the image, each a share of its side in 0..1. request: a SearchRequest, or for an
        image SearchOptions, in place of named values.
        """
        started = perf_counter()
        asked = request or parsed(SearchRequest if image is None else SearchOptions, named)
        view, row = self.view(), None
        if image is not None:
            with stage("embed"):
                reference = Reference(self.photos.query(image, crop, view))
        elif crop is not None or not isinstance(asked, SearchRequest):
            raise QueryError("crop needs an image", field="crop")
        else:
            reference, row = reference_of(view, asked)
            asked = asked.options()
        return self._page(view, reference, asked, started, row)

    def search_batch(self, searches: Sequence[Mapping[str, Any]]) -> Json:
        """Answer up to 256 searches of one moment, in order; one that fails is answered by its problem."""
        asked, now = parsed(BatchRequest, {"searches": list(searches)}), self.pinned()
        return {"answers": [now._answer_or_problem(each) for each in asked.searches]}

    def _answer_or_problem(self, search: Mapping[str, Any]) -> Json:
        try:
            return self.search(parsed(SearchRequest, search))
        except VitrineError as error:
            return problem_of(error)

    def _page(
        self, view: View, reference: Reference, options: SearchOptions, started: float, row: int | None = None
    ) -> Json:
        """Answer a search. row: the product that is the reference, if it is one product."""
        with stage("search"):
            found = recommend(view, reference, options)
        with stage("table"):
            page = answers.hits(view, found, self._url)
            about = None if row is None else answers.brief(view, row, self._url)
        answer = {
            "snapshot": view.snapshot.name,
            "reference": about,
            "requested": found.requested,
            "returned": found.returned,
            "reason": found.reason,
            "took_ms": round(1e3 * (perf_counter() - started), 3),
            "hits": page,
        }
        if options.trace:
            answer["trace"] = [{"stage": name, "left": left} for name, left in found.trace]
        return answer

    def products(self, query: ProductsQuery | None = None, **named: Any) -> Json:
        """Find products by words of name, category and id: q, category, deleted, limit, offset."""
        asked, view = query or parsed(ProductsQuery, named), self.view()
        with stage("text"):
            found = find_products(
                view,
                asked.q,
                categories=asked.category,
                deleted=asked.deleted,
                limit=asked.limit,
                offset=asked.offset,
            )
        with stage("table"):
            page = answers.page(view, found.rows, self._url)
        return {
            "snapshot": view.snapshot.name,
            "total": found.total,
            "limit": asked.limit,
            "offset": asked.offset,
            "products": page,
            "facets": {"category": found.facets},
        }

    def product(self, id: str) -> Json:
        """Return one live product. Raises UnknownProduct, DeletedProduct."""
        view = self.view()
        return answers.full(view.product(live_row(view, id)), self._url)

    def picture(self, id: str, size: int | None = None, format: Format = "JPEG") -> Picture:
        """Return a product's picture, deleted or not: the original, or a thumbnail of at most `size` px.

        Raises UnknownProduct, PictureAbsent, QueryError.
        """
        asked, view = parsed(ImageQuery, {"size": size}), self.view()
        product, source = view.product(known_row(view, id)), view.snapshot.manifest.source
        with stage("picture"):
            if asked.size is None:
                return self.pictures.original(product, source)
            return self.pictures.small(product, source, asked.size, format)

    def categories(self) -> Json:
        """Return every category with its counts and some ids."""
        return overview.categories(self.view())

    def matrix(self, query: MatrixQuery | None = None, **named: Any) -> Json:
        """Return how alike the categories are: linkage, category."""
        return overview.matrix(self.view(), query or parsed(MatrixQuery, named))

    def pairs(self, query: PairsQuery | None = None, **named: Any) -> Json:
        """Return the closest product pairs across categories a and b: a, b, limit."""
        return overview.pairs(self.view(), query or parsed(PairsQuery, named), self._url)

    def projection(self, query: ProjectionQuery | None = None, **named: Any) -> Json:
        """Return products as points: dimensions, category, fit, limit."""
        return overview.projection(self.view(), query or parsed(ProjectionQuery, named))

    def quality(self, query: QualityQuery | None = None, **named: Any) -> Json:
        """Return what may be wrong in the catalogue: kind, dismissed, limit, offset.

        Raises NotLookedThrough for a large catalogue of which `vitrine-indexer report` was never made.
        """
        return findings.page(self.live, self.view(), query or parsed(QualityQuery, named), self._url)

    def dismiss(self, keys: Sequence[str], *, by: Caller = ANYBODY) -> Json:
        """Record that findings are no mistakes, as one change. Raises UnknownFinding."""
        chosen = findings.chosen(self.live, self.view(), keys)
        return self._writer.dismiss(chosen, by, answers.changes)

    def status(self) -> Json:
        """Return what is being served, and from what."""
        return overview.status(self.live)

    def changes(self, query: ChangesQuery | None = None, **named: Any) -> Json:
        """Return the newest changes of the journal, newest first: limit."""
        asked = query or parsed(ChangesQuery, named)
        return {"changes": [answers.change(each) for each in self.live.recent_changes(asked.limit)]}

    def reload(self) -> Json:
        """Open the snapshot that `current` names. Raises SnapshotError when it does not open."""
        self.live.reload()
        return self.status()

    def add(
        self, image: Image, form: ProductForm | None = None, *, by: Caller = ANYBODY, **named: Any
    ) -> Json:
        """Add a product: name, category, and optionally id, group, attributes. The next question finds it.

        image: bytes or a path. Raises PictureError, IdTaken, QueryError, ModelError, StorageFull.
        """
        asked = form or parsed(ProductForm, named)
        new = NewProduct(asked.name, asked.category, asked.id, asked.group, asked.attributes)
        data, sha256 = read_image(image), ""
        while True:
            view = self.view()
            product = new.checked(view)
            if product.id is not None and view.row_of(product.id) is not None and by.idempotency_key is None:
                raise IdTaken(product.id)
            with stage("embed"):
                photo = self.photos.embed(data, view, keep=True)
            with stage("store"):
                sha256, path = self.pictures.keep_upload(data)
            picture = StoredPicture(sha256, path, view.snapshot.manifest.model.key, photo)
            with stage("journal"), contextlib.suppress(ModelChanged):
                return self._writer.add(product, picture, by, self._show_one)

    def delete(self, id: str | Sequence[str], *, by: Caller = ANYBODY) -> Json:
        """Tombstone a product, or several as one change. Raises UnknownProduct, DeletedProduct."""
        if isinstance(id, str):
            return self._writer.delete([id], by, self._show_one)
        return self._writer.delete(list(id), by, self._show_several)

    def restore(self, id: str | Sequence[str], *, by: Caller = ANYBODY) -> Json:
        """Bring a product back, or several as one change; a live one stays. Raises UnknownProduct."""
        if isinstance(id, str):
            return self._writer.restore([id], by, self._show_one)
        return self._writer.restore(list(id), by, self._show_several)

    def move(self, id: str | Sequence[str], category: str, *, by: Caller = ANYBODY) -> Json:
        """Put a product, or several as one change, into a category, which may be new; "" is none.

        Raises UnknownProduct, DeletedProduct, QueryError.
        """
        if isinstance(id, str):
            return self._writer.move([id], category, by, self._show_one)
        return self._writer.move(list(id), category, by, self._show_several)

    def undo(self, *, by: Caller = ANYBODY) -> Json:
        """Take back the last change not yet undone, a batch as a whole. Raises NothingToUndo."""
        return self._writer.undo(by, answers.undone)

    def _show_one(self, products: Sequence[Product]) -> Json:
        return answers.full(products[0], self._url)

    def _show_several(self, products: Sequence[Product]) -> Json:
        return {"products": [answers.full(each, self._url) for each in products]}
