// Whether a bare ONNX file computes in float16: its comparison with wasm then has a larger bound. Reads the heads of its
// weights alone. Imported where a comparison depends on it.

/** Field numbers in onnx.proto, and the number of float16 among the element types. */
const [GRAPH, INITIALIZER, DATA_TYPE, FLOAT16] = [7, 5, 2, 10];
/** Bytes of a field's tag and size, and of a tensor's dims and element type. */
const HEAD = 256;

/** A field of a message: its bytes in the file, or its number. */
interface Field {
  readonly field: number;
  readonly start: number;
  readonly end: number;
  readonly value: number;
}

/** Returns whether a weight of the model is float16; false for a file that can't be read. */
export async function hasHalfWeights(model: Blob): Promise<boolean> {
  try {
    for await (const part of fields(model, 0, model.size)) {
      if (part.field !== GRAPH) continue;
      for await (const weight of fields(model, part.start, part.end)) {
        if (weight.field !== INITIALIZER) continue;
        for await (const { field, value } of fields(model, weight.start, Math.min(weight.end, weight.start + HEAD))) {
          if (field !== DATA_TYPE) continue;
          if (value === FLOAT16) return true;
          break;
        }
      }
    }
  } catch {
    // Not whole, or lost by the browser.
  }
  return false;
}

/** Yields the fields of a message. */
async function* fields(file: Blob, start: number, end: number): AsyncGenerator<Field> {
  for (let at = start; at < end;) {
    const head = new Uint8Array(await file.slice(at, Math.min(at + 20, end)).arrayBuffer());
    const tag = varint(head, 0);
    const [field, wire] = [Math.floor(tag.value / 8), tag.value % 8];
    const next = wire === 0 || wire === 2 ? varint(head, tag.size) : { value: 0, size: wire === 5 ? 4 : 8 };
    const from = at + tag.size + next.size;
    const to = wire === 2 ? from + next.value : from;
    yield { field, start: from, end: to, value: next.value };
    at = to;
  }
}

function varint(bytes: Uint8Array, start: number): { readonly value: number; readonly size: number } {
  let value = 0;
  for (let i = 0; ; i += 1) {
    const byte = bytes[start + i];
    if (byte === undefined) throw new RangeError("it ends within a number");
    value += (byte & 127) * 128 ** i;
    if (byte < 128) return { value, size: i + 1 };
  }
}
