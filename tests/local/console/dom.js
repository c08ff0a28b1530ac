// Makes elements. Texts become text nodes, never markup.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Makes an element. A property that begins with `on` is a listener; `true` is an attribute without a value; `false`,
 * `null` and `undefined` leave the attribute out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, unknown>} [properties]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  dress(element, properties, children.flat());
  return element;
}

/**
 * Makes an element of a drawing.
 * @param {string} name
 * @param {Record<string, unknown>} [properties]
 * @param {...(Child | Child[])} children
 * @returns {SVGElement}
 */
export function s(name, properties = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  dress(element, properties, children.flat());
  return element;
}

/**
 * @param {Element} element
 * @param {Record<string, unknown>} properties
 * @param {Child[]} children
 */
function dress(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, String(value));
    }
  }
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child instanceof Node ? child : String(child));
    }
  }
}

/**
 * Replaces what is in `place`, and keeps the focus where the new content has an element of the same id.
 * @param {Element} place
 * @param {...(Child | Child[])} children
 */
export function put(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement?.id : "";
  const nodes = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  place.replaceChildren(...nodes.map((child) => (child instanceof Node ? child : String(child))));
  if (focused) document.getElementById(focused)?.focus();
}

/**
 * Moves the focus to a heading, so that a screen reader reads on from there.
 * @param {HTMLElement | null} heading
 */
export function focus(heading) {
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
  heading.scrollIntoView({ block: "nearest" });
}

/**
 * Says something to users of screen readers.
 * @param {string} text
 */
export function announce(text) {
  const region = document.getElementById("announcements");
  if (region) region.textContent = text;
}
