// One step of a sequence, and the properties that hold after each.
import type fc from "fast-check";
import { isSelvedgeError } from "../../core/errors.ts";
import { sha256Hex } from "../../core/bundle.ts";
import { check } from "./check.ts";
import type { ModelName } from "./publisher.ts";
import type { StoreWorld } from "./store-world.ts";

/** Effects that a step may have by itself. */
export interface Excuse {
  /** Model that the step damages, or all. */
  readonly damaged?: ModelName | "all";
  /** Model that the step deletes: it must be gone. */
  readonly deleted?: ModelName;
  /** Model that the step stores: it must be there. */
  readonly stored?: ModelName;
  /** The model for which bundles may have been evicted that are neither pinned nor in use; its own must stay. */
  readonly room?: ModelName | "none";
}

/** A step: an action of a tab, a server, a user, a disk or another release. */
export class StoreStep implements fc.AsyncCommand<object, StoreWorld> {
  readonly #name: string;
  readonly #act: (world: StoreWorld) => Promise<Excuse | undefined>;

  constructor(name: string, act: (world: StoreWorld) => Promise<Excuse | undefined>) {
    this.#name = name;
    this.#act = act;
  }

  check(): boolean {
    return true;
  }

  async run(_: object, world: StoreWorld): Promise<void> {
    const kept = world.kept();
    const excuse = (await this.#act(world)) ?? {};
    const after = await world.whole();
    for (const [name, identity] of world.loadable) {
      if (after.has(name) || excuse.damaged === "all" || name === excuse.damaged || name === excuse.deleted) continue;
      const mayGo = excuse.room !== undefined && excuse.room !== name && !kept.has(identity);
      check(mayGo, `${name} was stored whole and is no longer: ${this.#name}`);
    }
    const { deleted, stored } = excuse;
    check(deleted === undefined || !after.has(deleted), `${deleted} is still there: ${this.#name}`);
    check(stored === undefined || after.has(stored), `${stored} is not read: ${this.#name}`);
    world.loadable = after;
    await checkEntries(world);
  }

  toString(): string {
    return this.#name;
  }
}

/** Nothing is stored that a load would refuse; nothing of a newer release is changed; nothing is in the old place but what the older release wrote. */
export async function checkEntries(world: StoreWorld): Promise<void> {
  const trusted = trustedHashes(world);
  for (const name of await world.base.names()) {
    const hash = /^(?:chunk|bundle)-([0-9a-f]{64})/.exec(name)?.[1];
    if (hash === undefined || world.damaged.has(name)) continue;
    check(
      trusted === null || trusted.has(hash) || world.newer.has(name),
      `${name} is stored, though it is to be refused`,
    );
    const bytes = await world.base.read(name);
    if (bytes !== null) check((await sha256Hex(bytes)) === hash, `${name} holds other bytes`);
  }
  for (const [name, bytes] of world.newer)
    check((await world.base.read(name))?.join() === bytes, `${name} of a newer release was changed`);
  for (const name of (await world.places.old?.names()) ?? [])
    check(world.oldEntries.has(name), `${name} was written to the older release's place`);
}

/** Hashes of the bundles that may be stored, and of their chunks; null where all may. */
function trustedHashes({ trust, versions }: StoreWorld): Set<string> | null {
  if (trust === null) return null;
  const { vouched, others } = trust;
  const known = [...versions.values()].flat().filter((x) => vouched.has(x.identity) || others.has(x.identity));
  return new Set(known.flatMap(({ identity, chunks }) => [identity, ...chunks.map((x) => x.sha256)]));
}

/** Runs an operation that may fail because of the simulated world. */
export async function attempt(world: StoreWorld, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const isUp = !world.isOffline && world.withheld.size === 0 && world.isSound();
    const isFull = isSelvedgeError(error) && error.code === "quota-exceeded";
    if (!isSelvedgeError(error) || (isUp && !isFull)) throw error;
  }
}
