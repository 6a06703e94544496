import assert from "node:assert/strict";
import { test } from "node:test";
import { blocksOf, columnsOf, valuesOf } from "../src/blocks.js";
import { Series } from "../src/series.js";

const header = (more) => ({ full: false, epoch: 0, after: -1, until: 1, open: 1, ...more });

test("a block takes the place of the points that were still open", () => {
  const series = new Series(2, 10);
  assert.ok(series.take(header({ full: true, until: 1 }), [[0, 1, 2], [5, 6, 7]]));
  assert.ok(series.take(header({ after: 1, until: 3 }), [[2, 3, 4], [70, 8, 9]]));
  assert.deepEqual(series.columns, [[0, 1, 2, 3, 4], [5, 6, 70, 8, 9]]);
  assert.equal(series.newest, 4);
});

test("a block that does not follow is refused and changes nothing", () => {
  const series = new Series(2, 10);
  assert.ok(!series.take(header({ after: 4, until: 6 }), [[5], [5]]));
  assert.ok(series.take(header({ full: true, until: 1 }), [[0, 1], [5, 6]]));
  assert.ok(!series.take(header({ after: 3, until: 6 }), [[5], [5]]));
  assert.ok(!series.take(header({ epoch: 1, after: 1, until: 6 }), [[5], [5]]));
  assert.deepEqual(series.columns, [[0, 1], [5, 6]]);
});

test("a full block of a new epoch begins anew", () => {
  const series = new Series(2, 10);
  series.take(header({ full: true, until: 1 }), [[0, 40], [5, 6]]);
  assert.deepEqual(series.range, [30, 40]);
  assert.ok(series.take(header({ full: true, epoch: 1, until: -1 }), [[0], [5]]));
  assert.deepEqual(series.range, [0, 10]);
  assert.equal(series.times.length, 1);
});

test("what has left the window is dropped, and a copy is not touched by it", () => {
  const series = new Series(2, 10);
  series.take(header({ full: true, until: -1 }), [[0], [0]]);
  const copy = series.copy();
  for (let frame = 1; frame < 3000; frame += 1) {
    series.take(header({ after: frame - 2, until: frame - 1, open: 1 }), [[(frame - 1) / 10, frame / 10], [0, frame]]);
  }
  assert.ok(series.times.length < 500, `${series.times.length} points of 100`);
  assert.ok(series.times[0] <= series.range[0], "one point before the window, from which the line comes");
  assert.equal(series.newest, 299.9);
  assert.deepEqual(copy.columns, [[0], [0]]);
});

test("bytes become columns and values, wherever they lie in a message", () => {
  const buffer = new ArrayBuffer(3 + 32 + 40);
  const view = new DataView(buffer, 3);
  [1.5, 2.5, NaN, -1].forEach((value, place) => view.setFloat64(8 * place, value, true));
  view.setFloat64(32, 0.25, true);
  view.setFloat32(40, 0.5, true);
  view.setBigInt64(48, -(2n ** 62n), true);
  view.setInt32(56, -3, true);
  view.setUint8(64, 1);
  const content = { blocks: [{ id: "plot", points: 2, bytes: 32 }, { id: "table", bytes: 40 }] };
  const [[plot, columns], [table, cells]] = blocksOf(content, view);
  assert.deepEqual(columnsOf(plot, columns), [[1.5, 2.5], [null, -1]]);
  assert.deepEqual(valuesOf(["f64", "f32", "i64", "i32", "bool"], cells), [0.25, 0.5, -(2n ** 62n), -3, true]);
  assert.equal(table.id, "table");
});
