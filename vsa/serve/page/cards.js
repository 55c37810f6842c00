// Pieces of the page. Texts become text nodes and attributes, never markup.

const PRICE = new Intl.NumberFormat(undefined, {minimumFractionDigits: 2, maximumFractionDigits: 2});
const THUMBNAIL_PX = 256;
const N_EAGER = 9; // thumbnails that may be in view at once on a phone

/** An element with attributes, those of null left out, and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Children in place of others; the focus stays where it was, as told by `data-key`. */
export function fill(parent, children) {
  const focused = parent.contains(document.activeElement) && document.activeElement.dataset.key;
  parent.replaceChildren(...children);
  if (focused) children.find((child) => child.dataset.key === focused)?.focus();
}

/** A button that is pressed or not. */
export function chip(key, text, label, isPressed, clicked) {
  const button = make(
    "button", {type: "button", "data-key": key, "aria-pressed": isPressed, "aria-label": label}, text,
  );
  button.addEventListener("click", clicked);
  return button;
}

/** A result: its whole thumbnail, title, product, price and how similar it is. */
export function card(result, place) {
  const {title, product_id: product, category, price, score, quality} = result;
  const name = title ?? category;
  const words = make("div", {}, make("p", {class: "title"}, name));
  if (price !== null) words.append(make("p", {class: "price"}, PRICE.format(price)));
  words.append(make("p", {}, title ? `${category}, ${product}` : `product ${product}`));
  const rank = quality === null ? "" : ` · quality ${quality.toFixed(2)}`;
  words.append(make("p", {class: "score"}, `similarity ${score.toFixed(3)}${rank}`));
  const picture = make("img", {
    src: `${result.picture}?size=${THUMBNAIL_PX}`,
    alt: `Result ${place}: ${name}, product ${product}`,
    loading: place <= N_EAGER ? "eager" : "lazy",
    decoding: "async",
  });
  picture.addEventListener("error", () => picture.replaceWith(
    make("p", {class: "gone", role: "img", "aria-label": `${picture.alt}; no picture`}, "no picture"),
  ));
  return make("li", {}, picture, words);
}
