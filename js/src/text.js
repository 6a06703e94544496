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
  const decimals = decimalsOf(step);
  const plain = size < 1e6 && size >= 1e-3 && decimals <= 9;
  const digits = Math.min(15, Math.max(0, Math.floor(Math.log10(size)) + decimals));
  return ticks.map((tick) => {
    if (plain) return tick.toFixed(Math.max(0, decimals)).replace("-", "−");
    return tick === 0 ? "0" : tick.toExponential(digits).replaceAll("-", "−");
  });
}

/** Return how many decimals a step has: 2 for 0.25, -3 for 5000. */
function decimalsOf(step) {
  const most = 3 - Math.floor(Math.log10(step));
  let decimals = most;
  for (let fewer = most - 1; fewer > most - 5; fewer -= 1) {
    const whole = step * 10 ** fewer;
    if (Math.abs(whole - Math.round(whole)) < 1e-6 && Math.round(whole) !== 0) decimals = fewer;
  }
  return decimals;
}
