// The tensors of many requests on the thread line. Their elements are in one buffer, which is transferred; dtypes and
// dims are sent once for consecutive requests that are alike. A browser takes some microseconds for every buffer and
// every object of a message, on the page and in the worker: for 64 small requests that was more than a small model
// computes.
import type { Tensors } from "../core/compare-outputs.ts";
import { ARRAY_TYPES } from "../core/tensor.ts";
import type { NumericDtype, Tensor } from "../core/tensor.ts";
import type { Header, PackedTensors } from "./messages.ts";

/** Size in bytes from which a tensor is transferred rather than copied, where that is allowed. */
const MOVED_BYTES = 2 ** 16;

/**
 * Packs tensors; their elements are copied. With `mayMove`, large ones and those of a single request stay unchanged and
 * are to be transferred: `buffersOf` lists their buffers.
 */
export function pack(requests: readonly Tensors[], mayMove: boolean): PackedTensors {
  const runs: { count: number; like: Record<string, Header | Tensor> }[] = [];
  const spans: Span[] = [];
  let byteLength = 0;
  let before: Tensors | null = null;
  let namesBefore: readonly string[] = [];
  for (const tensors of requests) {
    const like: Record<string, Header | Tensor> = {};
    const names = Object.keys(tensors);
    // In the same order too: unpacking follows the first one's.
    let isAlike = before !== null && names.length === namesBefore.length;
    let isPacked = true;
    for (const [i, name] of names.entries()) {
      const tensor = tensors[name] as Tensor;
      const { dtype, dims, data } = tensor;
      if (!isNumeric(tensor) || (mayMove && mayLeave(data as Uint8Array, requests.length))) {
        like[name] = tensor;
        isAlike = isPacked = false;
        continue;
      }
      like[name] = { dtype: dtype as NumericDtype, dims, length: data.length };
      isAlike &&= namesBefore[i] === name && isLike(tensor, before?.[name]);
      addTo(spans, data as Uint8Array);
      byteLength += padded((data as Uint8Array).byteLength);
    }
    if (isAlike) (runs.at(-1) as { count: number }).count += 1;
    else runs.push({ count: 1, like });
    // The next request can't be like one whose tensors are not all in the packed bytes.
    before = isPacked ? tensors : null;
    namesBefore = names;
  }
  const bytes = new Uint8Array(byteLength);
  let at = 0;
  for (const { buffer, from, to } of spans) {
    bytes.set(new Uint8Array(buffer, from, to - from), at);
    at += padded(to - from);
  }
  return { bytes: bytes.buffer, runs };
}

/** Bytes of contiguous tensors, copied in one operation. */
interface Span {
  readonly buffer: ArrayBufferLike;
  readonly from: number;
  to: number;
}

function addTo(spans: Span[], { buffer, byteOffset, byteLength }: Uint8Array): void {
  const last = spans.at(-1);
  if (last?.buffer === buffer && byteOffset - last.from === padded(last.to - last.from))
    last.to = byteOffset + byteLength;
  else spans.push({ buffer, from: byteOffset, to: byteOffset + byteLength });
}

/** Unpacks tensors: each with a buffer of its own, or all as views of the received one. */
export function unpack({ bytes, runs }: PackedTensors, isOwn: boolean): Record<string, Tensor>[] {
  const requests: Record<string, Tensor>[] = [];
  let at = 0;
  for (const { count, like } of runs)
    for (let i = 0; i < count; i += 1) {
      const tensors: Record<string, Tensor> = {};
      for (const name in like) {
        const header = like[name] as Header | Tensor;
        if ("data" in header) {
          tensors[name] = header;
          continue;
        }
        const { dtype, dims, length } = header;
        const view = new ARRAY_TYPES[dtype](bytes, at, length);
        tensors[name] = { dtype, dims: isOwn ? [...dims] : dims, data: isOwn ? view.slice() : view } as Tensor;
        at += padded(view.byteLength);
      }
      requests.push(tensors);
    }
  return requests;
}

/** Lists the buffers to transfer with a message, each once. */
export function buffersOf({ bytes, runs }: PackedTensors): Set<ArrayBuffer> {
  const buffers = new Set([bytes]);
  for (const { like } of runs)
    for (const name in like) {
      const header = like[name] as Header | Tensor;
      if ("data" in header && !Array.isArray(header.data) && header.data.buffer instanceof ArrayBuffer)
        buffers.add(header.data.buffer);
    }
  return buffers;
}

/** Texts are not, nor an array of another kind than its dtype's: such an error is reported where it runs. */
function isNumeric({ dtype, data }: Tensor): boolean {
  return dtype in ARRAY_TYPES && data instanceof (ARRAY_TYPES[dtype as NumericDtype] as unknown as typeof Uint8Array);
}

/**
 * A part of a larger buffer, as a kernel may return, would transfer the rest with it; shared memory can't be
 * transferred.
 */
function mayLeave({ byteLength, buffer }: ArrayBufferView, requests: number): boolean {
  const isWhole = buffer instanceof ArrayBuffer && byteLength === buffer.byteLength;
  return isWhole && (requests === 1 || byteLength >= MOVED_BYTES);
}

function isLike({ dtype, dims }: Tensor, other: Tensor | undefined): boolean {
  return dtype === other?.dtype && dims.length === other.dims.length && dims.every((dim, i) => dim === other.dims[i]);
}

function padded(byteLength: number): number {
  return Math.ceil(byteLength / 8) * 8;
}
