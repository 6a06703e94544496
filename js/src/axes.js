// One axes: a uPlot chart of some of the plot's columns, with a legend above it that shows values.

import uPlot from "uplot";
import { element } from "./element.js";
import { roomFor, tooNarrow } from "./ranges.js";
import { tickTexts, valueText } from "./text.js";

const STEPPED = uPlot.paths.stepped({ align: 1 });
const SMALLEST_DRAG = 5;
const BOTH_WAYS_DRAG = 30;
const FONT = "11px system-ui, sans-serif";
const MOST_UNITS = 2; // so many fit beside an axis; all of them are in the legend
const CHARACTER = 6.5;

export class Axes {
  /** `plot` is asked for colours and the range of time, and told of zoom, pan and double clicks. */
  constructor(plot, signals, { last, height }) {
    this.plot = plot;
    this.signals = signals;
    this.last = last;
    this.height = height;
    this.held = null; // the range of values, where the user chose one
    this.root = element("div", "hermes-axes");
    this.#legend();
    this.chart = new uPlot(this.#options(), [[], ...signals.map(() => [])], this.root);
  }

  /** Draw a series over a range of time. */
  draw(series, [min, max]) {
    this.series = series;
    const data = [series.times, ...this.signals.map((signal) => series.columns[signal.place + 1])];
    this.chart.batch(() => {
      this.chart.setData(data, false);
      this.chart.setScale("x", { min, max });
    });
    this.values();
  }

  /** Show the values under the cursor, or the newest where there is none. */
  values() {
    if (!this.series) return;
    const under = this.chart.cursor.idx;
    this.signals.forEach((signal, place) => {
      const column = this.series.columns[signal.place + 1];
      this.texts[place].textContent = valueText(under == null ? column.at(-1) : column[under], signal.type);
    });
  }

  resize(width) {
    if (width > 0) this.chart.setSize({ width, height: this.height });
  }

  /** Take over the colours of a new theme. */
  paint() {
    this.marks.forEach((mark, place) => {
      mark.style.background = this.plot.colours.series[place % this.plot.colours.series.length];
    });
    this.chart.redraw(false, true);
  }

  destroy() {
    this.chart.destroy();
  }

  #legend() {
    this.marks = [];
    this.texts = [];
    const entries = this.signals.map((signal, place) => {
      const mark = element("span", "hermes-mark");
      const value = element("span", "hermes-value", "–");
      const name = element("span", "hermes-name", signal.name);
      const reading = element("span", "hermes-reading", value, " ", element("span", "hermes-unit", signal.unit));
      const entry = element("button", "hermes-entry", mark, name, reading);
      entry.type = "button";
      entry.title = `${signal.name}: click to hide or show it`;
      entry.addEventListener("click", () => this.#toggle(entry, place + 1));
      this.marks.push(mark);
      this.texts.push(value);
      return entry;
    });
    this.root.append(element("div", "hermes-legend", ...entries));
  }

  #toggle(entry, place) {
    const show = !this.chart.series[place].show;
    entry.classList.toggle("hermes-off", !show);
    entry.setAttribute("aria-pressed", String(!show));
    this.chart.setSeries(place, { show });
  }

  #options() {
    const colour = (place) => () => this.plot.colours.series[place % this.plot.colours.series.length];
    return {
      width: 600,
      height: this.height,
      padding: [8, 12, this.last ? 0 : 4, 0],
      legend: { show: false },
      focus: { alpha: 0.35 },
      scales: { x: { time: false }, y: { range: (_chart, min, max) => this.#valueRange(min, max) } },
      series: [
        {},
        ...this.signals.map((signal, place) => ({
          label: signal.name,
          stroke: colour(place),
          width: 1.5,
          points: { show: false },
          pxAlign: 0,
          paths: /^(bool|i32|i64)$/.test(signal.type) ? STEPPED : undefined,
        })),
      ],
      axes: [this.#timeAxis(), this.#valueAxis()],
      cursor: {
        sync: { key: this.plot.key, scales: ["x", null], filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
        drag: { x: true, y: true, uni: BOTH_WAYS_DRAG, setScale: false },
        points: { size: 6 },
        bind: {
          mousedown: (chart, _target, handler) => (event) => this.#press(chart, handler, event),
          dblclick: () => () => this.plot.live(),
        },
      },
      hooks: { setCursor: [() => this.values()], setSelect: [(chart) => this.#select(chart)] },
    };
  }

  #axis(options) {
    const { plot } = this;
    const line = { stroke: () => plot.colours.grid, width: 1 };
    const fonts = { font: FONT, labelFont: FONT };
    return { stroke: () => plot.colours.faint, grid: line, ticks: { ...line, size: 4 }, ...fonts, ...options };
  }

  #timeAxis() {
    const texts = { values: (_chart, ticks, _axis, _space, step) => tickTexts(ticks, step) };
    const labelled = { ...texts, size: 24, label: "time (s)", labelSize: 16, labelGap: -2 };
    return this.#axis({ space: 70, ...(this.last ? labelled : { values: (_chart, ticks) => ticks.map(() => ""), size: 5 }) });
  }

  #valueAxis() {
    const units = [...new Set(this.signals.map((signal) => signal.unit).filter(Boolean))];
    const values = (_chart, ticks, _axis, _space, step) => tickTexts(ticks, step);
    const size = (_chart, texts) => {
      const longest = Math.max(0, ...(texts ?? []).map((text) => text.length));
      return this.plot.gutter(Math.ceil(longest * CHARACTER) + 16);
    };
    return this.#axis({ values, size, space: 26, label: (units.length <= MOST_UNITS && units.join(", ")) || " ", labelSize: 18, labelGap: 0 });
  }

  #valueRange(min, max) {
    if (this.held) return this.held;
    if (min === null || max === null) return [0, 1];
    if (this.signals.every((signal) => signal.type === "bool")) return [-0.15, 1.15];
    return uPlot.rangeNum(...roomFor(min, max), 0.1, true);
  }

  /** Zoom to what was dragged over. */
  #select(chart) {
    const { left, top, width, height } = chart.select;
    if (width < SMALLEST_DRAG && height < SMALLEST_DRAG) return;
    const wide = width >= SMALLEST_DRAG && width < chart.over.clientWidth;
    const high = height >= SMALLEST_DRAG && height < chart.over.clientHeight;
    const values = [chart.posToVal(top + height, "y"), chart.posToVal(top, "y")];
    if (high && !tooNarrow(values)) this.held = values;
    chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    const across = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
    this.plot.look(wide ? across : [chart.scales.x.min, chart.scales.x.max]);
  }

  /** Begin a drag: to zoom, or with the shift key or the middle button, to pan. */
  #press(chart, handler, event) {
    if (!event.shiftKey && event.button !== 1) return handler(event);
    event.preventDefault();
    const { min, max } = chart.scales.x;
    const values = [chart.scales.y.min, chart.scales.y.max];
    const perPixel = { x: (max - min) / chart.over.clientWidth, y: (values[1] - values[0]) / chart.over.clientHeight };
    const moved = (now) => {
      const [time, value] = [(now.clientX - event.clientX) * perPixel.x, (now.clientY - event.clientY) * perPixel.y];
      if (this.held) this.held = values.map((bound) => bound + value);
      this.plot.look([min - time, max - time]);
    };
    const released = () => document.removeEventListener("mousemove", moved);
    document.addEventListener("mousemove", moved);
    document.addEventListener("mouseup", released, { once: true });
  }
}
