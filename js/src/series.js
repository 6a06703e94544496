// The points that a plot holds: columns of time and values, continued by blocks, trimmed to the window.

const SLACK = 256;

export class Series {
  constructor(width, window) {
    this.window = window;
    this.columns = Array.from({ length: width }, () => []);
    this.epoch = -1;
    this.until = -1;
    this.open = 0;
  }

  get times() {
    return this.columns[0];
  }

  /** The newest time in seconds; 0 where there is none. */
  get newest() {
    return this.times.at(-1) ?? 0;
  }

  /** The range of time that a live plot shows: the newest window, or the first one until that is full. */
  get range() {
    return this.newest < this.window ? [0, this.window] : [this.newest - this.window, this.newest];
  }

  /** Take a block; return false where it does not continue what is here, which then stays as it is. */
  take(header, columns) {
    if (header.full) this.columns = columns;
    else if (header.epoch !== this.epoch || header.after !== this.until) return false;
    else this.#append(columns);
    this.epoch = header.epoch;
    this.until = header.until;
    this.open = header.open;
    return true;
  }

  /** Return a copy that later blocks do not change. */
  copy() {
    const copy = new Series(this.columns.length, this.window);
    copy.columns = this.columns.map((column) => column.slice());
    return copy;
  }

  /** Put the block's points in the place of those that were still open. */
  #append(columns) {
    const kept = this.times.length - this.open;
    columns.forEach((column, place) => {
      this.columns[place].length = kept;
      for (const value of column) this.columns[place].push(value);
    });
    const begin = this.range[0];
    let gone = 0;
    while (gone + 1 < this.times.length && this.times[gone + 1] < begin) gone += 1;
    if (gone > SLACK) for (const column of this.columns) column.splice(0, gone);
  }
}
