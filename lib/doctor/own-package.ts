// The package that this command line was installed with: what its files are, to recognise copies of another version.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RELEASE } from "../core/version.ts";
import type { OwnPackage } from "./evidence.ts";
import { roleByName } from "./urls.ts";

/** Reads the package: beside this file in the package, in dist/ in a checkout; no files where that is not built. */
export function readOwnPackage(): OwnPackage {
  const places = ["./", "../", "../../dist/"].map((x) => fileURLToPath(new URL(x, import.meta.url)));
  const dist = places.find((x) => existsSync(join(x, "worker-jspi.js")));
  const names = dist === undefined ? [] : readdirSync(dist).filter((x) => roleByName(`file:///${x}`) !== null);
  const files = Object.fromEntries(
    names.map((name) => [
      name,
      createHash("sha256")
        .update(readFileSync(join(dist ?? "", name)))
        .digest("hex"),
    ]),
  );
  return { release: RELEASE, files };
}
