// Bytes that stay on disk until they are needed: the weights of a large model, of which a step reads one at a time. A
// tensor whose raw_data is stored so looks like any other, and reading the field reads the file; `rawLength` does not.
// Test pages import this module too: a browser has no file system, so a member of it is read where a file is, not before.
import * as fs from "node:fs";
import { SelvedgeError } from "../../core/errors.ts";
import type { TensorProto } from "./onnx.gen.js";

/** Size in bytes from which a model's weights stay on disk, and it runs in a process of its own. */
export const LARGE_BYTES: number = 2 ** 27;
/** Bytes that are read at once where a range is copied. */
const PART_BYTES = 2 ** 24;
/** The same, for a reader that keeps no part. */
const PASSING_BYTES = 2 ** 22;

/** A range of a file, which must not change. */
export class StoredBytes {
  /** Number of bytes. */
  readonly length: number;
  /** Path of the file. */
  readonly path: string;
  /** Offset of the first byte. */
  readonly start: number;

  /** Takes the file's path, the offset of the first byte, and the number of bytes. */
  constructor(path: string, start: number, length: number) {
    this.path = path;
    this.start = start;
    this.length = length;
  }

  /**
   * Reads the range, or a part of it.
   * @throws SelvedgeError `model-invalid` where the file became shorter
   */
  read(from = 0, to: number = this.length): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(to - from);
    this.readInto(bytes, from);
    return bytes;
  }

  /** Fills an array from the range, at an offset in it; throws as `read`. */
  readInto(bytes: Uint8Array, from = 0): void {
    const file = fs.openSync(this.path, fs.constants.O_RDONLY);
    try {
      fill(file, bytes, this.start + from);
    } finally {
      fs.closeSync(file);
    }
  }
}

/** Bytes in memory or on disk. */
export type FileSlice = Uint8Array | StoredBytes;

/** Iterates over the bytes of pieces, in parts that fit into memory. */
export function* partsOf(pieces: readonly FileSlice[]): Generator<Uint8Array> {
  for (const piece of pieces)
    if (piece instanceof StoredBytes)
      for (let at = 0; at < piece.length; at += PART_BYTES)
        yield piece.read(at, Math.min(at + PART_BYTES, piece.length));
    else yield piece;
}

/**
 * Iterates as `partsOf`, over one array that is filled again for each part: for a reader that is done with a part when
 * it asks for the next one. The parts of a large model would otherwise lie in memory until they are collected.
 */
export function* passingParts(pieces: readonly FileSlice[]): Generator<Uint8Array> {
  let shared: Uint8Array | null = null;
  for (const piece of pieces) {
    if (!(piece instanceof StoredBytes)) {
      yield piece;
      continue;
    }
    for (let at = 0; at < piece.length; at += PASSING_BYTES) {
      const part = (shared ??= new Uint8Array(PASSING_BYTES)).subarray(0, Math.min(PASSING_BYTES, piece.length - at));
      piece.readInto(part, at);
      yield part;
    }
  }
}

const STORED = new WeakMap<object, StoredBytes>();

/** Returns the place of a tensor's raw_data on disk; undefined where it lies in memory. */
export function storedOf(tensor: object): StoredBytes | undefined {
  return STORED.get(tensor);
}

/** Returns the number of bytes of a tensor's raw_data, without reading them. */
export function rawLength(tensor: TensorProto): number {
  return STORED.get(tensor)?.length ?? tensor.rawData.length;
}

/** Returns a tensor's raw_data where it lies. */
export function rawPiece(tensor: TensorProto): FileSlice {
  return STORED.get(tensor) ?? tensor.rawData;
}

/** Sets a tensor's raw_data to bytes in memory or on disk. */
export function setRaw(tensor: TensorProto, bytes: FileSlice): void {
  const isStored = bytes instanceof StoredBytes;
  const shared = { enumerable: true, configurable: true } as const;
  if (isStored) STORED.set(tensor, bytes);
  else STORED.delete(tensor);
  const plain = (value: FileSlice): PropertyDescriptor => ({ ...shared, value, writable: true });
  const lazy: PropertyDescriptor = {
    ...shared,
    get: () => (isStored ? bytes.read() : bytes),
    set: (value: Uint8Array) => {
      setRaw(tensor, value);
    },
  };
  Object.defineProperty(tensor, "rawData", isStored ? lazy : plain(bytes));
}

/**
 * Fills an array from a file.
 * @throws SelvedgeError `model-invalid` where the file ends before
 */
export function fill(file: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length;) {
    const read = fs.readSync(file, bytes, at, Math.min(bytes.length - at, 2 ** 30), position + at);
    if (read === 0) throw new SelvedgeError("model-invalid", "the file was truncated while it was read");
    at += read;
  }
}
