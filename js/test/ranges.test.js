import assert from "node:assert/strict";
import { test } from "node:test";
import { roomFor, tooNarrow } from "../src/ranges.js";

test("values that differ have the room they take", () => {
  assert.deepEqual(roomFor(-1, 2), [-1, 2]);
  assert.deepEqual(roomFor(1500, 1500.001), [1500, 1500.001]);
  assert.deepEqual(roomFor(0, 1e-12), [0, 1e-12]);
});

test("values that hardly differ have room around them", () => {
  assert.deepEqual(roomFor(1500, 1500), [1498.5, 1501.5]);
  assert.deepEqual(roomFor(0, 0), [-1, 1]);
  assert.deepEqual(roomFor(-2, -2), [-2.002, -1.998]);
  for (const value of [1500, -1e-8, 1e300, -1e-290, 5e-324, 0.1]) {
    const [min, max] = roomFor(value, value + Math.abs(value) * 1e-13);
    assert.ok(!tooNarrow([min, max]), `${min} to ${max}`);
    assert.ok(min < value && value < max);
  }
});

test("a range without numbers is too narrow", () => {
  assert.ok(tooNarrow([NaN, NaN]));
  assert.ok(tooNarrow([2, 1]));
});
