// Vectors of texts: as replies have them, and how near two are.
import { ReplyError } from "./failure.ts";

/** Reads a vector: a list of numbers, or the bytes of little-endian float32 numbers in base64. @throws ReplyError */
export function vectorOf(value: unknown): Float32Array {
  const isList = Array.isArray(value) && value.every((x) => typeof x === "number");
  const vector = typeof value === "string" ? fromBase64(value) : isList ? Float32Array.from(value) : null;
  if (vector === null || vector.length === 0 || !vector.every((x) => Number.isFinite(x)))
    throw new ReplyError("a vector is not one of finite numbers");
  return vector;
}

function fromBase64(text: string): Float32Array | null {
  try {
    const bytes = Uint8Array.from(atob(text), (x) => x.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  } catch {
    return null;
  }
}

/** Returns the cosine of the angle between two vectors. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum / (norm(a) * norm(b));
}

/** Returns the length of a vector. */
export function norm(vector: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < vector.length; i += 1) sum += (vector[i] ?? 0) ** 2;
  return Math.sqrt(sum);
}
