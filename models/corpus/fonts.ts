// The corpus's typefaces: packages, so that every machine draws with the same ones and none needs root to install.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const require = createRequire(import.meta.url);

/** Names of the families, each the package `@fontsource/<name>`; body text and headings of pages use them all. */
export const FAMILIES: readonly string[] = [
  "open-sans",
  "roboto",
  "lato",
  "montserrat",
  "merriweather",
  "lora",
  "source-sans-3",
  "source-serif-4",
  "noto-sans",
  "noto-serif",
  "pt-sans",
  "pt-serif",
  "inter",
  "work-sans",
  "nunito",
  "raleway",
  "ubuntu",
  "fira-sans",
  "fira-mono",
  "roboto-mono",
  "roboto-slab",
  "roboto-condensed",
  "ibm-plex-sans",
  "ibm-plex-serif",
  "ibm-plex-mono",
  "libre-baskerville",
  "libre-franklin",
  "crimson-text",
  "eb-garamond",
  "arimo",
  "tinos",
  "cousine",
  "barlow",
  "bitter",
  "karla",
  "dm-sans",
  "oswald",
  "playfair-display",
  "jetbrains-mono",
  "caladea",
  "courier-prime",
  "cabin",
];

/** Weights drawn; every family has both. */
export const WEIGHTS: readonly (400 | 700)[] = [400, 700];

/** Reads a face's Latin woff2 file as base64. */
export async function faceBase64(family: string, weight: 400 | 700): Promise<string> {
  const folder = dirname(require.resolve(`@fontsource/${family}/package.json`));
  const file = join(folder, "files", `${family}-latin-${weight}-normal.woff2`);
  return (await readFile(file)).toString("base64");
}
