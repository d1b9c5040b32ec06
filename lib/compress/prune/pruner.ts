// Structured pruning: units are ranked and removed, and their readers reconstructed from samples; no training. The
// result is smaller and faster in any runtime, since the removed units leave nothing behind.
//
// A `Pruner` measures a model once and prunes it any number of times, so that a search can try many shares. First it
// proves, on one sample, that removing units of each group equals setting them to 0; a group that fails, because an
// operator's rule is wrong, is left alone and named.
import { MatMul } from "../run/matmul.ts";
import { findDependencies } from "./channel-groups.ts";
import type { Dependencies, ChannelGroup, GroupKind } from "./channel-groups.ts";
import { sqnr } from "../run/metric.ts";
import { readModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { removeUnused } from "../simplify/remove-unused.ts";
import { gatherEvidence } from "./prune-evidence.ts";
import type { InputMoments } from "./prune-evidence.ts";
import { orderUnits } from "./prune-importance.ts";
import type { Importance } from "./prune-importance.ts";
import { chooseUnits, maskUnits, removeUnits } from "./prune-units.ts";
import { reconstructReaders } from "./reconstruct.ts";
import type { Feed } from "../run/samples.ts";
import { openModel } from "../run/session.ts";

/** How much to prune. Shares are from 0 to 1. */
export interface PruneShares {
  /** Hidden units of MLPs, and output channels of convolutions. */
  readonly share: number;
  /** Attention heads. Default 0. */
  readonly heads?: number;
  /** Widths of residual streams that are normalized over. Default 0. */
  readonly width?: number;
  /** Shares of single groups, by their id or its end. */
  readonly groups?: Readonly<Record<string, number>>;
  /** The remaining size of a group is a multiple of this, if it is large enough. Default 1. */
  readonly multipleOf?: number;
}

/** Options of `Pruner.open`. */
export interface PruneOptions {
  /** Default "reconstruction" with samples, "magnitude" without. */
  readonly importance?: Importance;
  /** Default true; without samples nothing can be reconstructed. */
  readonly repair?: boolean;
}

/** Result for one group. */
export interface PrunedGroup {
  /** The group's id: the first value that has its units. */
  readonly id: string;
  /** Kind of its units. */
  readonly kind: GroupKind;
  /** Number of units before pruning. */
  readonly size: number;
  /** Number of units removed. */
  readonly removed: number;
}

/** A pruned model, and the removed units. */
export interface Pruned {
  /** The pruned model; the source is unchanged. */
  readonly model: OnnxModel;
  /** Groups that units were removed from. */
  readonly groups: readonly PrunedGroup[];
}

/** Minimum agreement of a pruned model with the masked one, before reconstruction: far above that of a wrong cut. */
const EQUAL_DB = 40;

/** Prunes one model any number of times. */
export class Pruner {
  /** The groups that may be pruned. */
  readonly groups: readonly ChannelGroup[];
  /** Ids of groups for which the proof of prunability failed. */
  readonly refused: readonly string[];
  readonly #model: OnnxModel;
  readonly #orders: ReadonlyMap<string, readonly number[]>;
  readonly #evidence: ReadonlyMap<string, InputMoments>;
  readonly #isRepaired: boolean;

  private constructor(
    model: OnnxModel,
    groups: readonly ChannelGroup[],
    refused: readonly string[],
    orders: ReadonlyMap<string, readonly number[]>,
    evidence: ReadonlyMap<string, InputMoments>,
    isRepaired: boolean,
  ) {
    this.#model = model;
    this.groups = groups;
    this.refused = refused;
    this.#orders = orders;
    this.#evidence = evidence;
    this.#isRepaired = isRepaired;
  }

  /**
   * Measures a simplified model. `feeds` are samples; `probe` is one input for the proof, which may be synthetic.
   * @throws SelvedgeError `model-invalid` for a model that is already quantized.
   */
  static async open(
    bytes: Uint8Array,
    feeds: readonly Feed[],
    probe: Feed | undefined,
    options: PruneOptions = {},
  ): Promise<Pruner> {
    const { importance = feeds.length > 0 ? "reconstruction" : "magnitude", repair = true } = options;
    const whole = readModel(bytes);
    const model = whole.copy();
    const found = await findDependencies(model);
    const { proven, refused } = await prove(whole, found, probe);
    const needsEvidence = feeds.length > 0 && (repair || importance !== "magnitude");
    const evidence = needsEvidence
      ? await gatherEvidence(model, { ...found, groups: proven }, feeds)
      : new Map<string, InputMoments>();
    const orders = new Map(proven.map((x) => [x.id, orderUnits(found, x, importance, evidence)]));
    return new Pruner(whole, proven, refused, orders, evidence, repair);
  }

  /**
   * Returns the model without some of its units.
   * @throws TypeError for a share outside 0…1, or of an unknown group.
   */
  async prune(shares: PruneShares): Promise<Pruned> {
    const counts = this.#counts(shares);
    const model = this.#model.copy();
    const found = await findDependencies(model);
    const wishes = this.groups.map((group) => ({
      group,
      order: this.#orders.get(group.id) ?? [],
      count: counts.get(group.id) ?? 0,
    }));
    const removed = chooseUnits(found, wishes);
    if (this.#isRepaired && removed.size > 0) {
      const matmul = await MatMul.open();
      await reconstructReaders(matmul, model, found, removed, this.#evidence);
      await matmul.release();
    }
    removeUnits(model, found, removed);
    model.transform(removeUnused());
    const groups = this.groups.map(({ id, kind, size, units }) => ({
      id,
      kind,
      size,
      removed: units.filter((x) => removed.has(x)).length,
    }));
    return { model, groups };
  }

  #counts({ share, heads = 0, width = 0, groups = {}, multipleOf = 1 }: PruneShares): Map<string, number> {
    const usual: Readonly<Record<GroupKind, number>> = { channels: share, hidden: share, heads, width };
    const named = new Map<string, number>();
    for (const [name, value] of Object.entries(groups)) {
      const meant = this.groups.filter((x) => x.id === name || x.id.endsWith(name));
      if (meant.length === 0)
        throw new TypeError(`prune: unknown group "${name}"; choose from ${this.groups.map((x) => x.id).join(", ")}`);
      for (const { id } of meant) named.set(id, value);
    }
    return new Map(
      this.groups.map(({ id, kind, size, units }) => {
        const part = named.get(id) ?? usual[kind];
        if (!(part >= 0 && part <= 1)) throw new TypeError(`prune: expected a share from 0 to 1, got ${part}`);
        // Slightly more, so that a quarter of 8 is 2 despite rounding errors in the share.
        const left = size - Math.floor(size * part + 1e-9);
        const rounded = left >= multipleOf ? Math.ceil(left / multipleOf) * multipleOf : left;
        return [id, Math.max(0, Math.min(units.length - 1, size - rounded))];
      }),
    );
  }
}

/** Proves that groups are prunable: all together and, where that fails, by bisection down to each failing group. */
async function prove(
  model: OnnxModel,
  found: Dependencies,
  probe: Feed | undefined,
): Promise<{ proven: ChannelGroup[]; refused: string[] }> {
  const proven: ChannelGroup[] = [];
  const refused: string[] = [];
  const visit = async (groups: readonly ChannelGroup[]): Promise<void> => {
    if (groups.length === 0) return;
    if (probe === undefined || (await isEqual(model, [...proven, ...groups], probe))) {
      proven.push(...groups);
      return;
    }
    const half = Math.ceil(groups.length / 2);
    if (groups.length === 1) refused.push(...groups.map((x) => x.id));
    else {
      await visit(groups.slice(0, half));
      await visit(groups.slice(half));
    }
  };
  await visit(found.groups);
  return { proven, refused };
}

/** Removes every third unit of groups and compares with the model in which they are masked. */
async function isEqual(model: OnnxModel, groups: readonly ChannelGroup[], probe: Feed): Promise<boolean> {
  const [pruned, masked] = [model.copy(), model.copy()];
  const found = await findDependencies(pruned);
  const every = (group: ChannelGroup): number[] => group.units.filter((_, i) => i % 3 === 1);
  const isTold = (x: ChannelGroup): boolean => x.isExact;
  const remove = (list: readonly ChannelGroup[]): Set<number> =>
    chooseUnits(
      found,
      list.map((group) => ({ group, order: every(group), count: group.units.length })),
    );
  try {
    const exact = remove(groups.filter(isTold));
    maskUnits(masked, await findDependencies(masked), exact);
    removeUnits(pruned, found, exact);
    const [a, b] = [await answer(masked.write(), probe), await answer(pruned.write(), probe)];
    if (sqnr([{ outputs: b, reference: a }]) < EQUAL_DB) return false;
    const rest = groups.filter((x) => !isTold(x));
    if (rest.length === 0) return true;
    // A model that can't be masked must at least still run.
    const wide = model.copy();
    removeUnits(wide, await findDependencies(wide), remove(rest));
    await answer(wide.write(), probe);
    return true;
  } catch {
    return false;
  }
}

async function answer(bytes: Uint8Array, feed: Feed): ReturnType<Awaited<ReturnType<typeof openModel>>["run"]> {
  const model = await openModel(bytes, "cpu");
  try {
    return await model.run(feed);
  } finally {
    await model.release();
  }
}
