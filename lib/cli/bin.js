#!/usr/bin/env node
// Starts the command line: as built in a package, from the source in a checkout.
import { existsSync } from "node:fs";

const source = new URL("./cli.ts", import.meta.url);
const isCheckout = existsSync(source);
/** @type {{ tsImport(path: string, from: string): Promise<unknown> }} */
const { tsImport } = isCheckout ? await import("tsx/esm/api") : { tsImport: () => import("../../dist/cli.js") };
const cli = /** @type {{ start(): Promise<void> }} */ (await tsImport(source.href, import.meta.url));
await cli.start();
