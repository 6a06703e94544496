import assert from "node:assert/strict";
import { test } from "node:test";
import { tickTexts, valueText } from "../src/text.js";

test("floats have six significant digits, however large they are", () => {
  const texts = [0, 1, -1.25, 1519.98765, 123456.7, 1234567, 0.0001234567, 1e-9, -2e300].map((one) => valueText(one));
  assert.deepEqual(texts, [
    "0.00000", "1.00000", "−1.25000", "1519.99", "123457", "1.23457e+6", "0.000123457", "1.00000e−9", "−2.00000e+300",
  ]);
});

test("integers stay whole, booleans are words, what is no number says so", () => {
  assert.equal(valueText(-9223372036854775808n, "i64"), "−9223372036854775808");
  assert.equal(valueText(7, "i32"), "7");
  assert.equal(valueText(true, "bool"), "true");
  assert.equal(valueText(0, "bool"), "false");
  assert.deepEqual([NaN, Infinity, -Infinity, null].map((one) => valueText(one)), ["NaN", "∞", "−∞", "–"]);
});

test("ticks have the digits that tell them apart", () => {
  assert.deepEqual(tickTexts([0, 0.25, 0.5], 0.25), ["0.00", "0.25", "0.50"]);
  assert.deepEqual(tickTexts([1510, 1515], 5), ["1510", "1515"]);
  assert.deepEqual(tickTexts([-5000, 0, 5000], 5000), ["−5000", "0", "5000"]);
  assert.deepEqual(tickTexts([1517.00001, 1517.00002], 0.00001), ["1517.00001", "1517.00002"]);
  assert.deepEqual(tickTexts([0, 0.0002], 0.0002), ["0", "2e−4"]);
  assert.deepEqual(tickTexts([1000000, 1200000], 200000), ["1.0e+6", "1.2e+6"]);
  assert.deepEqual(tickTexts([0.1, 0.2, 0.30000000000000004], 0.1), ["0.1", "0.2", "0.3"]);
});

test("neighbouring ticks never read the same", () => {
  for (let power = -12; power < 12; power += 1) {
    for (const step of [1, 2, 2.5, 5].map((one) => one * 10 ** power)) {
      for (const start of [0, -3 * step, 1000 * step]) {
        const texts = tickTexts([start, start + step, start + 2 * step], step);
        assert.equal(new Set(texts).size, 3, `${texts} for ${step}`);
      }
    }
  }
});
