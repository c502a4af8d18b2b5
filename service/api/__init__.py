"""The HTTP API: operations as data, one module a subject, and how requests reach them (`routes`)."""

from vitrine.service.api import images, products, quality, searches, state
from vitrine.service.api.operations import Operation

OPERATIONS: tuple[Operation, ...] = (
    *products.operation.all,
    *images.operation.all,
    *searches.operation.all,
    *state.operation.all,
    *quality.operation.all,
)
