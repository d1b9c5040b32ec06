// Types of `using` and `await using`, for a TypeScript whose `lib` has them (esnext.disposable) and for one that has not:
// there the symbols do not exist, and a declaration that named them would not compile.

/** The key of a symbol; never where TypeScript does not know it. */
type Key<Name extends string> = Extract<SymbolConstructor[Extract<keyof SymbolConstructor, Name>], symbol>;

/** The method that `using` and `await using` call; nothing where TypeScript does not know them. */
export type Disposing = { readonly [K in Key<"dispose">]: () => void };

/** The method that `await using` calls; nothing where TypeScript does not know it. */
export type AsyncDisposing = { readonly [K in Key<"asyncDispose">]: () => Promise<void> };

/** Base of classes that `using` ends: for their type alone, since a class can't declare a member under a condition. */
export const Disposes: new () => Disposing = Object as unknown as new () => Disposing;

/** Base of classes that `await using` ends. */
export const AsyncDisposes: new () => AsyncDisposing = Object as unknown as new () => AsyncDisposing;

/** Has `using`, or `await using`, end a value by its method, where the browser has that. */
export function endByUsing(value: object, name: "dispose" | "asyncDispose", end: () => unknown): void {
  const key = Symbol[name] as symbol | undefined;
  if (key !== undefined) Reflect.set(value, key, end);
}
