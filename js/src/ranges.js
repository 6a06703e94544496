// Ranges of values and of time that can be drawn: an axis whose ticks cannot be told apart never ends.

const FINEST = 1e-9;

/** Return whether a range is so narrow that its bounds hardly differ as numbers. */
export function tooNarrow([min, max]) {
  return !(max - min > FINEST * Math.max(Math.abs(min), Math.abs(max), Number.MIN_VALUE / FINEST));
}

/** Return the range to draw for values from `min` to `max`: one around them where they hardly differ. */
export function roomFor(min, max) {
  if (!tooNarrow([min, max])) return [min, max];
  const size = Math.max(Math.abs(min), Math.abs(max));
  const margin = size < 1e-300 ? 1 : size / 1000;
  return [min - margin, max + margin];
}
