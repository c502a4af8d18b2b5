"""The gallery: HTML pages over the same catalogue as the API. All resources come from this host."""

from vitrine.service.gallery import assets, categories, maps, photos, quality, shop, state
from vitrine.service.gallery.routes import Page, add_gallery

PAGES: tuple[Page, ...] = (
    *shop.page.all,
    *photos.page.all,
    *categories.page.all,
    *maps.page.all,
    *state.page.all,
    *quality.page.all,
    *assets.page.all,
)

__all__ = ["PAGES", "add_gallery"]
