// Rounded weights of one model, kept while its forms are made: a form that missed its budget is made again up to four
// times with more bits for a few weights, and one form rounds many weights as another did. The codes lie in a temporary
// file, since those of a large model take a quarter of its bytes.
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Scratch } from "../onnx/written-model.ts";
import { fill } from "../onnx/stored-bytes.ts";
import type { GridOptions, Rounded } from "./scales.ts";

/** A rounded weight, and by how much its mean error shifts the bias behind it; null where no bias can be changed. */
export interface KeptWeight extends Rounded {
  readonly shift: Float64Array | null;
}

/** How a weight was rounded: to nearest, or by the inputs of its layer on the samples. */
export type RoundingMethod = "nearest" | "by inputs";

/** The part of a weight that stays in memory, and the place of its codes in the file. */
interface Entry extends Omit<KeptWeight, "codes"> {
  readonly start: number;
  readonly length: number;
}

/** The rounded weights of one model and its samples, by name, method and grid. */
export class KeptRounding {
  readonly #scratch: Scratch;
  readonly #entries = new Map<string, Entry>();
  #file: number | null = null;
  #end = 0;
  #isFull = false;

  /** Takes the folder for the codes, which is closed after this. */
  constructor(scratch: Scratch) {
    this.#scratch = scratch;
  }

  /** Returns a weight that was rounded so before; undefined for none. */
  get(name: string, method: RoundingMethod, options: GridOptions): KeptWeight | undefined {
    const entry = this.#entries.get(keyOf(name, method, options));
    if (entry === undefined || this.#file === null) return undefined;
    const { start, length, ...rest } = entry;
    const codes = new Int8Array(length);
    fill(this.#file, new Uint8Array(codes.buffer), start);
    return { ...rest, codes };
  }

  /** Keeps a rounded weight. Where the disk is full it is rounded again when it is needed. */
  set(name: string, method: RoundingMethod, options: GridOptions, { grid, codes, shift }: KeptWeight): void {
    if (this.#isFull) return;
    const start = this.#end;
    try {
      this.#file ??= openSync(join(this.#scratch.folder(), "rounded-codes"), "w+");
      for (let done = 0; done < codes.length;)
        done += writeSync(this.#file, codes, done, codes.length - done, start + done);
    } catch {
      this.#isFull = true;
      return;
    }
    this.#end += codes.length;
    this.#entries.set(keyOf(name, method, options), { grid, shift, start, length: codes.length });
  }

  /** Forgets all and closes the file. */
  close(): void {
    this.#entries.clear();
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }
}

function keyOf(name: string, method: RoundingMethod, options: GridOptions): string {
  const { bits, block, hasZeros = false, isHalf = false, isSnapped = false, isEven = false } = options;
  return JSON.stringify([name, method, bits, block, hasZeros, isHalf, isSnapped, isEven]);
}
