// How much to prune of each group: each is pruned alone, a little and a lot, and the resulting error of the outputs
// gives the cost of a share of it. At one price for all groups, errors are traded against the bytes and multiply-adds
// saved; the search then looks for the highest price within the budget.
import type { Feed } from "../run/feeds.ts";
import { totalMacs } from "../run/macs.ts";
import { sqnr } from "../run/metric.ts";
import type { WrittenModel } from "../onnx/written-model.ts";
import type { Pruner } from "../prune/pruner.ts";
import { runAll } from "../run/session.ts";

/** Costs and savings of pruning one group: error = scale · share ^ power. */
export interface GroupCost {
  readonly id: string;
  readonly scale: number;
  readonly power: number;
  /** Sum of the shares of the model's bytes and of its multiply-adds that all of the group accounts for. */
  readonly worth: number;
  /** The share of multiply-adds alone. */
  readonly work: number;
}

const TRIALS = [0.25, 0.5] as const;
const GRID: readonly number[] = Array.from({ length: 49 }, (_, i) => i / 64);
/** Number of prices to try, from almost nothing to almost everything. */
export const PRICES = 25;

/** Measures the cost of pruning each group alone, on a few samples, in addition to known costs; stops on request. */
export async function measureCosts(
  simple: WrittenModel,
  pruner: Pruner,
  feeds: readonly Feed[],
  isLate: () => boolean,
  known: readonly GroupCost[] = [],
): Promise<GroupCost[]> {
  const [feed] = feeds;
  if (feed === undefined) return [];
  const reference = await runAll(simple.source, feeds);
  const whole = { bytes: simple.byteLength, macs: Math.max(1, await totalMacs(simple.model, feed)) };
  const costs: GroupCost[] = [...known];
  for (const { id, kind } of pruner.groups) {
    if (isLate()) break;
    if ((kind !== "channels" && kind !== "hidden") || known.some((x) => x.id === id)) continue;
    const errors: number[] = [];
    let [worth, work] = [0, 0];
    for (const share of TRIALS) {
      const { model, groups } = await pruner.prune({ share: 0, groups: { [id]: share } });
      if (groups.every((x) => x.removed === 0)) continue;
      const bytes = model.write();
      work = (1 - (await totalMacs(model, feed)) / whole.macs) / share;
      worth = (1 - bytes.length / whole.bytes) / share + work;
      const now = await runAll(bytes, feeds);
      errors.push(10 ** (-sqnr(now.map((outputs, i) => ({ outputs, reference: reference[i] ?? {} }))) / 10));
    }
    const [little, much] = errors;
    if (little === undefined || much === undefined || worth <= 0) continue;
    const power = Math.min(6, Math.max(1, Math.log2(Math.max(much, 1e-12) / Math.max(little, 1e-12))));
    costs.push({ id, power, scale: Math.max(much, 1e-12) / TRIALS[1] ** power, worth, work });
  }
  return costs;
}

/** Returns the shares that are worth it at a price, from 0 for none to `PRICES`. */
export function sharesAt(costs: readonly GroupCost[], price: number): Record<string, number> {
  const weight = price <= 0 ? 0 : 10 ** (-6 + (price / PRICES) * 6.5);
  return Object.fromEntries(
    costs.map(({ id, scale, power, worth }) => {
      const gain = (share: number): number => weight * worth * share - scale * share ** power;
      return [id, GRID.reduce((best, x) => (gain(x) > gain(best) ? x : best), 0)];
    }),
  );
}
