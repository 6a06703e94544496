// The page's end of the hub: hands out what a message brings, lets it be drawn once per animation frame, and answers
// with the number of the newest message that has been drawn. The kernel sends no more than is answered.

import { blocksOf } from "./blocks.js";

const SILENCE_MS = 5000;

/** Return the hub that a plot's or table's model belongs to; all of one session share it. */
export async function hubOf(model) {
  const source = await model.widget_manager.get_model(model.get("hub"));
  source.hermes ??= new Hub(source);
  return source.hermes;
}

export class Hub {
  #source;
  #page = Math.random().toString(36).slice(2);
  #views = new Map();
  #asks = new Set();
  #received = 0;
  #drawn = 0;
  #heard = 0;
  #frame = 0;
  #telling = false;
  #pulse;

  constructor(source) {
    this.#source = source;
    source.on("msg:custom", (content, buffers) => this.#take(content, buffers));
    document.addEventListener("visibilitychange", () => this.#turn());
  }

  /** Feed a view: it has `take(header, bytes)`, which returns whether it could use the block, and `draw(number)`. */
  add(id, view) {
    this.#views.set(id, (this.#views.get(id) ?? new Set()).add(view));
    this.#pulse ??= setInterval(() => this.#beat(), SILENCE_MS);
    this.ask(id);
  }

  remove(id, view) {
    const views = this.#views.get(id);
    views?.delete(view);
    if (views?.size === 0) this.#views.delete(id);
    if (this.#views.size === 0) {
      clearInterval(this.#pulse);
      this.#pulse = undefined;
    }
    this.#tell();
  }

  /** Ask for everything that a plot or table shows. */
  ask(id) {
    this.#asks.add(id);
    this.#tell();
  }

  #take(content, buffers) {
    if (content?.blocks === undefined) return;
    this.#heard = performance.now();
    for (const [header, bytes] of blocksOf(content, buffers[0])) {
      for (const view of this.#views.get(header.id) ?? []) {
        if (!view.take(header, bytes)) this.#asks.add(header.id);
      }
    }
    this.#received = content.number;
    if (document.hidden) this.#draw();
    else if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    for (const views of this.#views.values()) {
      for (const view of views) view.draw(this.#received);
    }
    this.#drawn = this.#received;
    this.#tell();
  }

  /** A page that comes to the front draws; one that goes to the back is given no animation frame any more. */
  #turn() {
    if (this.#views.size > 0) this.#draw();
  }

  /** Where nothing has come for a while, say that somebody is still here: the kernel may have given up waiting. */
  #beat() {
    if (!document.hidden && performance.now() - this.#heard > SILENCE_MS) this.#tell();
  }

  /** Tell the kernel once, however often it is called within one turn of the page's loop. */
  #tell() {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      const word = { page: this.#page, shows: [...this.#views.keys()], drawn: this.#drawn, asks: [...this.#asks] };
      this.#asks.clear();
      try {
        this.#source.send(word);
      } catch (error) {
        console.debug("Hermes: the kernel does not listen", error);
      }
    });
  }
}
