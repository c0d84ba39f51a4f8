// Making and updating elements. Text only ever enters the page as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element: `el("button", {class: "x", style: {left: "4px"}, onclick: f}, "text", child)`.
 * Children that are null, undefined or false are left out.
 */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Make an element of a drawing, as `el` does. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") setStyle(node, value);
    else setAttribute(node, name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Set style properties by script: the pages' policies do not have to allow style attributes. */
function setStyle(node, properties) {
  for (const [name, value] of Object.entries(properties)) node.style.setProperty(name, value);
}

/** Set an attribute; `false` and `null` remove it, `true` sets it empty. */
export function setAttribute(node, name, value) {
  if (value === false || value === null || value === undefined) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : String(value));
}

/** Set text only where it differs, so that screen readers and layout are left in peace. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Bring the children of `parent` in line with `items`, keeping the elements of items that stay:
 * an element under the pointer or with the focus must not be replaced.
 */
export function reconcile(parent, items, keyOf, create, update) {
  const focused = document.activeElement;
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let node = old.get(key);
    if (node) old.delete(key);
    else {
      node = create(item);
      node.dataset.key = key;
    }
    update(node, item);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of old.values()) node.remove();
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus(); // it was moved
}
