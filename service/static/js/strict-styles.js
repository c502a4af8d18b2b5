// Makes Plotly work under a policy that forbids inline styles: style elements made by scripts become constructed
// style sheets, and style attributes are set through the CSSOM. The policy allows both, because neither can come
// from markup. Loaded before Plotly, only on pages that use it.
(() => {
  const makeElement = document.createElement.bind(document);
  document.createElement = (name, options) => {
    if (String(name).toLowerCase() !== "style") return makeElement(name, options);
    const stand = makeElement("vitrine-style");
    const sheet = new CSSStyleSheet();
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    Object.defineProperty(stand, "sheet", { value: sheet });
    Object.defineProperty(stand, "textContent", { set: (text) => sheet.replaceSync(text) });
    stand.hidden = true;
    return stand;
  };
  for (const method of ["setAttribute", "setAttributeNS"]) {
    const set = Element.prototype[method];
    Element.prototype[method] = function setChecked(...given) {
      const [name, value] = given.slice(-2);
      if (name === "style") this.style.cssText = value;
      else set.apply(this, given);
    };
  }
})();
