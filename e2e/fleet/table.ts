// The table of a fleet: servers with and without devices that answer for themselves.
import type { Fleet } from "./assumptions.ts";
import type { ModelFacts } from "./measured.ts";
import type { Estimated, PerDevice } from "./sample.ts";

/** A row: one size of a growth. */
export interface FleetRow {
  readonly growth: string;
  readonly size: number;
  readonly unit: string;
  /** Devices that are used on the day. */
  readonly devices: number;
  readonly requestsPerDay: number;
  /** Requests a second in the busiest minute, and of them those that servers answer. */
  readonly peakPerS: number;
  readonly remotePeakPerS: Estimated;
  readonly localShare: Estimated;
  /** Servers that keep the 99th percentile where they answer everything. */
  readonly serversAllRemote: number;
  readonly serversWithOffload: Estimated;
  /** Hosts of static files that the downloads of models need in the busiest minute; 0 without downloads. */
  readonly downloadHosts: number;
  readonly downloadBytes: number;
  /** Share of requests that are answered after their deadline, here or by a server. */
  readonly lateShare: number;
}

/** Returns how many servers a rate needs, each with its own part of the requests: at least one where there are any. */
export function serversFor(ratePerS: number, ratePerServer: number): number {
  return Math.ceil(ratePerS / ratePerServer);
}

/** Scales a mean device to each size of a growth. */
export function rowsOf(fleet: Fleet, name: string, device: PerDevice, facts: ModelFacts): FleetRow[] {
  const growth = fleet.growths[name];
  if (growth === undefined) return [];
  return growth.sizes.map((size): FleetRow => {
    const devices = growth.counts === "requests" ? size / device.requests : size * growth.activeShare;
    const perS = (inHour: number): number => (devices * inHour * fleet.burst) / 3_600;
    const scaled = ({ value, low, high }: Estimated, of: (x: number) => number): Estimated => {
      return { value: of(value), low: of(low), high: of(high) };
    };
    const remotePeakPerS = scaled(device.remotePeak, perS);
    return {
      ...{ growth: name, size, unit: growth.unit, devices, requestsPerDay: devices * device.requests },
      ...{ peakPerS: perS(device.peak.value), remotePeakPerS, localShare: device.localShare },
      serversAllRemote: serversFor(perS(device.peak.value), facts.ratePerS),
      serversWithOffload: scaled(remotePeakPerS, (x) => serversFor(x, facts.ratePerS)),
      downloadHosts: Math.ceil((perS(device.downloadPeakBytes) * 8) / 1e6 / fleet.hostMbit),
      downloadBytes: devices * device.downloadBytes,
      lateShare: device.lateShare,
    };
  });
}

const COLUMNS = [
  "growth",
  "size",
  "requests a day",
  "peak/s",
  "servers, all remote",
  "answered here [95 %]",
  "in time, late",
  "peak/s to servers [95 %]",
  "servers with offload [95 %]",
  "file hosts for downloads",
  "downloads a day",
] as const;

/** Formats rows as a table of Markdown. */
export function formatTable(rows: readonly FleetRow[]): string {
  const lines = rows.map((row, i) => {
    const { value, low, high } = row.localShare;
    const percent = (x: number): string => (100 * x).toFixed(1);
    const [servers, peak] = [row.serversWithOffload, row.remotePeakPerS];
    return [
      rows[i - 1]?.growth === row.growth ? "" : row.growth,
      `${count(row.size)} ${row.unit}`,
      count(row.requestsPerDay),
      count(row.peakPerS),
      row.serversAllRemote.toLocaleString("en"),
      `${percent(value)} % [${percent(low)}, ${percent(high)}]`,
      inTime(row.lateShare),
      `${count(peak.value)} [${count(peak.low)}, ${count(peak.high)}]`,
      `${servers.value.toLocaleString("en")} [${servers.low.toLocaleString("en")}, ${servers.high.toLocaleString("en")}]`,
      row.downloadHosts.toLocaleString("en"),
      size(row.downloadBytes),
    ];
  });
  const all = [[...COLUMNS], ...lines];
  const widths = COLUMNS.map((_, i) => Math.max(...all.map((line) => line[i]?.length ?? 0)));
  const text = (line: readonly string[]): string => `| ${line.map((x, i) => x.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  const rule = `| ${widths.map((x) => "-".repeat(x)).join(" | ")} |`;
  return [text(COLUMNS), rule, ...lines.map(text)].join("\n");
}

/** Formats the share in time and the late share, which is rounded up: no late answer is hidden. */
function inTime(lateShare: number): string {
  const late = Math.ceil(Number((1e4 * lateShare).toFixed(6))) / 100;
  return `${(100 - late).toFixed(2)} %, ${late.toFixed(2)} %`;
}

const UNITS = [
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "K"],
] as const;

function count(value: number): string {
  // 999,600 is 1 M, not 1000 K.
  for (const [unit, name] of UNITS) if (value >= 0.9995 * unit) return `${trimmed(value / unit)} ${name}`;
  return trimmed(value);
}

function size(bytes: number): string {
  if (bytes >= 1e12) return `${trimmed(bytes / 1e12)} TB`;
  return bytes >= 1e9 ? `${trimmed(bytes / 1e9)} GB` : `${trimmed(bytes / 1e6)} MB`;
}

function trimmed(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(2)));
}
