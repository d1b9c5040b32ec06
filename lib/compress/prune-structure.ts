// Structured pruning: units judged, taken out, and what reads them repaired from samples; no training. What comes out is
// smaller and faster in any runtime, since nothing is left of what went.
//
// A `Pruner` measures a model once and prunes it as often as asked, so that a search can try many shares. Before it does
// anything it proves, on one sample, that taking units out of each group equals setting them to 0; a group that fails,
// by an operator that is not understood as well as believed, is left alone and named.
import { Algebra } from "./algebra.ts";
import { findDependencies } from "./dependency.ts";
import type { Dependencies, Group, GroupKind } from "./dependency.ts";
import { sqnr } from "./metric.ts";
import { readModel } from "./onnx.ts";
import type { OnnxModel } from "./onnx.ts";
import { prune } from "./prune.ts";
import { gatherEvidence } from "./prune-evidence.ts";
import type { Evidence } from "./prune-evidence.ts";
import { orderUnits } from "./prune-importance.ts";
import type { Importance } from "./prune-importance.ts";
import { chooseUnits, maskUnits, removeUnits } from "./prune-units.ts";
import { repairReaders } from "./repair.ts";
import type { Feed } from "./samples.ts";
import { openModel } from "./session.ts";

/** How much of what goes. Shares are of 0 to 1. */
export interface PruneShares {
  /** Hidden units of MLPs, and output channels of convolutions. */
  readonly share: number;
  /** Attention heads. Default 0. */
  readonly heads?: number;
  /** Widths of residual streams that are normalised over. Default 0. */
  readonly width?: number;
  /** Shares of single groups, by their id or the end of it. */
  readonly groups?: Readonly<Record<string, number>>;
  /** What is left of a group is a multiple of this, where it has as many. Default 1. */
  readonly multipleOf?: number;
}

/** Options of `Pruner.open`. */
export interface PruneOptions {
  /** Default "reconstruction" with samples, "magnitude" without. */
  readonly importance?: Importance;
  /** Default true; without samples nothing can be repaired. */
  readonly repair?: boolean;
}

/** What became of one group. */
export interface PrunedGroup {
  readonly id: string;
  readonly kind: GroupKind;
  readonly size: number;
  readonly removed: number;
}

/** A pruned model, and what was taken out of it. */
export interface Pruned {
  readonly model: OnnxModel;
  readonly groups: readonly PrunedGroup[];
}

/** A pruned model must agree with the masked one to this, before it is repaired: far above what a wrong cut leaves. */
const EQUAL_DB = 40;

/** Prunes one model, as often as asked. */
export class Pruner {
  /** The groups that may be pruned. */
  readonly groups: readonly Group[];
  /** Ids of groups that did not prove to be prunable. */
  readonly refused: readonly string[];
  readonly #bytes: Uint8Array;
  readonly #orders: ReadonlyMap<string, readonly number[]>;
  readonly #evidence: ReadonlyMap<string, Evidence>;
  readonly #isRepaired: boolean;

  private constructor(
    bytes: Uint8Array,
    groups: readonly Group[],
    refused: readonly string[],
    orders: ReadonlyMap<string, readonly number[]>,
    evidence: ReadonlyMap<string, Evidence>,
    isRepaired: boolean,
  ) {
    this.#bytes = bytes;
    this.groups = groups;
    this.refused = refused;
    this.#orders = orders;
    this.#evidence = evidence;
    this.#isRepaired = isRepaired;
  }

  /**
   * Measures a simplified model; `feeds` are samples, `probe` one input, which may be made up, for the proof.
   * @throws SelvedgeError `model-invalid` for a model that is quantized already.
   */
  static async open(
    bytes: Uint8Array,
    feeds: readonly Feed[],
    probe: Feed | undefined,
    options: PruneOptions = {},
  ): Promise<Pruner> {
    const { importance = feeds.length > 0 ? "reconstruction" : "magnitude", repair = true } = options;
    const model = readModel(bytes);
    const found = await findDependencies(model);
    const { proven, refused } = await prove(bytes, found, probe);
    const needsEvidence = feeds.length > 0 && (repair || importance !== "magnitude");
    const evidence = needsEvidence
      ? await gatherEvidence(model, { ...found, groups: proven }, feeds)
      : new Map<string, Evidence>();
    const orders = new Map(proven.map((x) => [x.id, orderUnits(found, x, importance, evidence)]));
    return new Pruner(bytes, proven, refused, orders, evidence, repair);
  }

  /**
   * Returns the model with some of its units taken out.
   * @throws TypeError for a share outside 0…1, or of a group that is not there.
   */
  async prune(shares: PruneShares): Promise<Pruned> {
    const counts = this.#counts(shares);
    const model = readModel(this.#bytes);
    const found = await findDependencies(model);
    const wishes = this.groups.map((group) => ({
      group,
      order: this.#orders.get(group.id) ?? [],
      count: counts.get(group.id) ?? 0,
    }));
    const removed = chooseUnits(found, wishes);
    if (this.#isRepaired && removed.size > 0) {
      const algebra = await Algebra.open();
      await repairReaders(algebra, model, found, removed, this.#evidence);
      await algebra.release();
    }
    removeUnits(model, found, removed);
    model.transform(prune());
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
        throw new TypeError(`prune: no group is named "${name}"; there are ${this.groups.map((x) => x.id).join(", ")}`);
      for (const { id } of meant) named.set(id, value);
    }
    return new Map(
      this.groups.map(({ id, kind, size, units }) => {
        const part = named.get(id) ?? usual[kind];
        if (!(part >= 0 && part <= 1)) throw new TypeError(`prune: a share is 0 to 1, not ${part}`);
        // A hair more, so that a quarter of 8 is 2 whatever the share was computed from.
        const left = size - Math.floor(size * part + 1e-9);
        const rounded = left >= multipleOf ? Math.ceil(left / multipleOf) * multipleOf : left;
        return [id, Math.max(0, Math.min(units.length - 1, size - rounded))];
      }),
    );
  }
}

/** Proves that groups can be pruned: together, and where that fails in halves, down to each that is to blame. */
async function prove(
  bytes: Uint8Array,
  found: Dependencies,
  probe: Feed | undefined,
): Promise<{ proven: Group[]; refused: string[] }> {
  const proven: Group[] = [];
  const refused: string[] = [];
  const visit = async (groups: readonly Group[]): Promise<void> => {
    if (groups.length === 0) return;
    if (probe === undefined || (await isEqual(bytes, [...proven, ...groups], probe))) {
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

/** Takes every third unit out of groups and compares with the model in which they are masked. */
async function isEqual(bytes: Uint8Array, groups: readonly Group[], probe: Feed): Promise<boolean> {
  const [pruned, masked] = [readModel(bytes), readModel(bytes)];
  const found = await findDependencies(pruned);
  const every = (group: Group): number[] => group.units.filter((_, i) => i % 3 === 1);
  const isTold = (x: Group): boolean => x.isExact;
  const remove = (list: readonly Group[]): Set<number> =>
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
    // What can't be masked must at least still run.
    const wide = readModel(bytes);
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
