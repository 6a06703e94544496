// A live plot: axes one above the other over the same time, and a bar with what the plot can do.

import { columnsOf } from "./blocks.js";
import { Axes } from "./axes.js";
import { element } from "./element.js";
import { hubOf } from "./hub.js";
import { tooNarrow } from "./ranges.js";
import { Series } from "./series.js";
import { coloursOf, onThemeChange } from "./theme.js";

const HEIGHT_ALONE = 240;
const HEIGHT = 170;
const HINT = "drag: zoom · shift + drag: pan · ctrl + wheel: zoom in time · double click: live again";

class Plot {
  #drawn = 0;
  #visible = true;
  #held = null; // what is looked at while the data goes on
  #range = null;
  #gutter = 56;

  constructor(model, root) {
    this.key = `hermes-${Math.random()}`;
    this.root = root;
    const groups = model.get("axes");
    const width = 1 + Math.max(...groups.flat().map((signal) => signal.place)) + 1;
    this.series = new Series(width, model.get("window"));
    const height = groups.length === 1 ? HEIGHT_ALONE : HEIGHT;
    root.append(this.#bar(model.get("title")));
    this.colours = coloursOf(root, this.clock);
    this.axes = groups.map((signals, place) => new Axes(this, signals, { last: place === groups.length - 1, height }));
    root.append(...this.axes.map((one) => one.root));
    root.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#state("waiting");
  }

  take(header, bytes) {
    return this.series.take(header, columnsOf(header, bytes));
  }

  draw(number) {
    this.root.dataset.number = number;
    if (this.series.times.length === 0) return;
    this.clock.textContent = `${this.series.newest.toFixed(2)} s`;
    this.root.dataset.time = this.series.newest;
    this.root.dataset.epoch = this.series.epoch;
    if (this.#held) return;
    this.#state("live");
    this.show();
  }

  /** Draw what is to be seen now. */
  show() {
    if (!this.#visible) return;
    const series = this.#held ?? this.series;
    const range = this.#range ?? series.range;
    for (const one of this.axes) one.draw(series, range);
    this.root.dataset.drawn = this.#drawn += 1;
    this.root.dataset.points = series.times.length;
    [this.root.dataset.from, this.root.dataset.to] = range;
  }

  /** Look at a range of time, at what the plot holds now; the data goes on behind it. */
  look(range) {
    this.hold();
    if (!tooNarrow(range)) this.#range = range;
    this.show();
  }

  hold() {
    if (this.#held) return;
    this.#range = this.series.range;
    this.#held = this.series.copy();
    this.#state("held");
  }

  /** Follow the newest frame again. */
  live() {
    this.#held = this.#range = null;
    for (const one of this.axes) one.held = null;
    this.#state(this.series.times.length ? "live" : "waiting");
    this.show();
  }

  see(visible) {
    this.#visible = visible;
    if (visible && this.series.times.length) this.show();
  }

  resize(width) {
    for (const one of this.axes) one.resize(width);
    this.paint(); // the page's colours are known once the plot has its place in it
  }

  /** Return how wide the room for the values' texts is, at least `width`: the same for all axes. */
  gutter(width) {
    this.#gutter = Math.max(this.#gutter, width);
    return this.#gutter;
  }

  paint() {
    this.colours = coloursOf(this.root, this.clock);
    this.root.classList.toggle("hermes-dark", this.colours.dark);
    for (const one of this.axes) one.paint();
  }

  say(text) {
    this.note.textContent = text;
  }

  destroy() {
    for (const one of this.axes) one.destroy();
  }

  #bar(title) {
    this.button = element("button", "hermes-hold");
    this.button.type = "button";
    this.button.addEventListener("click", () => (this.#held ? this.live() : this.hold()));
    this.clock = element("span", "hermes-clock", "");
    this.note = element("span", "hermes-note", "");
    const bar = element("div", "hermes-bar", element("span", "hermes-title", title), this.clock, this.note, this.button);
    bar.title = HINT;
    return bar;
  }

  #state(mode) {
    this.root.dataset.mode = mode;
    this.button.textContent = mode === "held" ? "▶ Live" : "❚❚ Hold";
    this.button.title = mode === "held" ? "follow the newest frame again" : "hold this view; the simulation goes on";
    this.say({ held: "held", waiting: "waiting for data", live: "" }[mode]);
  }

  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const { chart } = this.axes[0];
    const { min, max } = chart.scales.x;
    const at = chart.posToVal(event.clientX - chart.over.getBoundingClientRect().left, "x");
    const factor = event.deltaY < 0 ? 0.8 : 1.25;
    this.look([at - (at - min) * factor, at + (max - at) * factor]);
  }
}

async function render({ model, el }) {
  const root = element("div", "hermes-plot");
  el.append(root);
  const plot = new Plot(model, root);
  const resizing = new ResizeObserver(() => plot.resize(root.clientWidth));
  const seeing = new IntersectionObserver((entries) => plot.see(entries.at(-1).isIntersecting));
  resizing.observe(root);
  seeing.observe(root);
  const unwatch = onThemeChange(() => plot.paint());
  let hub;
  try {
    hub = await hubOf(model);
    hub.add(model.get("stream"), plot);
  } catch {
    plot.say("the session of this plot is gone; run its cell again");
  }
  return () => {
    hub?.remove(model.get("stream"), plot);
    resizing.disconnect();
    seeing.disconnect();
    unwatch();
    plot.destroy();
  };
}

export default { render };
