import { expect, test } from "vitest";
import { offloadCsv, offloadReport } from "./offload.ts";
import type { OffloadStats } from "./offload.ts";

const STATS: OffloadStats = {
  local: { requests: 300, latencyMs: { p50: 4, p95: 9.5 } },
  remote: { requests: 100, latencyMs: { p50: 40, p95: 80 } },
  cached: 7,
  localShare: 0.75,
  server: { calls: 102, sentBytes: 51_000, receivedBytes: 10_200, seconds: 3.6 },
  hedges: { sent: 4, won: 1, seconds: 0.1 },
  cascade: { unsure: 9, sent: 6, answered: 5 },
  saved: { requests: 300, seconds: 10.8, sentBytes: 153_000, receivedBytes: 30_600 },
};
const NOTHING: OffloadStats = {
  local: { requests: 0, latencyMs: null },
  remote: { requests: 0, latencyMs: null },
  cached: 0,
  localShare: null,
  server: { calls: 0, sentBytes: 0, receivedBytes: 0, seconds: 0 },
  hedges: { sent: 0, won: 0, seconds: 0 },
  cascade: { unsure: 0, sent: 0, answered: 0 },
  saved: null,
};

test("the cost is the time at servers at the price, divided by the requests that run at once", () => {
  const report = offloadReport(STATS, { pricePerServerHour: 2 });
  expect(report.cost).toBeCloseTo(0.002);
  expect(report.savedCost).toBeCloseTo(0.006);
  expect(report.costPer1000).toBeCloseTo(0.005);
  expect(report.allRemoteCostPer1000).toBeCloseTo(0.02);
  expect(offloadReport(STATS, { pricePerServerHour: 2, requestsAtOnce: 4 }).cost).toBeCloseTo(0.0005);
});

test("what is not known is null, not 0", () => {
  expect(offloadReport(NOTHING, { pricePerServerHour: 2 })).toEqual({
    cost: 0,
    savedCost: null,
    costPer1000: null,
    allRemoteCostPer1000: null,
  });
});

test("requests of models that no server answered are not in the estimate for all", () => {
  const { saved } = STATS;
  const partly = { ...STATS, saved: saved && { ...saved, requests: 100, seconds: 3.6 } };
  expect(offloadReport(partly, { pricePerServerHour: 2 }).allRemoteCostPer1000).toBeCloseTo(0.02);
});

test("a wrong price is named", () => {
  for (const pricePerServerHour of [-1, NaN, Infinity])
    expect(() => offloadReport(STATS, { pricePerServerHour })).toThrow(/^pricePerServerHour: /);
  expect(() => offloadReport(STATS, { pricePerServerHour: 1, requestsAtOnce: 0 })).toThrow(/^requestsAtOnce: /);
});

test("the CSV has a line for each placement, and nothing where a number is not known", () => {
  const lines = offloadCsv(STATS, { pricePerServerHour: 2 }).split("\r\n");
  const columns = lines[0]?.split(",") ?? [];
  expect(lines).toHaveLength(4);
  const rowOf = (line: string): Record<string, string> =>
    Object.fromEntries(line.split(",").map((x, i) => [columns[i] ?? "", x]));
  const rows = lines.slice(1, 3).map(rowOf);
  expect(rows[0]).toMatchObject({ placement: "local", requests: "300", share: "0.75", p95_ms: "9.5", sent_bytes: "0" });
  expect(rows[0]).toMatchObject({ saved_server_seconds_estimate: "10.8", saved_cost_estimate: "0.006" });
  expect(rows[1]).toMatchObject({ placement: "remote", requests: "100", share: "0.25", sent_bytes: "51000" });
  expect(rows[1]).toMatchObject({ server_seconds: "3.6", cost: "0.002", saved_cost_estimate: "" });
  expect(offloadCsv(NOTHING, { pricePerServerHour: 2 })).toContain(
    "\r\nlocal,0,,,,0,0,0,0,,,,\r\nremote,0,,,,0,0,0,0,,,,\r\n",
  );
});
