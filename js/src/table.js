// A live table: name, value and unit of signals, module by module.

import { valuesOf } from "./blocks.js";
import { element } from "./element.js";
import { hubOf } from "./hub.js";
import { valueText } from "./text.js";

class Table {
  #drawn = 0;
  #texts = [];
  #types;
  #cells = [];
  #newest = null;

  constructor(model, root) {
    this.root = root;
    const signals = model.get("signals");
    this.#types = signals.map((signal) => signal.type);
    this.clock = element("span", "hermes-clock", "");
    this.note = element("span", "hermes-note", "waiting for data");
    root.append(element("div", "hermes-bar", element("span", "hermes-title", model.get("title")), this.clock, this.note));
    root.append(this.#table(signals));
  }

  take(header, bytes) {
    this.#newest = { header, values: valuesOf(this.#types, bytes) };
    return true;
  }

  draw(number) {
    this.root.dataset.number = number;
    if (this.#newest === null) return;
    const { header, values } = this.#newest;
    this.note.textContent = "";
    this.clock.textContent = `${header.time.toFixed(2)} s`;
    values.forEach((value, place) => {
      const text = valueText(value, this.#types[place]);
      if (this.#texts[place] !== text) this.#cells[place].textContent = this.#texts[place] = text;
    });
    Object.assign(this.root.dataset, { drawn: (this.#drawn += 1), time: header.time, frame: header.frame });
  }

  say(text) {
    this.note.textContent = text;
  }

  #table(signals) {
    const body = element("tbody", "");
    let module = null;
    for (const signal of signals) {
      if (signal.module !== module) {
        module = signal.module;
        const head = element("th", "hermes-module", module);
        head.colSpan = 3;
        head.scope = "rowgroup";
        body.append(element("tr", "", head));
      }
      const cell = element("td", "hermes-value", "–");
      const row = element("tr", "hermes-row", element("td", "hermes-name", signal.name), cell);
      row.append(element("td", "hermes-unit", signal.unit));
      row.dataset.signal = `${signal.module}.${signal.name}`;
      this.#cells.push(cell);
      body.append(row);
    }
    return element("table", "", body);
  }
}

async function render({ model, el }) {
  const root = element("div", "hermes-table");
  el.append(root);
  const table = new Table(model, root);
  let hub;
  try {
    hub = await hubOf(model);
    hub.add(model.get("stream"), table);
  } catch {
    table.say("the session of this table is gone; run its cell again");
  }
  return () => hub?.remove(model.get("stream"), table);
}

export default { render };
