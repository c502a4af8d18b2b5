"""The catalogue API: queries and changes of one index folder with plain values, for HTTP and for Python.

Every answer is the dict that the HTTP API documents. Each call takes one view and keeps it until it returns.
Raises the errors of vitrine.indexer.errors and vitrine.service.errors.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Self

from vitrine.indexer.config import resolve_index_folder
from vitrine.indexer.errors import QueryError, VitrineError
from vitrine.indexer.products.schema import Product
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service.catalogue import overview
from vitrine.service.catalogue.findings import findings_by_key, findings_page
from vitrine.service.catalogue.follower import SnapshotFollower
from vitrine.service.catalogue.new_product import NewProduct
from vitrine.service.catalogue.reference import find_live_row, find_row, resolve_reference
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
    parse_request,
)
from vitrine.service.catalogue.serialisation import (
    Json,
    changes_json,
    hits_json,
    image_url_builder,
    product_json,
    products_json,
    reference_json,
    undo_json,
)
from vitrine.service.catalogue.writer import ANONYMOUS, Caller, ModelChanged, StoredPicture, Writer
from vitrine.service.config import ServiceConfig
from vitrine.service.errors import IdTaken
from vitrine.service.pictures.batching import BatchingEmbedder
from vitrine.service.pictures.embedding import CachingEmbedder, ImageInput, PhotoEmbedder, read_image
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
    """An open index folder. Thread-safe; several processes may have the same folder open.

    The parameters of most methods may be given as a request model or by name.
    """

    def __init__(self, follower: SnapshotFollower, photos: CachingEmbedder, pictures: PictureFiles) -> None:
        """Use the parts that `open` creates."""
        self.follower = follower
        self.photos = photos
        self.pictures = pictures
        self.prefix = ""
        self._writer = Writer(follower)
        self._image_url = image_url_builder("")
        self._view: View | None = None

    @classmethod
    def open(
        cls,
        index: str | os.PathLike[str] | None = None,
        *,
        config: ServiceConfig | None = None,
        embedder: PhotoEmbedder | None = None,
    ) -> Self:
        """Open an index folder, default $VITRINE_INDEX. Without a snapshot, queries fail until there is one.

        embedder: computes the vectors of photos; by default the network of the snapshot, loaded at the first
        photo. Raises SnapshotMissing when there is no such folder, SnapshotError when its snapshot does not
        open, RulesError when the shop rules cannot be applied.
        """
        config = config or ServiceConfig()
        folder = IndexFolder(resolve_index_folder(index).absolute())
        follower = SnapshotFollower(folder, open_store(config.store))
        photos = CachingEmbedder(folder.layout, embedder or BatchingEmbedder(config.embed_queue))
        pictures = PictureFiles(folder.layout, config.picture_roots, config.thumbnail_cache_bytes)
        return cls(follower, photos, pictures)

    def close(self) -> None:
        """Stop following the folder and release the network."""
        self.follower.close()
        self.photos.close()

    def __enter__(self) -> Self:
        """Return the catalogue."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the catalogue."""
        self.close()

    def with_url_prefix(self, prefix: str) -> Self:
        """Return the same catalogue with picture URLs that begin with `prefix`."""
        if prefix == self.prefix:
            return self
        other = copy.copy(self)
        other.prefix, other._image_url = prefix, image_url_builder(prefix)
        return other

    def warm(self) -> None:
        """Load the network of the snapshot, if there is one, before the first photo. Raises ModelError."""
        view = self.follower.view_or_none()
        if view is not None:
            self.photos.embedder.warm(view.state.snapshot.manifest.model)

    def at_current_view(self) -> Self:
        """Return the same catalogue fixed at its current view. Raises SnapshotMissing."""
        view = self.view()
        other = object.__new__(type(self))  # as copy.copy does, in a tenth of its time
        other.__dict__ |= self.__dict__ | {"_view": view}
        return other

    def view(self) -> View:
        """Return the current view, or the one that the catalogue is fixed at. Raises SnapshotMissing."""
        return self._view or self.follower.view()

    def similar(self, id: str, options: SearchOptions | None = None, **named: Any) -> Json:
        """Return products similar to a product, without the product itself. Options as in SearchOptions."""
        started = perf_counter()
        options, view = options or parse_request(SearchOptions, named), self.view()
        row = find_live_row(view, id)
        return self._search_answer(view, product_reference(view, row), options, started, row)

    def search(
        self,
        request: SearchOptions | None = None,
        *,
        image: ImageInput | None = None,
        crop: Sequence[float] | str | None = None,
        **named: Any,
    ) -> Json:
        """Return products similar to exactly one of product, products, vector, text or image.

        image: bytes or a path. crop: (x, y, w, h) of the image, as shares of its width and height in 0..1.
        request: a SearchRequest, or with an image SearchOptions, in place of named values.
        """
        started = perf_counter()
        options = request or parse_request(SearchRequest if image is None else SearchOptions, named)
        view, row = self.view(), None
        if image is not None:
            with stage("embed"):
                reference = Reference(self.photos.query_vector(image, crop, view))
        elif crop is not None or not isinstance(options, SearchRequest):
            raise QueryError("crop needs an image", field="crop")
        else:
            reference, row = resolve_reference(view, options)
            options = options.options()
        return self._search_answer(view, reference, options, started, row)

    def search_batch(self, searches: Sequence[Mapping[str, Any]]) -> Json:
        """Run up to 256 searches on one view, in order; a search that fails is answered by its problem."""
        request = parse_request(BatchRequest, {"searches": list(searches)})
        fixed = self.at_current_view()
        return {"answers": [fixed._answer_or_problem(search) for search in request.searches]}

    def _answer_or_problem(self, search: Mapping[str, Any]) -> Json:
        try:
            return self.search(parse_request(SearchRequest, search))
        except VitrineError as error:
            return problem_of(error)

    def _search_answer(
        self, view: View, reference: Reference, options: SearchOptions, started: float, row: int | None = None
    ) -> Json:
        """Return the answer to a search. row: the reference, if it is one product."""
        with stage("search"):
            result = recommend(view, reference, options)
        with stage("table"):
            hits = hits_json(view, result, self._image_url)
            reference_product = None if row is None else reference_json(view, row, self._image_url)
        answer = {
            "snapshot": view.state.snapshot.name,
            "reference": reference_product,
            "requested": result.requested,
            "returned": result.returned,
            "reason": result.reason,
            "took_ms": round(1e3 * (perf_counter() - started), 3),
            "hits": hits,
        }
        if options.trace:
            answer["trace"] = [{"stage": name, "left": left} for name, left in result.trace]
        return answer

    def products(self, query: ProductsQuery | None = None, **named: Any) -> Json:
        """Find products by words of name, category and id: q, category, deleted, limit, offset."""
        query, view = query or parse_request(ProductsQuery, named), self.view()
        with stage("text"):
            matches = find_products(
                view,
                query.q,
                categories=query.category,
                deleted=query.deleted,
                limit=query.limit,
                offset=query.offset,
            )
        with stage("table"):
            products = products_json(view, matches.rows, self._image_url)
        return {
            "snapshot": view.state.snapshot.name,
            "total": matches.total,
            "limit": query.limit,
            "offset": query.offset,
            "products": products,
            "facets": {"category": matches.facets},
        }

    def product(self, id: str) -> Json:
        """Return one live product. Raises UnknownProduct, DeletedProduct."""
        view = self.view()
        return product_json(view.state.product(find_live_row(view, id)), self._image_url)

    def picture(self, id: str, size: int | None = None, format: Format = "JPEG") -> Picture:
        """Return a product's picture, deleted or not: the original, or a thumbnail of at most `size` px.

        Raises UnknownProduct, PictureUnavailable, QueryError.
        """
        query, view = parse_request(ImageQuery, {"size": size}), self.view()
        product, source = view.state.product(find_row(view, id)), view.state.snapshot.manifest.source
        with stage("picture"):
            if query.size is None:
                return self.pictures.original(product, source)
            return self.pictures.scaled(product, source, query.size, format)

    def categories(self) -> Json:
        """Return every category with its counts and some ids."""
        return overview.categories(self.view())

    def matrix(self, query: MatrixQuery | None = None, **named: Any) -> Json:
        """Return the similarity of categories: linkage, category."""
        return overview.matrix(self.view(), query or parse_request(MatrixQuery, named))

    def pairs(self, query: PairsQuery | None = None, **named: Any) -> Json:
        """Return the closest product pairs across categories a and b: a, b, limit."""
        return overview.pairs(self.view(), query or parse_request(PairsQuery, named), self._image_url)

    def projection(self, query: ProjectionQuery | None = None, **named: Any) -> Json:
        """Return products as points: dimensions, category, fit, limit."""
        return overview.projection(self.view(), query or parse_request(ProjectionQuery, named))

    def quality(self, query: QualityQuery | None = None, **named: Any) -> Json:
        """Return quality findings, possible mistakes in the catalogue: kind, dismissed, limit, offset.

        Raises QualityNotAnalysed for a large catalogue without a `vitrine-indexer report`.
        """
        query = query or parse_request(QualityQuery, named)
        return findings_page(self.follower, self.view(), query, self._image_url)

    def dismiss(self, keys: Sequence[str], *, by: Caller = ANONYMOUS) -> Json:
        """Record that findings are no mistakes, as one change. Raises UnknownFinding."""
        return self._writer.dismiss(findings_by_key(self.follower, self.view(), keys), by, changes_json)

    def status(self) -> Json:
        """Return the state of the service: snapshot, counts, model, index, rules."""
        return overview.status(self.follower)

    def changes(self, query: ChangesQuery | None = None, **named: Any) -> Json:
        """Return the newest changes of the journal, newest first: limit."""
        query = query or parse_request(ChangesQuery, named)
        return changes_json(self.follower.recent_changes(query.limit))

    def reload(self) -> Json:
        """Open the snapshot that `current` names. Raises SnapshotError when it does not open."""
        self.follower.reload()
        return self.status()

    def add(
        self, image: ImageInput, form: ProductForm | None = None, *, by: Caller = ANONYMOUS, **named: Any
    ) -> Json:
        """Add a product: name, category, and optionally id, group, attributes. The next query finds it.

        image: bytes or a path. Raises PictureError, IdTaken, QueryError, ModelError, StorageFull.
        """
        form = form or parse_request(ProductForm, named)
        new = NewProduct(form.name, form.category, form.id, form.group, form.attributes)
        data = read_image(image)
        while True:
            view = self.view()
            product = new.validated(view)
            is_taken = product.id is not None and view.state.segments.row_of(product.id) is not None
            if product.id is not None and is_taken and by.idempotency_key is None:
                raise IdTaken(product.id)
            with stage("embed"):
                photo = self.photos.embed(data, view, store=True)
            with stage("store"):
                sha256, path = self.pictures.store_upload(data)
            picture = StoredPicture(sha256, path, view.state.snapshot.manifest.model.key, photo)
            with stage("journal"), contextlib.suppress(ModelChanged):
                return self._writer.add(product, picture, by, self._first_product)

    def delete(self, id: str | Sequence[str], *, by: Caller = ANONYMOUS) -> Json:
        """Tombstone a product, or several as one change. Raises UnknownProduct, DeletedProduct."""
        if isinstance(id, str):
            return self._writer.delete([id], by, self._first_product)
        return self._writer.delete(list(id), by, self._all_products)

    def restore(self, id: str | Sequence[str], *, by: Caller = ANONYMOUS) -> Json:
        """Restore a product, or several as one change; a live one stays. Raises UnknownProduct."""
        if isinstance(id, str):
            return self._writer.restore([id], by, self._first_product)
        return self._writer.restore(list(id), by, self._all_products)

    def move(self, id: str | Sequence[str], category: str, *, by: Caller = ANONYMOUS) -> Json:
        """Move a product, or several as one change, into a category, which may be new; "" for none.

        Raises UnknownProduct, DeletedProduct, QueryError.
        """
        if isinstance(id, str):
            return self._writer.move([id], category, by, self._first_product)
        return self._writer.move(list(id), category, by, self._all_products)

    def undo(self, *, by: Caller = ANONYMOUS) -> Json:
        """Undo the newest change that is not undone yet, a batch as a whole. Raises NothingToUndo."""
        return self._writer.undo(by, undo_json)

    def _first_product(self, products: Sequence[Product]) -> Json:
        return product_json(products[0], self._image_url)

    def _all_products(self, products: Sequence[Product]) -> Json:
        return {"products": [product_json(product, self._image_url) for product in products]}
