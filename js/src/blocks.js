// The message of one tick: a header that lists blocks, and the bytes of all blocks, one behind the other.
// `hermes/notebook/streams.py` writes them.

/** Return [header, bytes] for each block; `view` is the DataView in which a widget message brings its bytes. */
export function blocksOf(content, view) {
  let at = view.byteOffset;
  return content.blocks.map((header) => {
    const bytes = view.buffer.slice(at, at + header.bytes);
    at += header.bytes;
    return [header, bytes];
  });
}

/** Return a plot's columns, time first, as arrays in which null stands for what is no number. */
export function columnsOf(header, bytes) {
  const numbers = new Float64Array(bytes);
  const columns = [];
  for (let begin = 0; begin < numbers.length; begin += header.points) {
    columns.push(Array.from(numbers.subarray(begin, begin + header.points), (one) => (one === one ? one : null)));
  }
  return columns;
}

const READERS = {
  f64: (view, at) => view.getFloat64(at, true),
  f32: (view, at) => view.getFloat32(at, true),
  i64: (view, at) => view.getBigInt64(at, true),
  i32: (view, at) => view.getInt32(at, true),
  bool: (view, at) => view.getUint8(at) !== 0,
};

/** Return the values of a table's cells, 8 bytes each, for signals of these types. */
export function valuesOf(types, bytes) {
  const view = new DataView(bytes);
  return types.map((type, place) => READERS[type](view, 8 * place));
}
