"""The gallery: pages for people over the catalogue that the API serves. Everything comes from this host."""

from service.gallery import shop
from service.gallery.routes import Page, add_gallery

PAGES: tuple[Page, ...] = (*shop.page.all,)

__all__ = ["PAGES", "add_gallery"]
