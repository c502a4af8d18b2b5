// Opens Swagger UI on this service's own document. A file of its own, since the pages allow no inline script.
const place = document.getElementById("docs");
window.SwaggerUIBundle({ url: place.dataset.document, domNode: place, deepLinking: true, validatorUrl: null });
