// Names that both parts of a split module share (build/split.ts), and how a worker links them.

/** Names what the rest imports the first part's tables, globals and tags from; their names begin with it as well. */
export const PART = "part";
/** Ends the name of the table that the rest puts its functions in; in its slot 0 is what links the rest. */
export const RARE = "rare";
/** Ends the name of the global that is 1 once the rest is linked. */
export const LINKED = "linked";
/** Stands in the name of a function that stands in the table for all rare ones of a type, before the type's number. */
export const SHARED = "shared";

/** A function that imports nothing but one other, and calls it: only functions of WebAssembly go into tables. */
const CALLER = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 2, 7, 1, 1, 0x66, 1, 0x66, 0, 0],
  ...[3, 2, 1, 0, 7, 5, 1, 1, 0x67, 0, 1, 10, 6, 1, 4, 0, 0x10, 0, 0x0b],
);

/**
 * Has the rest of a module linked when a function of it is first called: `load` compiles it then, at once, since its caller
 * waits. Does nothing for a module that was not split.
 */
export function linkWhenCalled(
  { exports }: WebAssembly.Instance,
  imports: WebAssembly.Imports,
  load: () => WebAssembly.Module,
): void {
  const own = Object.entries(exports).filter(([name]) => name.startsWith(`${PART} `));
  const find = (name: string): WebAssembly.ExportValue | undefined =>
    own.find(([key]) => key.endsWith(` ${name}`))?.[1];
  const [rare, linked] = [find(RARE), find(LINKED)];
  if (!(rare instanceof WebAssembly.Table) || !(linked instanceof WebAssembly.Global)) return;
  const link = (): void => {
    new WebAssembly.Instance(load(), { ...imports, [PART]: exports });
    linked.value = 1;
  };
  const caller = new WebAssembly.Instance(new WebAssembly.Module(CALLER), { f: { f: link } });
  rare.set(0, caller.exports["g"]);
  const table = find("table 0");
  if (!(table instanceof WebAssembly.Table)) return;
  // JavaScript notes no slot: what it takes out of the table has to be the function itself.
  const shared = new Set(own.flatMap(([name, value]) => (name.includes(` ${SHARED} `) ? [value] : [])));
  table.get = (slot) => {
    const found: unknown = WebAssembly.Table.prototype.get.call(table, slot);
    if (!shared.has(found as WebAssembly.ExportValue)) return found;
    if (linked.value === 0) link();
    return WebAssembly.Table.prototype.get.call(table, slot) as unknown;
  };
}
