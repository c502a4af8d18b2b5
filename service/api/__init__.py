"""The HTTP API: operations as data, one module for each subject, and their Flask views (`routes`)."""

from vitrine.service.api import images, products, quality, searches, state
from vitrine.service.api.operations import Operation

OPERATIONS: tuple[Operation, ...] = (
    *products.operation.all,
    *images.operation.all,
    *searches.operation.all,
    *state.operation.all,
    *quality.operation.all,
)
