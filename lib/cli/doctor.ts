// `selvedge doctor`.
import { statSync } from "node:fs";
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { fileAt } from "../compress/check/file-at.ts";
import { startBrowser } from "../doctor/browser.ts";
import { diagnose, driverFolders, isAddress } from "../doctor/doctor.ts";
import type { DoctorReport } from "../doctor/doctor.ts";
import { painter, writeText } from "../doctor/report.ts";
import { basePathOf, serveFolder } from "../doctor/serve-folder.ts";
import { readProject } from "../doctor/stack.ts";
import type { CliRun } from "./cli.ts";
import { note, plain } from "./terminal.ts";

interface Values {
  readonly browser?: string;
  readonly wait: number;
  readonly hints?: boolean;
  readonly json?: boolean;
}

const HELP = `
Examples:
  npx selvedge doctor dist                        a built folder, served by the doctor itself
  npx selvedge doctor http://localhost:5173/app/  a running site, development servers too
  npx selvedge doctor https://example.com --json  for a script
  npx selvedge doctor . --browser /usr/bin/firefox

A browser is driven by the app's own playwright-core, @playwright/test or puppeteer-core.
Exit codes: 0 no errors found; 1 errors found, or a wrong option; 2 could not run.`;

/** Adds the command. */
export function doctor(program: Command, run: CliRun): Command {
  return program
    .command("doctor")
    .summary("what keeps a site from running models, and the line to change")
    .description("Opens a site in a browser and checks how it is built and served: files, headers, policies, models.")
    .argument("[target]", "folder of a built site, or address of a running one", "dist")
    .option("--browser <path>", "browser to start (an installed Chrome, Chromium, Edge or Firefox by default)")
    .addOption(
      new Option("--wait <seconds>", "longest time for the page to load its models").argParser(secondsOf).default(20),
    )
    .option("--hints", "also list what could be better")
    .option("--json", "print the report as JSON")
    .addHelpText("after", HELP)
    .action(async (target: string, values: Values) => {
      try {
        const report = await examine(target, values);
        const text =
          values.json === true
            ? plain(JSON.stringify(report, null, 2))
            : writeText(report, painter(isColourful()), plain);
        process.stdout.write(`${text}\n`);
        run.exitCode = report.findings.some((x) => x.severity === "error") ? 1 : report.hasSelvedge ? 0 : 2;
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        if (values.json === true) process.stdout.write(`${JSON.stringify({ error: message })}\n`);
        note(`selvedge: ${message}`);
        run.exitCode = 2;
      }
    });
}

async function examine(target: string, { browser: path, wait, hints = false }: Values): Promise<DoctorReport> {
  if (!isAddress(target) && statSync(target, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new Error(`${shown(target)} is neither a folder nor an address such as http://localhost:5173/`);
  const project = readProject(isAddress(target) ? process.cwd() : target);
  if (!isAddress(target) && fileAt(target, "/index.html") === null)
    throw new Error(`no index.html in ${target}: name the folder of the built site, or the address of its server`);
  const served = isAddress(target) ? null : await serveFolder(target, { base: basePathOf(target) });
  const browser = await startBrowser(driverFolders(project), path);
  try {
    const options = { project, browser, waitMs: wait * 1000, hints, isFolder: served !== null, onProgress: note };
    return await diagnose(served?.url ?? target, options);
  } finally {
    if (typeof browser !== "string") await browser.close();
    await served?.close();
  }
}

/** Writes an argument that may be a mistyped address without the login that it may have. */
function shown(target: string): string {
  return target.replace(/[^/]*:.*@/s, "…@");
}

function isColourful(): boolean {
  return process.stdout.isTTY && process.env["NO_COLOR"] === undefined;
}

function secondsOf(text: string): number {
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new InvalidArgumentError(`Expected seconds from 1 to 999, got "${text}".`);
  return Number(text);
}
