// <similar-products src="https://vitrine.example" product="ID" limit="6" href="/p/{id}" heading="…" same-category>
// Shows similar products on a page of any site that the service allows (CORS). No dependencies.
const SHEET = new CSSStyleSheet();
SHEET.replaceSync(`
:host { display: block; font: var(--similar-font, inherit); color: var(--similar-ink, inherit); container-type: inline-size; }
:host([hidden]) { display: none; }
h2 { font-size: 1.2em; font-weight: 600; margin: 0 0 .8em; }
ul { list-style: none; margin: 0; padding: 0; display: grid; gap: var(--similar-gap, 1em);
  grid-template-columns: repeat(var(--similar-columns, auto-fill), minmax(min(44%, 9em), 1fr)); }
a { color: inherit; text-decoration: none; display: block; border-radius: var(--similar-radius, 12px); }
a:hover .name { text-decoration: underline; }
a:focus-visible { outline: 3px solid currentColor; outline-offset: 3px; }
img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--similar-tile, #f0eee9);
  border-radius: var(--similar-radius, 12px); }
.name { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; margin-top: .5em;
  font-size: .92em; line-height: 1.35; overflow-wrap: anywhere; }
.category { font-size: .85em; color: var(--similar-muted, #65625b); }
`);

class SimilarProducts extends HTMLElement {
  static observedAttributes = ["src", "product", "limit", "href", "heading", "same-category"];

  #running = null;
  #isDue = false;

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [SHEET];
  }

  connectedCallback() {
    this.#refreshSoon();
  }

  attributeChangedCallback(_name, before, after) {
    if (before !== after) this.#refreshSoon();
  }

  /** Several attributes that change together are one question. */
  #refreshSoon() {
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      if (this.isConnected) this.#refresh();
    });
  }

  async #refresh() {
    this.#running?.abort();
    this.#running = new AbortController();
    const base = new URL(`${this.getAttribute("src") ?? ""}/`, document.baseURI);
    const product = this.getAttribute("product");
    if (!product) return;
    const address = new URL(`api/v1/products/${encodeURIComponent(product)}/similar`, base);
    address.searchParams.set("limit", this.getAttribute("limit") ?? "6");
    if (this.hasAttribute("same-category")) address.searchParams.set("same_category", "true");
    try {
      const response = await fetch(address, { signal: this.#running.signal, credentials: "omit" });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.detail);
      this.#show(answer.hits, base);
      this.dispatchEvent(new CustomEvent("similar-products-shown", { detail: answer }));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.shadowRoot.replaceChildren(); // a shop's page shows nothing rather than an error
      this.dispatchEvent(new CustomEvent("similar-products-failed", { detail: error }));
    }
  }

  #show(hits, base) {
    const list = document.createElement("ul");
    list.append(...hits.map((hit) => this.#item(hit, base)));
    const heading = this.getAttribute("heading");
    const title = document.createElement("h2");
    title.textContent = heading;
    this.shadowRoot.replaceChildren(...(heading && hits.length ? [title] : []), list);
  }

  #item(hit, base) {
    const item = document.createElement("li");
    const pattern = this.getAttribute("href");
    const holder = document.createElement(pattern ? "a" : "div");
    if (pattern) holder.href = pattern.replaceAll("{id}", encodeURIComponent(hit.id));
    const image = document.createElement("img");
    Object.assign(image, { src: new URL(`${hit.image_url}?size=384`, base), alt: "", loading: "lazy" });
    const name = document.createElement("span");
    Object.assign(name, { className: "name", textContent: hit.name });
    const category = document.createElement("span");
    Object.assign(category, { className: "category", textContent: hit.category });
    holder.append(image, name, category);
    item.append(holder);
    return item;
  }
}

customElements.define("similar-products", SimilarProducts);
