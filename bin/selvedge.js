#!/usr/bin/env node
// Starts the command line: as built in a package, from the source in a checkout.
import { existsSync } from "node:fs";

const source = new URL("../lib/compress/cli.ts", import.meta.url);
if (existsSync(source)) {
  const { tsImport } = await import("tsx/esm/api");
  const { start } = await tsImport(source.href, import.meta.url);
  await start();
} else {
  const { start } = await import("../dist/cli.js");
  await start();
}
