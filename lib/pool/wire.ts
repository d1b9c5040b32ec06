// A batch and what came of it, as they cross the thread line: packed on one side, taken out on the other.
import type { Reply } from "../reply.ts";
import type { Tensor } from "../tensor.ts";
import { buffersOf, pack, unpack } from "./pack.ts";
import { packAnswers, unpackAnswers } from "./pack-answers.ts";
import type {
  Decoded,
  Feeds,
  PackedAnswers,
  Ran,
  RanItem,
  RunMessage,
  WireRan,
  WireRun,
  WireValue,
} from "./protocol.ts";

/** Packs a batch: the page. Inputs are copied, since they are needed again should the worker die. */
export function sendRun({ items, ...rest }: RunMessage): { readonly message: WireRun; readonly moved: ArrayBuffer[] } {
  const tensors: Record<string, Tensor>[] = [];
  const others: Record<string, WireValue>[] = [];
  let hasOthers = false;
  for (const feeds of items) {
    const [own, other]: [Record<string, Tensor>, Record<string, WireValue>] = [{}, {}];
    for (const name in feeds) {
      const value = feeds[name] as WireValue;
      if (value.kind === "tensor") own[name] = value.tensor;
      else {
        other[name] = value;
        hasOthers = true;
      }
    }
    tensors.push(own);
    others.push(other);
  }
  const packed = pack(tensors, false);
  return { message: { ...rest, tensors: packed, others: hasOthers ? others : null }, moved: [packed.bytes] };
}

/** Takes a batch out: the worker. */
export function takeRun({ tensors, others, ...rest }: WireRun): RunMessage {
  const items = unpack(tensors, false).map((own, i): Feeds => {
    const feeds: Record<string, WireValue> = { ...others?.[i] };
    for (const name in own) feeds[name] = { kind: "tensor", tensor: own[name] as Tensor };
    return feeds;
  });
  return { ...rest, items };
}

/** Packs what came of a batch: the worker. */
export function sendRan({ items, ...rest }: Ran): { readonly ran: WireRan; readonly moved: ArrayBuffer[] } {
  const answered = items.flatMap((item) => (item.ok ? [item.value] : []));
  const outputs = pack(
    answered.map((item) => item.outputs),
    true,
  );
  const moved = buffersOf(outputs);
  const decoded: Record<string, PackedAnswers> = {};
  for (const name in answered[0]?.decoded) {
    decoded[name] = packAnswers(answered.map((item) => item.decoded[name] ?? []));
    moved.add(decoded[name].numbers.buffer);
  }
  const errors = answered.length === items.length ? null : items.map((item) => (item.ok ? null : item.error));
  return { ran: { ...rest, outputs, decoded, errors }, moved: [...moved] };
}

/** Takes what came of a batch out: the page. Each answer has buffers of its own, which are the caller's. */
export function takeRan({ outputs, decoded, errors, ...rest }: WireRan): Ran {
  const answers = Object.entries(decoded).map(([name, packed]) => [name, unpackAnswers(packed)] as const);
  const answered = unpack(outputs, true).map((outputs, i): RanItem => {
    let made: Record<string, readonly Decoded[]> | null = null;
    return {
      outputs,
      get decoded() {
        if (made === null) {
          made = {};
          for (const [name, each] of answers) made[name] = each[i]?.() ?? [];
        }
        return made;
      },
    };
  });
  const each = answered.values();
  const items = (errors ?? answered).map((_, i): Reply<RanItem> => {
    const error = errors?.[i] ?? null;
    return error === null ? { ok: true, value: each.next().value as RanItem } : { ok: false, error };
  });
  return { ...rest, items };
}
