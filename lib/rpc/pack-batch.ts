// A batch and its results on the thread line: packed on one side, unpacked on the other.
import { lazyProperty } from "../core/lazy-property.ts";
import type { Reply } from "./reply.ts";
import { buffersOf, pack, unpack } from "./pack-tensors.ts";
import { packAnswers, unpackAnswers } from "./pack-answers.ts";
import type { Decoded, Feeds, PackedAnswers, Ran, RanItem, RunMessage, WireRan, WireRun } from "./messages.ts";

/** Packs a batch, on the page. Inputs are copied, since they are needed again should the worker die. */
export function sendRun({ items, ...rest }: RunMessage): { readonly message: WireRun; readonly moved: ArrayBuffer[] } {
  const tensors = pack(
    items.map((feeds) => feeds.tensors),
    false,
  );
  const others = items.every((feeds) => feeds.others === null) ? null : items.map((feeds) => feeds.others);
  return { message: { ...rest, tensors, others }, moved: [tensors.bytes] };
}

/** Unpacks a batch, in the worker. */
export function takeRun({ tensors, others, ...rest }: WireRun): RunMessage {
  const items = unpack(tensors, false).map((tensors, i): Feeds => ({ tensors, others: others?.[i] ?? null }));
  return { ...rest, items };
}

/** Packs the results of a batch, in the worker. */
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

/** Unpacks the results of a batch, on the page. Each answer has buffers of its own, which are the caller's. */
export function takeRan({ outputs, decoded, errors, ...rest }: WireRan): Ran {
  const answers = Object.entries(decoded).map(([name, packed]) => [name, unpackAnswers(packed)] as const);
  const answered = unpack(outputs, true).map((outputs, i) => new LazyItem(outputs, answers, i));
  const each = answered.values();
  const items = (errors ?? answered).map((_, i): Reply<RanItem> => {
    const error = errors?.[i] ?? null;
    return error === null ? { ok: true, value: each.next().value as RanItem } : { ok: false, error };
  });
  return { ...rest, items };
}

/** Functions that make the decoded answers, by output and request. */
type Answers = readonly (readonly [name: string, each: readonly (() => Decoded[])[]])[];

/** Makes decoded answers on first access. */
class LazyItem implements RanItem {
  static readonly #DECODED = lazyProperty((answered: LazyItem) => answered.#decode());
  readonly outputs: RanItem["outputs"];
  declare readonly decoded: RanItem["decoded"];
  readonly #answers: Answers;
  readonly #index: number;
  #decoded: RanItem["decoded"] | null = null;

  constructor(outputs: RanItem["outputs"], answers: Answers, index: number) {
    this.outputs = outputs;
    this.#answers = answers;
    this.#index = index;
    Object.defineProperty(this, "decoded", LazyItem.#DECODED);
  }

  #decode(): RanItem["decoded"] {
    this.#decoded ??= Object.fromEntries(this.#answers.map(([name, each]) => [name, each[this.#index]?.() ?? []]));
    return this.#decoded;
  }
}
