// How values are written: always as wide, whatever they are, so that nothing jumps while it changes.

const DIGITS = 6;

/** Return a value with six significant digits; integers (BigInt and i32) whole, booleans as words. */
export function valueText(value, type = "f64") {
  if (value === null || value === undefined) return "–";
  if (type === "bool") return value ? "true" : "false";
  if (type === "i32" || type === "i64") return `${value}`.replace("-", "−");
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const plain = size === 0 || (size >= 1e-4 && size < 10 ** DIGITS);
  return (plain ? value.toPrecision(DIGITS) : value.toExponential(DIGITS - 1)).replaceAll("-", "−");
}

/** Return the texts of an axis' ticks that lie `step` apart, with as many digits as tell them apart. */
export function tickTexts(ticks, step) {
  const size = Math.max(...ticks.map(Math.abs), step);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  if (size < 1e6 && decimals <= 5) return ticks.map((tick) => tick.toFixed(decimals).replace("-", "−"));
  const digits = Math.min(15, Math.max(0, Math.floor(Math.log10(size)) + decimals));
  const whole = step >= 1 ? Math.max(0, Math.floor(Math.log10(size)) - Math.floor(Math.log10(step) + 1e-9)) : digits;
  return ticks.map((tick) => (tick === 0 ? "0" : tick.toExponential(Math.min(whole, 9)).replaceAll("-", "−")));
}
