/** Return an element with a class and children; children may be texts, which are never read as HTML. */
export function element(tag, name, ...children) {
  const made = document.createElement(tag);
  made.className = name;
  made.append(...children);
  return made;
}
