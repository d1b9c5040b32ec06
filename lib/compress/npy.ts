// Reads NumPy's array files (.npy, format 1 to 3) and archives of them (.npz). The size of the array is checked against
// its shape, which is what the libraries for it leave out.
import { unzipSync } from "fflate";
import { SelvedgeError } from "../errors.ts";

/** An array as numbers; whole numbers of 64 bits are exact up to 2^53. */
export interface NumberArray {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number>;
}

const MAGIC = "\u0093NUMPY";

/** Reads one array. */
export function readNpy(bytes: Uint8Array, name = "the .npy file"): NumberArray {
  const fail = (what: string): never => {
    throw new SelvedgeError("model-invalid", `${name}: ${what}`, { file: name });
  };
  if (bytes.length < 12 || String.fromCharCode(...bytes.subarray(0, 6)) !== MAGIC) fail("is no NumPy array");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isShort = bytes[6] === 1;
  const start = isShort ? 10 : 12;
  const end = start + (isShort ? view.getUint16(8, true) : view.getUint32(8, true));
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, end));
  const type = /'descr':\s*'([<>|=])([a-z])(\d+)'/.exec(header);
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (type === null || shape === undefined) return fail("has a header that is not understood");
  if (/'fortran_order':\s*True/.test(header)) fail("is in Fortran order; save it with np.ascontiguousarray");
  if (type[1] === ">") fail("is big-endian");
  const dims = shape
    .split(",")
    .filter((x) => x.trim() !== "")
    .map(Number);
  const count = dims.reduce((a, b) => a * b, 1);
  const size = Number(type[3]);
  if (bytes.length - end !== count * size) fail(`holds ${bytes.length - end} bytes for the shape [${dims.join(", ")}]`);
  const { buffer } = bytes.slice(end);
  return { dims, data: numbersOf(`${type[2]}${size}`, buffer) ?? fail(`has the element type ${type[2]}${size}`) };
}

/** Reads all arrays of an archive, by name. */
export function readNpz(bytes: Uint8Array): Record<string, NumberArray> {
  const files = Object.entries(unzipSync(bytes)).filter(([name]) => name.endsWith(".npy"));
  return Object.fromEntries(files.map(([name, x]) => [name.slice(0, -4), readNpy(x, name)]));
}

function numbersOf(type: string, buffer: ArrayBuffer): ArrayLike<number> | undefined {
  switch (type) {
    case "f4":
      return new Float32Array(buffer);
    case "f8":
      return new Float64Array(buffer);
    case "i8":
      return Float64Array.from(new BigInt64Array(buffer), Number);
    case "u8":
      return Float64Array.from(new BigUint64Array(buffer), Number);
    case "i4":
      return new Int32Array(buffer);
    case "u4":
      return new Uint32Array(buffer);
    case "i2":
      return new Int16Array(buffer);
    case "u2":
      return new Uint16Array(buffer);
    case "i1":
      return new Int8Array(buffer);
    case "u1":
    case "b1":
      return new Uint8Array(buffer);
    default:
      return undefined;
  }
}
