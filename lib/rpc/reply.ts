// Result of every call over a thread line: a value, or an error as a plain object. Calls never reject on the line
// itself, since not every browser can clone an error.
import { toWireError } from "../core/errors.ts";
import type { WireError } from "../core/errors.ts";

/** A result or an error. */
export type Reply<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: WireError };

/** Returns a call's result or its error as a reply. */
export async function reply<T>(call: () => Promise<T>): Promise<Reply<T>> {
  try {
    return { ok: true, value: await call() };
  } catch (error) {
    return { ok: false, error: toWireError(error) };
  }
}
