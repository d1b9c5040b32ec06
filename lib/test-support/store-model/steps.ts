// The steps of tabs, servers, users and disks. Steps of publishers and attackers are in signature-steps.ts, those of the
// older release in old-release-steps.ts.
import fc from "fast-check";
import { sha256Hex } from "../../core/bundle.ts";
import { isSelvedgeError } from "../../core/errors.ts";
import { chunkName } from "../../cache/names.ts";
import { deleteStored, pin } from "../../cache/manage.ts";
import type { UpdatePolicy } from "../../cache/messages.ts";
import { weights } from "../cache-fixtures.ts";
import { check, PropertyError } from "./check.ts";
import { CHUNK, MODELS } from "./publisher.ts";
import type { ModelName } from "./publisher.ts";
import { attempt, StoreStep } from "./store-step.ts";
import type { Excuse } from "./store-step.ts";
import type { Tab, StoreWorld } from "./store-world.ts";

/** A model. */
export const model: fc.Arbitrary<ModelName> = fc.constantFrom(...MODELS);
/** A model, mostly the same, so that steps meet. */
export const target: fc.Arbitrary<ModelName> = fc.constantFrom("a", "a", "a", "b", "c");
/** Number of a tab. */
export const tab: fc.Arbitrary<0 | 1> = fc.constantFrom(0, 1);
/** An update policy. */
export const policy: fc.Arbitrary<UpdatePolicy> = fc.constantFrom<UpdatePolicy>("first", "later", "never");

/** Steps of tabs, servers, users and disks. */
export const STEPS: readonly fc.Arbitrary<StoreStep>[] = [
  model.map(
    (m) =>
      new StoreStep(`publish ${m}`, async (world) => {
        await world.publish(m);
        return undefined;
      }),
  ),
  fc
    .record({ m: model, t: tab, p: policy })
    .map(({ m, t, p }) => new StoreStep(`load ${m} in ${t}, ${p}`, (world) => loadAlone(world, m, t, p))),
  fc.record({ m: model, t: tab }).map(
    ({ m, t }) =>
      new StoreStep(`update ${m} in ${t}`, async (world) => {
        await attempt(world, () => world.update(world.tabs[t] as Tab, m));
        return { room: m };
      }),
  ),
  fc.record({ m: model, n: model, p: policy }).map(
    ({ m, n, p }) =>
      new StoreStep(`load ${m} and ${n} at once, ${p}`, async (world) => {
        await Promise.all([
          attempt(world, () => world.load(world.tabs[0] as Tab, m, p)),
          attempt(world, () => world.load(world.tabs[1] as Tab, n, p)),
        ]);
        return m === n ? { room: m } : { room: "none" };
      }),
  ),
  fc.record({ m: model, t: tab, writes: fc.nat(12), isUpdate: fc.boolean() }).map(
    ({ m, t, writes, isUpdate }) =>
      new StoreStep(
        `tab ${t} dies after ${writes} writes of ${isUpdate ? "an update" : "a load"} of ${m}`,
        async (world) => {
          const dying = await world.reopen(t);
          const { quotaBytes, isDiskFull } = world;
          // README: where a newer version fits only in place of the older
          Object.assign(world, { quotaBytes: Number.POSITIVE_INFINITY, isDiskFull: false });
          dying.life.endAfter(writes);
          await (isUpdate ? world.update(dying, m) : world.load(dying, m, "first")).catch((error: unknown) => {
            if (error instanceof PropertyError) throw error;
          });
          Object.assign(world, { quotaBytes, isDiskFull });
          await world.reopen(t);
          return undefined;
        },
      ),
  ),
  fc.record({ m: model, t: tab }).map(
    ({ m, t }) =>
      new StoreStep(`unload ${m} in ${t}`, async (world) => {
        const { uses, downloader } = world.tabs[t] as Tab;
        for (const [identity, name] of uses)
          if (name === m) {
            downloader.uses.unloaded(identity);
            uses.delete(identity);
          }
        return Promise.resolve(undefined);
      }),
  ),
  tab.map((t) => new StoreStep(`close ${t}`, (world) => world.reopen(t).then(() => undefined))),
  fc
    .boolean()
    .map((x) => new StoreStep(x ? "offline" : "online", (world) => Promise.resolve(void (world.isOffline = x)))),
  fc.record({ m: model, is: fc.boolean() }).map(
    ({ m, is }) =>
      new StoreStep(`${is ? "withhold" : "give"} chunks of ${m}`, (world) => {
        if (is) world.withheld.add(m);
        else world.withheld.delete(m);
        return Promise.resolve(undefined);
      }),
  ),
  fc.record({ m: model, is: fc.boolean() }).map(
    ({ m, is }) =>
      new StoreStep(`${is ? "pin" : "unpin"} ${m}`, async (world) => {
        const { downloader } = world.tabs[0] as Tab;
        await attempt(world, () => pin(downloader, world.urlOf(m), is));
        world.pinned.clear();
        for (const name of await world.base.names()) if (name.startsWith("pin-")) world.pinned.add(name.slice(4));
        return undefined;
      }),
  ),
  model.map(
    (m) =>
      new StoreStep(`delete ${m}`, async (world) => {
        await deleteStored((world.tabs[0] as Tab).downloader, world.urlOf(m));
        for (const { identity } of world.versions.get(m) ?? []) world.pinned.delete(identity);
        return { deleted: m };
      }),
  ),
  fc
    .integer({ min: 2, max: 12 })
    .map((n) => new StoreStep(`room for ${n} chunks`, (world) => Promise.resolve(void (world.quotaBytes = n * CHUNK)))),
  fc.record({ m: model, is: fc.boolean() }).map(
    ({ m, is }) =>
      new StoreStep(`a chunk of ${m} is ${is ? "damaged" : "lost"}`, async (world) => {
        const [chunk] = world.versions.get(m)?.at(-1)?.chunks ?? [];
        const name = chunk === undefined ? "" : chunkName(chunk);
        const bytes = await world.base.read(name);
        if (bytes === null) return undefined;
        await world.base.remove(name);
        bytes[3] = (bytes[3] ?? 0) ^ 1;
        if (is) await world.base.write(name, bytes);
        if (is) world.damaged.add(name);
        return { damaged: m };
      }),
  ),
  fc.nat(3).map(
    (n) =>
      new StoreStep(`a newer release stores something, ${n}`, async (world) => {
        const bytes = weights(CHUNK, 5_000 + n);
        const sha256 = await sha256Hex(bytes);
        const text = new TextEncoder().encode(JSON.stringify({ schema: "selvedge/bundle@9", n, parts: [sha256] }));
        for (const [name, data] of [
          [`chunk-${sha256}-${CHUNK}`, bytes],
          [`bundle-${await sha256Hex(text)}`, text],
        ] as const) {
          await world.base.write(name, data);
          world.newer.set(name, data.join());
        }
        return undefined;
      }),
  ),
];

/** Loads a model while no other is loaded: where its stored version is whole, a server that lies changes nothing. */
export async function loadAlone(world: StoreWorld, name: ModelName, tab: 0 | 1, policy: UpdatePolicy): Promise<Excuse> {
  const isStored = world.loadable.has(name);
  await attempt(world, () =>
    world.load(world.tabs[tab] as Tab, name, policy).catch((error: unknown) => {
      const isRefused = isSelvedgeError(error) && error.code === "integrity-failed";
      check(!(isStored && isRefused), `${name} is refused, though a good version is stored`);
      throw error;
    }),
  );
  return { room: name };
}
