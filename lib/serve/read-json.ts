// JSON of requests. Each array, object and name takes far more time and memory than its characters: 8 MB of them would
// hold up all other requests for seconds. So they are counted before any is made.
import { asObject, decodeText } from "../remote/plain-json.ts";

/** Maximum depth; a tensor needs one level for each axis, and three around it. */
const DEPTH_MAX = 32;
/** Maximum number of arrays, objects and names in them. */
const NODES_MAX = 2 ** 17;
const COLON = 0x3a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Reads a request of JSON.
 * @throws RangeError for one with too many arrays, objects and names; TypeError or ReplyError for anything but a JSON object
 */
export function readJson(
  bytes: Uint8Array,
  parser: (text: string) => unknown = JSON.parse,
): Readonly<Record<string, unknown>> {
  checkNodes(bytes);
  const text = decodeText(bytes, "the request");
  let value: unknown;
  try {
    value = parser(text);
  } catch {
    throw new TypeError("the request is not JSON");
  }
  return asObject(value, "the request");
}

function checkNodes(bytes: Uint8Array): void {
  let [depth, count] = [0, 0];
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i] as number;
    if (byte === QUOTE) {
      for (i += 1; i < bytes.length && bytes[i] !== QUOTE; i += 1) if (bytes[i] === BACKSLASH) i += 1;
    } else if ((byte | 0x20) === 0x7b || byte === COLON) {
      // "[", "{" or ":"
      if (byte !== COLON) depth += 1;
      count += 1;
      if (depth > DEPTH_MAX) throw new RangeError(`the request's JSON is more than ${DEPTH_MAX} levels deep`);
      if (count > NODES_MAX)
        throw new RangeError(
          `the request's JSON has more than ${NODES_MAX} arrays, objects and names: send tensors as flat arrays, or as bytes`,
        );
    } else if ((byte | 0x20) === 0x7d) depth -= 1;
  }
}
